//! Whether a text is in the customer's language, judged by its script, and among languages of the Latin script by the
//! small words that each of them cannot do without.

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
    match primary(language).as_str() {
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

/// The commonest small words of languages in the Latin script.
const SMALL_WORDS: &[(&str, &[&str])] = &[
    (
        "en",
        &[
            "the", "and", "you", "your", "for", "is", "are", "we", "to", "of", "in", "it", "with", "this", "that",
            "have", "has", "be", "will", "our", "on", "at", "as", "if", "i", "was", "not", "can", "please", "thank",
            "thanks", "an", "by", "from", "us", "let", "all", "now", "here",
        ],
    ),
    (
        "de",
        &[
            "der", "die", "das", "und", "ist", "sie", "ihr", "ihre", "ihren", "wir", "für", "mit", "nicht", "ein",
            "eine", "dein", "deine", "zu", "von", "den", "dem", "im", "auf", "haben", "du", "bei", "uns", "dich",
            "dir", "zum", "bis", "wird", "werden", "ihnen", "vielen", "bitte",
        ],
    ),
    (
        "fr",
        &[
            "le", "la", "les", "et", "vous", "votre", "vos", "nous", "pour", "est", "de", "des", "du", "un", "une",
            "en", "que", "avec", "sur", "dans", "pas", "ce", "merci", "au", "sont", "notre", "nos", "déjà",
        ],
    ),
    (
        "es",
        &[
            "el", "la", "los", "las", "y", "su", "sus", "tu", "para", "es", "de", "del", "un", "una", "en", "que",
            "con", "por", "no", "gracias", "hemos", "está", "lo", "le", "nos", "usted", "nuestro", "al",
        ],
    ),
    (
        "it",
        &[
            "il", "la", "le", "gli", "e", "per", "è", "di", "del", "della", "un", "una", "in", "che", "con", "non",
            "grazie", "suo", "tuo", "tua", "abbiamo", "sono", "nostro", "ci", "al", "i",
        ],
    ),
    (
        "pt",
        &[
            "o", "a", "os", "as", "e", "seu", "sua", "para", "de", "do", "da", "um", "uma", "em", "que", "com", "por",
            "não", "obrigado", "está", "foi", "nosso", "você", "no", "na",
        ],
    ),
    (
        "nl",
        &[
            "de", "het", "een", "en", "uw", "je", "jouw", "wij", "we", "voor", "is", "van", "met", "niet", "op", "in",
            "bij", "alles", "dat", "bedankt", "wordt", "zijn", "naar", "ons", "onze",
        ],
    ),
    (
        "sv",
        &[
            "och", "är", "din", "ditt", "dina", "vi", "för", "med", "till", "på", "av", "det", "den", "har", "inte",
            "tack", "som", "en", "ett", "du",
        ],
    ),
    (
        "da",
        &[
            "og", "er", "din", "dit", "dine", "vi", "for", "med", "til", "på", "af", "det", "den", "har", "ikke",
            "tak", "som", "en", "et", "du",
        ],
    ),
    (
        "nb",
        &[
            "og", "er", "din", "ditt", "dine", "vi", "for", "med", "til", "på", "av", "det", "den", "har", "ikke",
            "takk", "som", "en", "et", "du",
        ],
    ),
    (
        "pl",
        &[
            "i",
            "w",
            "na",
            "z",
            "do",
            "jest",
            "się",
            "nie",
            "twoje",
            "twój",
            "dla",
            "za",
            "dziękujemy",
            "to",
            "że",
            "o",
            "od",
            "po",
        ],
    ),
];

/// At least so many of another language's words are wanted before a text is taken to be in it.
const FEWEST: usize = 3;

/// The language of the Latin script that a text is in, where that is another than this one.
fn other_latin(text: &str, language: &str) -> Option<&'static str> {
    let wanted = primary(language);
    let words: Vec<String> =
        text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    let count = |small: &[&str]| words.iter().filter(|word| small.contains(&word.as_str())).count();
    let own = count(SMALL_WORDS.iter().find(|(name, _)| *name == wanted)?.1);
    let others = SMALL_WORDS.iter().filter(|(name, _)| *name != wanted);
    let (most, other) = others.map(|(name, small)| (count(small), *name)).max()?;
    // Danish and Norwegian share most of them; nobody is the wiser for being told one from the other.
    (most >= FEWEST && most > own * 2).then_some(other)
}

fn primary(language: &str) -> String {
    language.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase()
}

/// A violation where less than half of the text is in the language's script, or it is in another of the Latin script. One Chinese, Japanese or Korean
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
    let written = if !wanted.is_empty() && right * 2 < all {
        "another script".to_owned()
    } else {
        format!("`{}`", other_latin(text, language)?)
    };
    Some(Violation {
        rule: Policy::Language.name(),
        span: 0..text.len(),
        message: format!("the customer's language is `{language}`, and the text is written in {written}"),
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn the_script_must_be_the_languages() {
        for (text, language, fits) in [
            ("Hello Ana, your order is on its way.", "en", true),
            ("Hello Ana, your order is on its way.", "de-AT", false),
            ("您好，您的订单已发货。", "zh-CN", true),
            ("您好，您的 iPhone Pro Max 已发货。", "zh", true),
            ("Hello, your order is on its way.", "zh", false),
            ("您好，您的订单已发货。", "en", false),
            ("Hello 小明, thank you for writing to us.", "en", true),
            ("こんにちは、注文を発送しました。", "ja", true),
            ("您好 https://shop.example/returns?lang=en", "zh", true),
            ("12.50 🎉", "zh", true),
            ("Hello", "tlh", true),
            ("Hallo Anna, vielen Dank für deine Bestellung! Wir packen sie gerade.", "en", false),
            ("Hallo Anna, vielen Dank für deine Bestellung! Wir packen sie gerade.", "de", true),
            ("Chère Anna, merci pour votre commande. Nous préparons vos deux t-shirts.", "en", false),
            ("Hello Ana, your Café de la Paix cups are on their way.", "en", true),
            ("", "zh", true),
        ] {
            assert_eq!(check(text, language).is_none(), fits, "{text} in {language}");
        }
    }
}
