//! Loyalty points. Points are given when the return window is over: the plugin waits two weeks for a return, which costs
//! nothing, and adds to a number that the shop remembers.

use serde::Deserialize;
use storehand_plugin::typed::{WaitFor, WaitForEvent, memory};
use storehand_plugin::{Capabilities, Error, Event, Question as _, Value, json, log, read};

struct Loyalty;
storehand_plugin::capabilities!(Loyalty);

#[derive(Deserialize)]
struct Add {
    order_id: String,
    customer_id: String,
    amount: String,
    #[serde(default = "two_weeks")]
    window: String,
}

#[derive(Deserialize)]
struct Balance {
    customer_id: String,
}

fn two_weeks() -> String {
    "14d".to_owned()
}

impl Capabilities for Loyalty {
    fn answer(name: &str, input: Value, _event: Event) -> Result<Value, Error> {
        match name {
            "points.add" => add(&read(input)?),
            "points.balance" => {
                let customer = read::<Balance>(input)?.customer_id;
                let balance = memory::get(&memory::Get::new(key(&customer)))?.value;
                Ok(json!({ "balance": if balance.is_null() { json!(0) } else { balance } }))
            }
            _ => Err(Error::Invalid(format!("there is no `{name}` here"))),
        }
    }
}

fn add(order: &Add) -> Result<Value, Error> {
    let points = points(&order.amount).ok_or_else(|| {
        Error::Invalid(format!("`amount` is `{}`; write what the order came to, such as `120.50 EUR`", order.amount))
    })?;
    let returned = WaitFor {
        order_id: Some(order.order_id.clone()),
        ..WaitFor::new(WaitForEvent::ReturnRequested, &order.window)
    };
    if !returned.ask_as("return")?.timed_out {
        log("something was sent back: no points");
        return Ok(json!({ "points": 0 }));
    }
    let balance = memory::add(&memory::Add {
        by: Some(points.into()),
        ..memory::Add::new(key(&order.customer_id))
    })?;
    Ok(json!({ "points": points, "balance": balance.value }))
}

fn key(customer_id: &str) -> String {
    format!("acme-loyalty/points/{customer_id}")
}

/// The whole units of an amount such as `120.50 EUR`.
fn points(amount: &str) -> Option<i64> {
    let number = amount.split_whitespace().next()?;
    let whole = number.split('.').next()?;
    whole.parse().ok().filter(|points| *points >= 0)
}

#[cfg(test)]
mod tests {
    use super::points;

    #[test]
    fn a_point_for_each_whole_unit() {
        for (amount, expected) in [
            ("120.50 EUR", Some(120)),
            ("0.99 EUR", Some(0)),
            ("7 JPY", Some(7)),
            ("-3 EUR", None),
            ("EUR", None),
            ("", None),
        ] {
            assert_eq!(points(amount), expected, "{amount}");
        }
    }
}
