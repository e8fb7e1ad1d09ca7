//! A text held to a policy: one that the model writes, while it is written and once it is there, and one that is sent,
//! whoever wrote it.

use serde_json::{Value as Json, json};

use super::catalogues::Catalogues;
use crate::domain::{Attempt, Failure, Shape, TextSink, Verdict, Written};
use crate::models::policy::{self, GivenFacts, Policy, Violation};
use crate::models::{Finish, Generated};

/// What a text is held to.
pub(super) struct HeldTo {
    pub(super) rules: Vec<Policy>,
    pub(super) facts: GivenFacts,
    /// The customer's language.
    pub(super) language: Option<String>,
}

/// A text that may go out.
#[derive(Debug, PartialEq)]
pub(super) struct Good {
    pub(super) text: String,
    /// Whether the model would have written more; its last, unfinished sentence is left out.
    pub(super) cut: bool,
}

/// A text that may not, and why.
#[derive(Debug, PartialEq)]
pub(super) struct Bad {
    pub(super) text: String,
    pub(super) violations: Vec<Violation>,
}

/// Why the model's work came to nothing that could be judged.
#[derive(Debug, PartialEq)]
pub(super) struct BrokenOff;

/// What `policy` may be, in a capability's input.
pub(super) fn rules_shape(what: &str) -> Json {
    let words = [Policy::GivenFactsOnly, Policy::NoRefundPromise, Policy::Language, Policy::ChinaAdvertisingLaw];
    let words = words.map(|policy| policy.name());
    let rule = json!({ "anyOf": [
        { "enum": words },
        { "type": "object", "properties": { "max_chars": { "type": "integer", "minimum": 1 } },
          "required": ["max_chars"], "additionalProperties": false },
        { "type": "object", "properties": { "never_say": { "type": "array", "maxItems": 100,
            "items": { "type": "string", "minLength": 1, "maxLength": 100 } } },
          "required": ["never_say"], "additionalProperties": false },
    ] });
    let doc = format!(
        "{what}: `given_facts_only`, `no_refund_promise`, `china_advertising_law` (no absolute terms), `max_chars: 600`, \
         `never_say: [lifetime, 终身]`."
    );
    Shape::list(rule, 8, &doc)
}

/// The customer's language: the message's, else the customer's own, else the shop's first.
pub(super) fn customers_language(attempt: &Attempt) -> Option<String> {
    let context = &attempt.facts.context;
    let of_order = || context.order.as_ref()?.customer.as_ref()?.locale.clone();
    let known = context.message.as_ref().and_then(|message| message.language.clone());
    known
        .or_else(|| context.customer.as_ref().and_then(|customer| customer.locale.clone()))
        .or_else(of_order)
        .or_else(|| attempt.shop.languages.first().cloned())
        .map(|language| language.to_string())
}

impl HeldTo {
    /// To these rules, and the facts of an attempt.
    pub(super) async fn new(
        rules: Vec<Policy>,
        language: Option<String>,
        attempt: &Attempt,
        catalogues: &Catalogues,
    ) -> Result<Self, Verdict> {
        let mut facts = GivenFacts::new(&attempt.facts);
        if rules.contains(&Policy::GivenFactsOnly)
            && let Some(titles) = catalogues.of(attempt).await?
        {
            facts = facts.with_catalogue(titles);
        }
        Ok(Self { rules, facts, language })
    }

    /// Lets a text out that is about to be sent, or says why not.
    pub(super) fn let_out(&self, text: &str) -> Result<(), Verdict> {
        let violations = self.check(text);
        if violations.is_empty() {
            return Ok(());
        }
        Err(Verdict::Refused(Bad { text: text.to_owned(), violations }.failure(None)))
    }

    fn check(&self, text: &str) -> Vec<Violation> {
        policy::check(text, &self.rules, &self.facts, self.language.as_deref())
    }

    /// Judges a whole text.
    pub(super) fn judge(&self, written: &Generated) -> Result<Result<Good, Bad>, BrokenOff> {
        let cut = match written.finish {
            Finish::Stop => false,
            Finish::Length => true,
            Finish::Cancelled => return Err(BrokenOff),
        };
        let text = unquoted(if cut { whole_sentences(&written.text) } else { &written.text }.trim());
        let mut violations = self.check(text);
        if text.is_empty() {
            let message = if cut { "it has no finished sentence" } else { "it is empty" }.into();
            violations.push(Violation { rule: "text", span: 0..0, message });
        }
        if violations.is_empty() {
            return Ok(Ok(Good { text: text.to_owned(), cut }));
        }
        let held_back = if text.is_empty() { written.text.as_str() } else { text };
        Ok(Err(Bad { text: held_back.to_owned(), violations }))
    }
}

impl Bad {
    /// What is wrong, for the log and for the model: the first three.
    pub(super) fn reasons(&self) -> String {
        let said: Vec<&str> = self.violations.iter().take(3).map(|violation| violation.message.as_str()).collect();
        said.join("; ")
    }

