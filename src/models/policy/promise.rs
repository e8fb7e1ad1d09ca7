//! Promises of money back, in English and Chinese.
//!
//! A promise is, within one clause, a word that promises and soon after it one for money back; or a phrase that promises by
//! itself. A clause that says no ("we cannot give a refund", 无法退款) promises nothing.

use super::{Policy, Violation};

/// English: words that promise, before the money.
const PROMISES: &[&str] = &[
    "will",
    "we'll",
    "i'll",
    "you'll",
    "he'll",
    "she'll",
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
    "process",
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
    "sent",
    "sending",
    "full",
    "immediate",
    "expect",
    "expecting",
    "initiated",
    "started",
    "begun",
    "completed",
    "due",
    "owe",
    "ensure",
    "sure",
    "automatically",
    "instant",
];

/// English: money back, by the beginning of the word.
const REFUNDS: &[&str] = &["refund", "reimburse", "moneyback", "cashback", "repay", "repaid"];

/// After one of these the refund is only spoken of: "your refund request".
const SPOKEN_OF: &[&str] = &[
    "request",
    "requests",
    "policy",
    "policies",
    "question",
    "questions",
    "form",
    "enquiry",
    "inquiry",
    "decision",
    "rules",
    "conditions",
    "terms",
];

/// Phrases that promise by themselves.
const PHRASES: &[&str] = &[
    "money back",
    "money will be back",
    "money is on its way back",
    "money returned",
    "reverse the charge",
    "charge will be reversed",
    "returned to your card",
    "returned to your account",
    "return to your card",
    "return to your account",
    "pay you back",
    "paid back",
    "pay back",
    "paying you back",
    "give it back to you",
    "cent back",
    "penny back",
    "everything back",
    "whole amount back",
    "full amount back",
    "amount back",
    "amount will be returned",
    "return your money",
    "returning your money",
    "return the money",
    "return your payment",
    "payment will be returned",
    "payment back",
    "refund is on its way",
    "refund has been",
    "refund was",
    "refund is being",
    "refund will",
    "refunded to",
    "refunding",
    "get refunded",
    "be refunded",
    "been refunded",
    "credit your account",
    "credit your card",
    "credited to your",
    "back on your card",
    "back in your account",
    "back to your card",
    "back to your account",
    "back onto your card",
    "make you whole",
    "made whole",
    "we refund",
    "i refund",
];

/// Money, which may come back.
const MONEY: &[&str] = &[
    "money",
    "cent",
    "penny",
    "amount",
    "price",
    "payment",
    "paid",
    "sum",
    "cash",
    "funds",
    "cost",
    "everything",
    "dollar",
    "euro",
];

/// Before these `back` is of no money.
const BACK: &[&str] = &[
    "get", "gets", "getting", "come", "comes", "coming", "write", "call", "hear", "send", "sent", "sending", "bring",
    "ship", "mail", "look", "welcome", "be", "is", "are", "it's", "went", "go", "report", "shoes", "it", "them",
    "item", "items", "parcel",
];

/// Words that say no. What `n't` ends is one too.
const NO: &[&str] = &[
    "no", "not", "never", "cannot", "without", "unable", "neither", "nor", "nothing", "whether", "decide", "decides",
    "decided",
];

/// They say no to something else.
const NOT_NO: &[&str] = &[
    "cannot wait",
    "can't wait",
    "no problem",
    "no worries",
    "not only",
    "no later",
    "without delay",
    "no doubt",
    "without question",
    "no questions",
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
    "为你",
    "给你",
    "帮你",
    "保证",
    "承诺",
    "同意",
    "安排",
    "全额",
    "无条件",
    "一定",
    "必定",
    "原路",
    "直接",
    "包",
    "秒",
    "内",
    "后",
    "都",
    "随时",
    "优先",
    "放心",
];

/// Chinese: money back.
const REFUNDS_ZH: &[&str] = &[
    "退款",
    "退全款",
    "退钱",
    "退还",
    "退回",
    "退您",
    "退你",
    "退给",
    "返还",
    "返现",
    "返款",
    "赔偿",
    "赔付",
    "还您",
    "还给您",
    "还你",
    "全额退",
    "原路退",
    "退到",
    "退至",
    "回到您",
    "回到你",
    "打回",
    "打给您",
];

/// After one of these the refund is only spoken of.
const SPOKEN_OF_ZH: &[&str] =
    &["申请", "请求", "要求", "政策", "问题", "规则", "流程", "事宜", "事项", "的商品", "商品", "的包裹", "包裹", "货"];

