//! What language a text is in, as far as its script tells: Chinese, Japanese, Korean. Of letters nothing is said:
//! English and German look alike.

/// BCP 47, or `None` where the script does not tell.
pub(super) fn of(text: &str) -> Option<&'static str> {
    let (mut han, mut kana, mut hangul, mut letters) = (0_usize, 0, 0, 0);
    for letter in text.chars() {
        match letter {
            '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{20000}'..='\u{3FFFF}' => han += 1,
            '\u{3040}'..='\u{30FF}' => kana += 1,
            '\u{AC00}'..='\u{D7AF}' => hangul += 1,
            _ if letter.is_alphabetic() => letters += 1,
            _ => {}
        }
    }
    // One such character says about as much as three letters.
    if (han + kana + hangul) * 3 <= letters {
        return None;
    }
    match (han, kana, hangul) {
        (0, 0, 0) => None,
        (_, _, hangul) if hangul > han => Some("ko"),
        // A Japanese sentence has its endings in kana; a Chinese one has none.
        (han, kana, _) if kana * 8 > han => Some("ja"),
        _ => Some("zh"),
    }
}
