//! What somebody may have meant: the nearest name, and ASCII for full-width punctuation.

/// The name among `names` that `name` is most likely a slip of.
pub(super) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; a long text is not a slip of one, and the distance costs the product of the lengths.
    if name.len() > 100 {
        return None;
    }
    let name: String = name.chars().map(|c| ascii(c).unwrap_or(c).to_ascii_lowercase()).collect();
    names
        .into_iter()
        .map(|known| (strsim::osa_distance(&name, &known.to_ascii_lowercase()), known))
        .filter(|(distance, known)| *distance <= (known.len().max(name.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// The hint that goes with a nearest name.
pub(super) fn write_nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, names).map(|known| format!("write `{known}`"))
}

/// What to write for a full-width character or a typographic quote.
pub(super) fn ascii(c: char) -> Option<char> {
    match c {
        '“' | '”' | '„' | '«' | '»' => Some('"'),
        '‘' | '’' => Some('\''),
        '、' => Some(','),
        '。' => Some('.'),
        '【' => Some('['),
        '】' => Some(']'),
        '\u{3000}' => Some(' '),
        // The full-width forms follow the order of ASCII.
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0),
        _ => None,
    }
}

/// The hint for a text that should be ASCII and holds full-width characters: the text as it should be.
pub(super) fn write_ascii(text: &str) -> Option<String> {
    let (wide, plain) = text.chars().find_map(|c| Some((c, ascii(c)?)))?;
    let whole: String = text.chars().take(60).map(|c| ascii(c).unwrap_or(c)).collect();
    let whole = whole.trim_matches('"');
    Some(format!("`{wide}` is full-width; write `{plain}`, here `{whole}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_leaves_strangers() {
        let names = ["message.send", "order.tag", "order.get"];
        assert_eq!(nearest("mesage.send", names), Some("message.send"));
        assert_eq!(nearest("Order.Tag", names), Some("order.tag"));
        assert_eq!(nearest("order．tag", names), Some("order.tag"));
        assert_eq!(nearest("refund.create", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"x".repeat(100_000), names), None);
    }

    #[test]
    fn turns_full_width_into_ascii() {
        assert_eq!(write_ascii("“50 EUR”").as_deref(), Some("`“` is full-width; write `\"`, here `50 EUR`"));
        assert_eq!(ascii('（'), Some('('));
        assert_eq!(ascii('退'), None);
        assert_eq!(write_ascii("plain"), None);
    }
}
