//! The rule itself: compiled into the plugin, and into the program that measures it.

use serde_json::Value;

/// The tag of a big order that nobody suspects: how many pieces it has.
pub(crate) fn tag(facts: &Value) -> Option<String> {
    let order = &facts["order"];
    let is_suspect = order["customer"]["tags"].as_array()?.iter().any(|tag| tag == "fraud");
    let lines = order["lines"].as_array()?;
    let many = |line: &Value| line["quantity"].as_i64() > Some(6) && cents(&line["unit_price"]) < Some(50_00);
    if is_suspect || cents(&order["total"])? <= 50_00 || !lines.iter().any(many) {
        return None;
    }
    let pieces: i64 = lines.iter().filter_map(|line| line["quantity"].as_i64()).sum();
    Some(format!("{pieces} pieces"))
}

/// `19.99 EUR` in cents.
fn cents(amount: &Value) -> Option<i64> {
    let (whole, cents) = amount.as_str()?.split(' ').next()?.split_once('.')?;
    Some(whole.parse::<i64>().ok()? * 100 + cents.parse::<i64>().ok()?)
}
