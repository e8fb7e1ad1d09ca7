//! Words that China's advertising law forbids: absolute terms.
//!
//! Article 9 (3) of the Advertising Law of the People's Republic of China (as amended in 2021) names “国家级”, “最高级”,
//! “最佳” *and the like*; what else is like them is what market regulators have fined. Writers get round a list by
//! spaces, full-width or traditional characters and look-alikes, so a text is matched without them.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;

use super::{Policy, Violation};

/// Terms that are absolute wherever they stand.
const TERMS: &[&str] = &[
    "国家级",
    "世界级",
    "全球级",
    "宇宙级",
    "国际级",
    "顶级",
    "顶尖",
    "极品",
    "极致",
    "至尊",
    "巅峰",
    "王牌",
    "独一无二",
    "绝无仅有",
    "史无前例",
    "前无古人",
    "空前绝后",
    "无与伦比",
    "无可比拟",
    "登峰造极",
    "万无一失",
    "全网唯一",
    "全国唯一",
    "全球唯一",
    "世界唯一",
    "唯一正品",
    "唯一指定",
    "首屈一指",
    "天下第一",
    "全国第一",
    "全网第一",
    "全球第一",
    "世界第一",
    "中国第一",
    "亚洲第一",
    "行业第一",
    "业内第一",
    "销量第一",
    "排名第一",
    "口碑第一",
    "品质第一",
    "质量第一",
    "第一品牌",
    "唯一",
    "榜首",
    "之王",
    "之最",
    "天花板",
    "终极",
    "无敌",
    "殿堂级",
    "史诗级",
    "销量冠军",
    "销售冠军",
    "全国首家",
    "全球首家",
    "行业首家",
    "全国首创",
    "全球首创",
    "遥遥领先",
    "无人能及",
    "第一名牌",
    "领导品牌",
    "领袖品牌",
    "驰名商标",
    "国家免检",
    "免检产品",
    "全网最低",
    "史上最低",
    "百分百有效",
    "百分之百有效",
    "100%有效",
    "绝对有效",
    "绝对安全",
    "永不磨损",
    "永久有效",
    "根治",
    "包治百病",
    "药到病除",
    "万能",
    "特供",
    "专供",
    "国宴",
    "no一",
    "top一",
];

/// What may follow 最 without making it an absolute claim: time, order and bounds (最近, 最后, 最多), and what people feel
/// (最喜欢, 最在意, 最诚挚).
const AFTER_MOST: &[char] = &[
    '近', '后', '多', '少', '终', '初', '晚', '早', '迟', '快', '慢', '新', '长', '短', '先', '末', '为', '小', '喜',
    '爱', '在', '想', '关', '担', '诚', '真', '需', '要', '难', '不', '怕', '适', '常',
];

/// Before 最好 these make it advice: 您最好保留包装.
const ADVISED: &[char] = &['您', '你', '请', '也', '们'];

/// After these nothing is the first of its kind: 第一 is then no rank.
const FIRST_OF: &[&str] = &[
    "第一时间",
    "第一次",
    "第一步",
    "第一天",
    "第一单",
    "第一件",
    "第一个",
    "第一位",
    "第一笔",
    "第一份",
    "第一批",
    "第一页",
    "第一次",
];

/// Characters that stand for others: traditional forms, numerals, look-alikes.
const LOOK_ALIKES: &[(char, char)] = &[
    ('國', '国'),
    ('級', '级'),
    ('獨', '独'),
    ('無', '无'),
    ('絕', '绝'),
    ('頂', '顶'),
    ('極', '极'),
    ('萬', '万'),
    ('銷', '销'),
    ('質', '质'),
    ('網', '网'),
    ('業', '业'),
    ('領', '领'),
    ('導', '导'),
    ('馳', '驰'),
    ('標', '标'),
    ('對', '对'),
    ('壹', '一'),
    ('弌', '一'),
    ('蕞', '最'),
    ('朂', '最'),
    ('冣', '最'),
    ('㝡', '最'),
];

