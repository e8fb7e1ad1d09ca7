//! What a text may say before it is sent to a customer: one pure function, whoever wrote the text.
//!
//! *Architecture Invariant*: pure and deterministic; no model judges a model here.
//! *Architecture Invariant*: where it is in doubt it objects: a text held back costs a fallback, one let through may
//! cost a promise.

mod advertising;
mod claims;
mod given;
mod language;
mod placeholder;
mod products;
mod promise;

use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use given::GivenFacts;
pub use products::Titles;

/// One rule that a text is held to, as rules write it: `given_facts_only`, `{ max_chars: 600 }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Every amount, percentage, date, order number, link, e-mail address, product and other number is a given fact, in
    /// digits or in words.
    GivenFactsOnly,
    /// Nothing promises money back, in English or Chinese.
    NoRefundPromise,
    /// The text is in the customer's script. Always on where the language is known; naming it changes nothing.
    Language,
    /// No absolute terms, which China's advertising law forbids.
    ChinaAdvertisingLaw,
    /// At most so many characters.
    MaxChars(usize),
    /// None of these texts, in whatever case: what the shop itself forbids.
    NeverSay(Vec<String>),
}

impl Policy {
    /// Its name, as rules write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GivenFactsOnly => "given_facts_only",
            Self::NoRefundPromise => "no_refund_promise",
            Self::Language => "language",
            Self::ChinaAdvertisingLaw => "china_advertising_law",
            Self::MaxChars(_) => "max_chars",
            Self::NeverSay(_) => "never_say",
        }
    }
}

/// Where a text breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The rule's name.
    pub rule: &'static str,
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// What is wrong, for people.
    pub message: String,
}

/// Everything in `text` that breaks `rules`, in the order of the text. `language` is the customer's (BCP 47). A blank that
/// was to be filled in (`[Your Name]`) breaks them all.
pub fn check(text: &str, rules: &[Policy], facts: &GivenFacts, language: Option<&str>) -> Vec<Violation> {
    let mut violations: Vec<Violation> = language
        .and_then(|language| language::check(text, language))
        .into_iter()
        .chain(placeholder::check(text))
        .collect();
    for rule in rules {
        match rule {
            Policy::GivenFactsOnly => violations.extend(facts.not_given(text)),
            Policy::NoRefundPromise => violations.extend(promise::check(text)),
            Policy::Language => {}
            Policy::ChinaAdvertisingLaw => violations.extend(advertising::check(text)),
            Policy::NeverSay(words) => violations.extend(forbidden(text, words)),
            Policy::MaxChars(most) => {
                if let Some((at, _)) = text.char_indices().nth(*most) {
                    let message = format!("it has {} characters and may have {most}", text.chars().count());
                    violations.push(Violation { rule: rule.name(), span: at..text.len(), message });
                }
            }
        }
    }
    violations.sort_by_key(|violation| violation.span.start);
    violations
}

/// Each place of a text that the shop forbids.
fn forbidden(text: &str, words: &[String]) -> Vec<Violation> {
    // Folding may change lengths, so places are found letter by letter.
    let letters: Vec<(usize, char)> =
        text.char_indices().flat_map(|(at, letter)| letter.to_lowercase().map(move |lower| (at, lower))).collect();
    let mut violations = Vec::new();
    for word in words.iter().filter(|word| !word.trim().is_empty()) {
        let wanted: Vec<char> = word.trim().to_lowercase().chars().collect();
        for found in
            letters.windows(wanted.len()).filter(|window| window.iter().map(|it| it.1).eq(wanted.iter().copied()))
        {
            let (start, last) = (found[0].0, found[found.len() - 1].0);
            let end = last + text[last..].chars().next().map_or(0, char::len_utf8);
            let message = format!("it says `{}`, which this shop forbids", &text[start..end]);
            violations.push(Violation { rule: "never_say", span: start..end, message });
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_merchants_write_them() {
        let rules: Vec<Policy> =
            serde_json::from_str(r#"["given_facts_only", "no_refund_promise", {"max_chars": 12}]"#).expect("rules");
        assert_eq!(rules, [Policy::GivenFactsOnly, Policy::NoRefundPromise, Policy::MaxChars(12)]);
        assert!(serde_json::from_str::<Policy>(r#""given_facts""#).is_err());
    }

    #[test]
    fn what_the_shop_forbids_is_found_in_any_case() {
        let rules: Vec<Policy> =
            serde_json::from_str(r#"[{"never_say": ["lifetime guarantee", "终身", " "]}]"#).expect("rules");
        let text = "A Lifetime GUARANTEE, 终身保修. İstanbul.";
        let found = check(text, &rules, &GivenFacts::default(), None);
        let words: Vec<&str> = found.iter().map(|it| &text[it.span.clone()]).collect();
        assert_eq!(words, ["Lifetime GUARANTEE", "终身"]);
    }

    #[test]
    fn all_that_is_wrong_is_found_in_the_order_of_the_text() {
        let rules = [Policy::MaxChars(12), Policy::NoRefundPromise, Policy::GivenFactsOnly];
        let found = check("We will refund you 20 EUR.", &rules, &GivenFacts::default(), Some("zh"));
        let names: Vec<&str> = found.iter().map(|violation| violation.rule).collect();
        assert_eq!(names, ["language", "no_refund_promise", "max_chars", "given_facts_only"]);
        assert_eq!(check("您好，谢谢。", &rules, &GivenFacts::default(), Some("zh")), []);
        // Characters, not bytes.
        assert_eq!(check("一二三四五六七八九十甲乙", &[Policy::MaxChars(12)], &GivenFacts::default(), None), []);
    }
}
