//! Whether a text is in the customer's language, judged by its script: Chinese from English, but not German from
//! English.

use super::{Policy, Violation};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    Latin,
    Han,
    Kana,
    Hangul,
    Cyrillic,
    Greek,
    Arabic,
    Hebrew,
    Devanagari,
    Thai,
}

/// By Unicode block; what is in none of these is no evidence.
fn script(letter: char) -> Option<Script> {
    Some(match letter {
        'a'..='z' | 'A'..='Z' | '\u{C0}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}' => Script::Latin,
        '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}' => {
            Script::Han
        }
        '\u{3040}'..='\u{30FF}' => Script::Kana,
        '\u{AC00}'..='\u{D7AF}' | '\u{1100}'..='\u{11FF}' => Script::Hangul,
        '\u{400}'..='\u{52F}' => Script::Cyrillic,
        '\u{370}'..='\u{3FF}' => Script::Greek,
        '\u{600}'..='\u{6FF}' | '\u{750}'..='\u{77F}' => Script::Arabic,
        '\u{590}'..='\u{5FF}' => Script::Hebrew,
        '\u{900}'..='\u{97F}' => Script::Devanagari,
        '\u{E00}'..='\u{E7F}' => Script::Thai,
        _ => return None,
    })
}

/// The scripts that a language is written in; none where we do not know.
fn scripts(language: &str) -> &'static [Script] {
    let primary = language.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    match primary.as_str() {
        "zh" | "yue" => &[Script::Han],
        "ja" => &[Script::Kana, Script::Han],
        "ko" => &[Script::Hangul],
        "ru" | "uk" | "bg" | "be" | "mk" => &[Script::Cyrillic],
        "el" => &[Script::Greek],
        "ar" | "fa" | "ur" => &[Script::Arabic],
        "he" => &[Script::Hebrew],
        "hi" | "mr" | "ne" => &[Script::Devanagari],
        "th" => &[Script::Thai],
        "en" | "de" | "fr" | "es" | "it" | "nl" | "pt" | "pl" | "sv" | "da" | "nb" | "no" | "fi" | "cs" | "sk"
        | "hu" | "ro" | "hr" | "sl" | "et" | "lv" | "lt" | "tr" | "vi" | "id" | "ms" => &[Script::Latin],
        _ => &[],
    }
}

/// A violation where less than half of the text is in the language's script. One Chinese, Japanese or Korean
/// character says about as much as three letters; addresses (a word with `@`, `/` or a dot in it) say nothing.
pub(super) fn check(text: &str, language: &str) -> Option<Violation> {
    let wanted = scripts(language);
    let (mut right, mut all) = (0, 0);
    let words = text
        .split_whitespace()
        .filter(|word| !word.contains(['@', '/']) && !word.trim_end_matches('.').bytes().any(|byte| byte == b'.'));
    for script in words.flat_map(str::chars).filter_map(script) {
        let weight = if matches!(script, Script::Han | Script::Kana | Script::Hangul) { 3 } else { 1 };
        all += weight;
        right += if wanted.contains(&script) { weight } else { 0 };
    }
    (!wanted.is_empty() && right * 2 < all).then(|| Violation {
        rule: Policy::Language.name(),
        span: 0..text.len(),
        message: format!("the customer's language is `{language}`, and the text is written in another script"),
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn the_script_must_be_the_languages() {
        for (text, language, fits) in [
            ("Hello Ana, your order is on its way.", "en", true),
            ("Hello Ana, your order is on its way.", "de-AT", true),
            ("您好，您的订单已发货。", "zh-CN", true),
            ("您好，您的 iPhone Pro Max 已发货。", "zh", true),
            ("Hello, your order is on its way.", "zh", false),
            ("您好，您的订单已发货。", "en", false),
            ("Hello 小明, thank you for writing to us.", "en", true),
            ("こんにちは、注文を発送しました。", "ja", true),
            ("您好 https://shop.example/returns?lang=en", "zh", true),
            ("12.50 🎉", "zh", true),
            ("Hello", "tlh", true),
            ("", "zh", true),
        ] {
            assert_eq!(check(text, language).is_none(), fits, "{text} in {language}");
        }
    }
}