/// Every absolute term.
pub(super) fn check(text: &str) -> Vec<Violation> {
    let letters = letters(text);
    let plain: String = letters.iter().map(|(letter, _)| *letter).collect();
    let mut spans: Vec<Range<usize>> = Vec::new();
    // By its place among the letters.
    let place = |byte: usize| plain[..byte].chars().count();
    for term in TERMS {
        for (at, _) in plain.match_indices(term) {
            let at = place(at);
            // `piano 1` is no `No. 1`.
            let within_a_word = term.is_char_boundary(1)
                && at.checked_sub(1).is_some_and(|before| {
                    letters[before].0.is_ascii_alphabetic() && letters[before].1.end == letters[at].1.start
                });
            if !within_a_word {
                spans.push(at..at + term.chars().count());
            }
        }
    }
    for (at, (letter, _)) in letters.iter().enumerate() {
        let next = letters.get(at + 1).map(|(letter, _)| *letter);
        let before = at.checked_sub(1).map(|before| letters[before].0);
        let advice = next == Some('好') && before.is_some_and(|before| ADVISED.contains(&before));
        if *letter == '最' && !advice && next.is_some_and(|next| is_han(next) && !AFTER_MOST.contains(&next)) {
            spans.push(at..at + 2);
        }
        // 茶中第一: a rank, where nothing is counted.
        if *letter == '第' && next == Some('一') && before.is_some_and(is_han) {
            let here: String = letters[at..].iter().take(4).map(|(letter, _)| *letter).collect();
            let ends = letters.get(at + 2).is_none_or(|(_, span)| span.start > letters[at + 1].1.end);
            if ends && !FIRST_OF.iter().any(|first| here.starts_with(first)) {
                spans.push(at - 1..at + 2);
            }
        }
    }
    spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    let mut end = 0;
    // The longest of those that overlap.
    spans.retain(|span| {
        let apart = span.start >= end;
        end = if apart { span.end } else { end };
        apart
    });
    let written = |span: Range<usize>| letters[span.start].1.start..letters[span.end - 1].1.end;
    spans
        .into_iter()
        .map(written)
        .map(|span| Violation {
            rule: Policy::ChinaAdvertisingLaw.name(),
            message: format!("`{}` is an absolute term, which China's advertising law forbids", &text[span.clone()]),
            span,
        })
        .collect()
}

fn is_han(letter: char) -> bool {
    matches!(letter, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}')
}

/// The letters, digits and `%` of a text as a reader takes them, each with where it is written.
fn letters(text: &str) -> Vec<(char, Range<usize>)> {
    let mut letters = Vec::with_capacity(text.len());
    for (at, written) in text.char_indices() {
        let read = std::iter::once(written).nfkc().flat_map(char::to_lowercase);
        let read = read.filter(|letter| letter.is_alphanumeric() || *letter == '%');
        letters.extend(read.map(|letter| (letter, at..at + written.len_utf8())));
    }
    for at in 0..letters.len() {
        let digit = |at: usize| letters.get(at).is_some_and(|(letter, _)| letter.is_ascii_digit());
        // Only where it stands alone: `100%` stays what it is.
        let alone = !digit(at + 1) && !at.checked_sub(1).is_some_and(digit);
        let letter = letters[at].0;
        letters[at].0 = match letter {
            '1' if alone => '一',
            _ => LOOK_ALIKES.iter().find(|(from, _)| *from == letter).map_or(letter, |(_, to)| *to),
        };
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::check;

    fn found(text: &str) -> Vec<String> {
        check(text).into_iter().map(|it| text[it.span].to_owned()).collect()
    }

    #[test]
    fn absolute_terms_are_found_however_they_are_written() {
        for (text, terms) in [
            ("国家级品质的杯子", &["国家级"][..]),
            ("最佳选择，最高级的陶瓷", &["最佳", "最高"]),
            ("最 佳、最-好、最\u{200b}优", &["最 佳", "最-好", "最\u{200b}优"]),
            ("國家級陶瓷，蕞好的杯子", &["國家級", "蕞好"]),
            ("销量第一！ＮＯ．１", &["销量第一", "ＮＯ．１"]),
            ("全网第①，全国第1", &["全网第①", "全国第1"]),
            ("TOP 1 之选", &["TOP 1"]),
            ("100%有效", &["100%有效"]),
            ("顶级工艺，独一无二", &["顶级", "独一无二"]),
        ] {
            assert_eq!(found(text), terms, "{text}");
        }
    }

    #[test]
    fn plain_words_are_left_alone() {
        for text in [
            "最近几天会发货，最晚周五送达，最多退三件。",
            "这是您的第一次下单，我们会第一时间处理。",
            "您的订单 #1001 共 1 件，第1步：打开包裹。",
            "最后，请看最新的物流信息。",
            "The best cup we have, no 10 of the series, beside the piano 1 m away.",
            "",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }
}