/// Phrases that promise by themselves.
const PHRASES_ZH: &[&str] = &[
    "退款给您",
    "退款给你",
    "款项将",
    "款项会",
    "钱会退",
    "钱将退",
    "钱退您",
    "钱退你",
    "退到您",
    "退至您",
    "退回您的账户",
    "退回您账户",
    "退回到您",
    "回到您手里",
    "包退",
    "假一赔",
    "一分不少",
    "分文不少",
    "给您退",
    "给你退",
    "为您退",
    "帮您退款",
    "钱款将",
    "货款将",
    "退您钱",
    "全额退款",
    "原路返还",
    "原路退回",
    "退款到账",
    "退一赔",
    "先行赔付",
    "退了给您",
    "钱给您退",
    "把钱退",
    "将钱退",
    "退您",
    "款会到",
    "钱会回",
    "钱就回",
];

/// Chinese: what says no.
const NO_ZH: &[&str] = &[
    "不能",
    "无法",
    "没有",
    "无权",
    "未",
    "暂不",
    "不会",
    "不予",
    "不支持",
    "不可",
    "恕",
    "是否",
    "能否",
    "不接受",
    "不承诺",
    "不保证",
    "不是",
    "并非",
    "不代表",
];

/// How many characters may stand between promise and money.
const CHARS_BETWEEN: usize = 8;

/// Every promise of money back.
pub(super) fn check(text: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut at = 0;
    for sentence in text.split_inclusive(['.', '!', '?', '\n', '。', '！', '？', '；']) {
        let promises = clauses(sentence).any(|clause| promises_english(clause) || promises_chinese(clause));
        if promises {
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

/// The parts of a sentence within which a word of denial counts.
fn clauses(sentence: &str) -> impl Iterator<Item = &str> {
    sentence.split([',', '，', ';', '；', ':', '：', '—', '–', '、']).flat_map(|part| part.split(" but "))
}

fn promises_english(clause: &str) -> bool {
    let lower = clause.to_lowercase().replace(['’', '‘'], "'").replace("money-back", "money back");
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty()).collect();
    let plain = format!(" {} ", words.join(" "));
    let has = |phrase: &&&str| plain.contains(&format!(" {phrase} "));
    let denies = NO.iter().any(|no| has(&no)) || words.iter().any(|word| word.ends_with("n't"));
    if denies && !NOT_NO.iter().any(|no| has(&no)) {
        return false;
    }
    if PHRASES.iter().any(|phrase| has(&phrase)) {
        return true;
    }
    // `every cent you paid, back on your card`, but not `back in stock at the same price`
    let comes_back = words.windows(2).any(|pair| pair[1] == "back" && !BACK.contains(&pair[0]));
    if comes_back && words.iter().any(|word| MONEY.contains(word)) {
        return true;
    }
    words.iter().enumerate().any(|(at, word)| {
        REFUNDS.iter().any(|refund| word.starts_with(refund))
            && !words.get(at + 1).is_some_and(|next| SPOKEN_OF.contains(next))
            && words[at.saturating_sub(WORDS_BETWEEN + 1)..at].iter().any(|before| PROMISES.contains(before))
    })
}

fn promises_chinese(clause: &str) -> bool {
    let denied = |before: &str| NO_ZH.iter().any(|no| before.contains(no));
    let phrase = PHRASES_ZH.iter().filter_map(|phrase| clause.find(phrase)).any(|at| !denied(&clause[..at]));
    if phrase {
        return true;
    }
    REFUNDS_ZH.iter().flat_map(|refund| clause.match_indices(refund)).any(|(at, refund)| {
        let after = &clause[at + refund.len()..];
        let start = clause[..at].char_indices().rev().take(CHARS_BETWEEN + 2).last().map_or(at, |(start, _)| start);
        !SPOKEN_OF_ZH.iter().any(|word| after.starts_with(word))
            && !denied(&clause[..at])
            && PROMISES_ZH.iter().any(|promise| clause[start..at].contains(promise))
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
            ("Your money is on its way back to you.", true),
            ("There is no doubt that we will refund you.", true),
            ("We have received your refund request and answer today.", false),
            ("Please read our refund policy.", false),
            ("Thank you for your message. We look into it.", false),
            ("Your order will arrive soon.", false),
            ("We cannot give you your money back.", false),
            ("No refund has been approved so far.", false),
            ("A colleague decides whether we can refund it.", false),
            ("我们会为您全额退款。", true),
            ("已经给您办理退款，请查收。", true),
            ("钱会退到您的账户。", true),
            ("不满意，钱一分不少地还您。", true),
            ("我们已收到您的退款申请，今天答复您。", false),
            ("请查看我们的退款政策。", false),
            ("您的订单将于近日送达。", false),
            ("我无权承诺退款，是否退款需要专人决定。", false),
            ("已收到您退回的商品。", false),
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
