//! Promises of money back, in English and Chinese.
//!
//! A promise is a word that promises, and soon after it in the same sentence one for money back; or a phrase that
//! promises by itself. A refusal ("we cannot give a full refund") may be taken for a promise: it is held back too.

use super::{Policy, Violation};

/// English: words that promise, before the money.
const PROMISES: &[&str] = &[
    "will",
    "we'll",
    "i'll",
    "you'll",
    "shall",
    "going",
    "can",
    "able",
    "happy",
    "glad",
    "have",
    "we've",
    "i've",
    "has",
    "issued",
    "issue",
    "issuing",
    "processed",
    "processing",
    "approved",
    "receive",
    "get",
    "give",
    "offer",
    "guarantee",
    "guaranteed",
    "promise",
    "entitled",
    "arrange",
    "arranged",
    "send",
    "full",
    "immediate",
];

/// English: money back, by the beginning of the word.
const REFUNDS: &[&str] = &["refund", "reimburse", "moneyback", "cashback", "repay"];

/// After one of these the refund is only spoken of: "your refund request".
const SPOKEN_OF: &[&str] =
    &["request", "requests", "policy", "policies", "question", "questions", "form", "enquiry", "inquiry"];

/// Phrases that promise by themselves.
const PHRASES: &[&str] = &[
    "money back",
    "pay you back",
    "paid back to you",
    "refund is on its way",
    "refund has been",
    "refund was",
    "refund will",
    "credit your account",
    "credited to your",
    "we refund you",
    "i refund you",
];

/// How many words may stand between promise and money.
const WORDS_BETWEEN: usize = 6;

/// Chinese: words that promise, before the money.
const PROMISES_ZH: &[&str] = &[
    "会",
    "将",
    "可以",
    "可",
    "能",
    "马上",
    "立即",
    "立刻",
    "尽快",
    "已",
    "为您",
    "给您",
    "帮您",
    "保证",
    "承诺",
    "同意",
    "安排",
    "全额",
    "无条件",
];

/// Chinese: money back.
const REFUNDS_ZH: &[&str] = &["退款", "退钱", "退还", "退回货款", "返还", "返现", "返款", "赔偿", "赔付"];

/// After one of these the refund is only spoken of.
const SPOKEN_OF_ZH: &[&str] = &["申请", "请求", "要求", "政策", "问题", "规则", "流程"];

/// Phrases that promise by themselves.
const PHRASES_ZH: &[&str] =
    &["退款给您", "退款给你", "款项将", "款项会", "钱会退", "钱将退", "退到您", "退至您", "包退"];

/// How many characters may stand between promise and money.
const CHARS_BETWEEN: usize = 8;

/// Every promise of money back.
pub(super) fn check(text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut at = 0;
    for sentence in text.split_inclusive(['.', '!', '?', '\n', '。', '！', '？', '；']) {
        if promises_english(sentence) || promises_chinese(sentence) {
            let start = at + (sentence.len() - sentence.trim_start().len());
            violations.push(Violation {
                rule: Policy::NoRefundPromise.name(),
                span: start..at + sentence.trim_end().len(),
                message: format!("it promises money back: “{}”", sentence.trim()),
            });
        }
        at += sentence.len();
    }
    violations
}

fn promises_english(sentence: &str) -> bool {
    let lower = sentence.to_lowercase().replace(['’', '‘'], "'").replace("money-back", "money back");
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty()).collect();
    let plain = words.join(" ");
    if PHRASES.iter().any(|phrase| format!(" {plain} ").contains(&format!(" {phrase} "))) {
        return true;
    }
    words.iter().enumerate().any(|(at, word)| {
        REFUNDS.iter().any(|refund| word.starts_with(refund))
            && !words.get(at + 1).is_some_and(|next| SPOKEN_OF.contains(next))
            && words[at.saturating_sub(WORDS_BETWEEN + 1)..at].iter().any(|before| PROMISES.contains(before))
    })
}

fn promises_chinese(sentence: &str) -> bool {
    if PHRASES_ZH.iter().any(|phrase| sentence.contains(phrase)) {
        return true;
    }
    REFUNDS_ZH.iter().flat_map(|refund| sentence.match_indices(refund)).any(|(at, refund)| {
        let after = &sentence[at + refund.len()..];
        let start = sentence[..at].char_indices().rev().take(CHARS_BETWEEN + 2).last().map_or(at, |(start, _)| start);
        !SPOKEN_OF_ZH.iter().any(|word| after.starts_with(word))
            && PROMISES_ZH.iter().any(|promise| sentence[start..at].contains(promise))
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn promises_are_found_and_mentions_are_not() {
        for (text, promises) in [
            ("We will refund your order today.", true),
            ("We'll happily refund you the full price.", true),
            ("Don’t worry, you’ll get a refund.", true),
            ("You can expect your money back soon.", true),
            ("Your refund has been issued.", true),
            ("I have issued a refund to your card.", true),
            ("100% money-back guarantee!", true),
            ("You will be reimbursed for shipping.", true),
            ("We have received your refund request and answer today.", false),
            ("Please read our refund policy.", false),
            ("Thank you for your message. We look into it.", false),
            ("Your order will arrive soon.", false),
            ("我们会为您全额退款。", true),
            ("已经给您办理退款，请查收。", true),
            ("钱会退到您的账户。", true),
            ("我们已收到您的退款申请，今天答复您。", false),
            ("请查看我们的退款政策。", false),
            ("您的订单将于近日送达。", false),
        ] {
            assert_eq!(!check(text).is_empty(), promises, "{text}");
        }
    }

    #[test]
    fn the_sentence_is_named() {
        let found = check("Hello Ana. We will refund you.  Bye.");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].span, 11..30);
    }
}