    /// As the answer of the call.
    pub(super) fn failure(&self, first: Option<&Self>) -> Failure {
        let again = if first.is_some() { ", and so was the one before" } else { "" };
        let message = format!("the text was held back{again}: {}", self.reasons());
        let detail = |bad: &Self| json!({ "text": bad.text, "violations": bad.violations });
        let mut failure = Failure::new("policy_violation", message);
        failure.detail = detail(self);
        if let Some(first) = first {
            failure.detail["first"] = detail(first);
        }
        failure
    }
}

/// Shows a text as it is written, a sentence at a time: only what has been judged is shown, and at the first sentence
/// that may not go out the writing is over.
///
/// The language is judged of the whole text alone: a greeting may be in another.
pub(super) struct Showing<'a> {
    held: &'a HeldTo,
    watch: Option<TextSink>,
    text: String,
    shown: usize,
    bad: Option<Vec<Violation>>,
}

impl<'a> Showing<'a> {
    pub(super) fn new(held: &'a HeldTo, watch: Option<TextSink>) -> Self {
        Self { held, watch, text: String::new(), shown: 0, bad: None }
    }

    /// Takes what has been written, and says whether to go on.
    pub(super) fn take(&mut self, piece: &str) -> bool {
        self.text.push_str(piece);
        let end = finished(&self.text);
        if end > self.shown && self.bad.is_none() {
            let mut violations = self.held.check(&self.text[..end]);
            violations.retain(|violation| violation.rule != Policy::Language.name());
            if violations.is_empty() {
                self.show(end);
            } else {
                self.bad = Some(violations);
            }
        }
        self.bad.is_none()
    }

    /// What was wrong with what was written so far, where it was given up for that.
    pub(super) fn bad(&mut self) -> Option<Bad> {
        let violations = self.bad.take()?;
        Some(Bad { text: std::mem::take(&mut self.text), violations })
    }

    /// Shows the rest of a text that may go out.
    pub(super) fn finish(&mut self, good: &Good) {
        self.show(if good.cut { whole_sentences(&self.text).len() } else { self.text.len() });
    }

    /// Takes back what was shown: the text is written anew.
    pub(super) fn anew(&self) {
        if let Some(watch) = &self.watch
            && self.shown > 0
        {
            watch(Written::Anew);
        }
    }

    fn show(&mut self, end: usize) {
        if let Some(watch) = &self.watch
            && let Some(piece) = self.text.get(self.shown..end).filter(|piece| !piece.is_empty())
        {
            watch(Written::More(piece));
        }
        self.shown = end;
    }
}

/// The text as the model's own last words, and what it is told about them.
pub(super) fn what_to_mend(bad: &Bad) -> String {
    let said: Vec<String> = bad.violations.iter().take(5).map(|it| format!("- {}", it.message)).collect();
    format!(
        "This text cannot be sent:\n{}\nWrite the whole text again without that. Leave out every number, date, product and \
         link that you were not given. Answer with nothing but the text.",
        said.join("\n")
    )
}

/// The text without the quotation marks that small models like to put around all of it; the closing one may have
/// been cut off.
fn unquoted(text: &str) -> &str {
    let Some(inner) = text.strip_prefix(['"', '“']) else { return text };
    let inner = inner.strip_suffix(['"', '”']).unwrap_or(inner);
    if inner.contains(['"', '“', '”']) { text } else { inner.trim() }
}

/// The text up to its last finished sentence: nobody is sent half of one.
fn whole_sentences(text: &str) -> &str {
    &text[..sentences_end(text, ' ')]
}

/// Where the last sentence ends of a text that goes on, which is not known of `19.`.
fn finished(text: &str) -> usize {
    sentences_end(text, '0')
}

/// Where the last sentence ends of a text that goes on with `then`.
fn sentences_end(text: &str, then: char) -> usize {
    let mut end = 0;
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let next = letters.peek().map_or(then, |(_, next)| *next);
        let ends = match letter {
            '。' | '！' | '？' => true,
            // Not the point within `19.90`; a quotation or a bracket may close after it.
            '.' | '!' | '?' => next.is_whitespace() || matches!(next, '"' | ')' | '”' | '’'),
            _ => false,
        };
        if ends {
            let closes = matches!(next, '"' | ')' | '”' | '’' | '」' | '』');
            end = at + letter.len_utf8() + if closes { next.len_utf8() } else { 0 };
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::domain::{Event, EventId, Facts, Inputs, Records};

    fn facts() -> Facts {
        let now = "2026-11-23T10:00:00Z".parse().expect("time");
        let records: Records =
            serde_json::from_str(r##"{"order":{"id":"1","name":"#1042","total":"19.90 EUR"}}"##).expect("records");
        let context = Arc::new(records);
        let event = Event {
            id: EventId(1),
            shop: "acme".parse().expect("a shop"),
            source: "/shopify/acme".into(),
            kind: "order.created".into(),
            topic: "orders/create".into(),
            subject: "order/1".into(),
            time: now,
            received: now,
            records: Arc::clone(&context),
            mentions: Vec::new(),
            late: false,
            echo: None,
        };
        Facts { event: Arc::new(event), context, missing: Vec::new(), inputs: Arc::new(Inputs::new()), now }
    }

    fn written(text: &str, finish: Finish) -> Generated {
        Generated {
            text: text.into(),
            finish,
            logprobs: Vec::new(),
            others: Vec::new(),
            prompt_tokens: 9,
            cached_tokens: 0,
            completion_tokens: 5,
            prompt_digest: String::new(),
        }
    }

    fn held() -> HeldTo {
        let rules = vec![Policy::GivenFactsOnly, Policy::NoRefundPromise];
        HeldTo { rules, facts: GivenFacts::new(&facts()), language: Some("en".into()) }
    }

    fn judged(text: &str, finish: Finish) -> Result<Result<Good, Bad>, BrokenOff> {
        held().judge(&written(text, finish))
    }

    #[test]
    fn a_text_within_the_policy_goes_out_and_any_other_is_held_back() {
        let good = judged(" Thank you for order #1042 over 19.90 EUR. ", Finish::Stop);
        let text = "Thank you for order #1042 over 19.90 EUR.".to_owned();
        assert_eq!(good, Ok(Ok(Good { text, cut: false })));
        for (text, rule) in [
            ("Your order #1043 is packed.", "given_facts_only"),
            ("Your order is packed for twenty euros.", "given_facts_only"),
            ("We will refund you.", "no_refund_promise"),
            ("您好，谢谢您的订单。", "language"),
            ("  ", "text"),
        ] {
            let Ok(Err(bad)) = judged(text, Finish::Stop) else { panic!("{text} went out") };
            assert_eq!(bad.text, if text.trim().is_empty() { text } else { text.trim() });
            assert!(bad.violations.iter().any(|violation| violation.rule == rule), "{text}: {bad:?}");
            let failure = bad.failure(Some(&bad));
            assert_eq!(
                (failure.code.as_str(), &failure.detail["first"]["text"]),
                ("policy_violation", &json!(bad.text))
            );
        }
    }

    #[test]
    fn half_a_sentence_is_left_out() {
        let good = judged("Thank you. It costs 19.90 EUR and we", Finish::Length);
        assert_eq!(good, Ok(Ok(Good { text: "Thank you.".into(), cut: true })));
        assert!(matches!(judged("Thank you for", Finish::Length), Ok(Err(_))));
        assert_eq!(judged("Thank you.", Finish::Cancelled), Err(BrokenOff));
        for (text, whole) in [
            ("A. B? C! d", "A. B? C!"),
            ("19.90 and", ""),
            ("她说：“好。”然后", "她说：“好。”"),
            ("He said \"yes.\" Then", "He said \"yes.\""),
            ("All.", "All."),
        ] {
            assert_eq!(whole_sentences(text), whole);
        }
    }

    /// What a watcher has seen, piece by piece; `|` where all of it was taken back.
    fn shown(text: &str, finish: Finish) -> (String, bool) {
        let seen = Arc::new(Mutex::new(String::new()));
        let watch: TextSink = {
            let seen = Arc::clone(&seen);
            Arc::new(move |written| {
                let mut seen = seen.lock().expect("not poisoned");
                match written {
                    Written::More(piece) => seen.push_str(piece),
                    Written::Anew => seen.push('|'),
                }
            })
        };
        let held = held();
        let mut showing = Showing::new(&held, Some(watch));
        // A letter at a time: a claim may come in parts.
        let whole = text.chars().all(|letter| showing.take(&letter.to_string()));
        match showing.bad() {
            Some(_) => showing.anew(),
            None => match held.judge(&written(text, finish)).expect("was not broken off") {
                Ok(good) => showing.finish(&good),
                Err(_) => showing.anew(),
            },
        }
        let seen = seen.lock().expect("not poisoned").clone();
        (seen, whole)
    }

    #[test]
    fn a_sentence_leaves_only_once_it_was_judged() {
        for (text, finish, seen, whole) in [
            ("Thank you. It costs 19.90 EUR", Finish::Stop, "Thank you. It costs 19.90 EUR", true),
            ("Thank you. It costs 19.90 EUR", Finish::Length, "Thank you.", true),
            ("Thank you. It costs 20 EUR. Bye.", Finish::Stop, "Thank you.|", false),
            ("Thank you. It costs 20 EUR", Finish::Stop, "Thank you.|", true),
            ("We will refund you. Bye.", Finish::Stop, "", false),
            // A name may stand at the beginning; the whole must be in the language.
            (
                "您好! Thank you very much for your order.",
                Finish::Stop,
                "您好! Thank you very much for your order.",
                true,
            ),
            ("您好，谢谢您的订单。", Finish::Stop, "您好，谢谢您的订单。|", true),
        ] {
            assert_eq!(shown(text, finish), (seen.to_owned(), whole), "{text}");
        }
    }
}
