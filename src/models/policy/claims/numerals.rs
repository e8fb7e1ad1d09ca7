//! Chinese numerals, as digits: 二十元 is read as 20元, 八五折 as 85折, 半价 as 50%.

/// What stands for a digit, by its value; for scales see [`scale`].
fn digit(c: char) -> Option<u64> {
    Some(match c {
        '零' | '〇' => 0,
        '一' | '壹' => 1,
        '二' | '两' | '兩' | '贰' | '貳' => 2,
        '三' | '叁' | '參' => 3,
        '四' | '肆' => 4,
        '五' | '伍' => 5,
        '六' | '陆' | '陸' => 6,
        '七' | '柒' => 7,
        '八' | '捌' => 8,
        '九' | '玖' => 9,
        _ => return None,
    })
}

/// What multiplies.
pub(super) fn scale(c: char) -> Option<u64> {
    Some(match c {
        '十' | '拾' => 10,
        '百' | '佰' => 100,
        '千' | '仟' => 1000,
        '万' | '萬' => 10_000,
        '亿' | '億' => 100_000_000,
        _ => return None,
    })
}

/// Units after which any number counts, one included.
const UNITS: &[&str] = &[
    "元",
    "块",
    "塊",
    "圆",
    "美元",
    "欧元",
    "英镑",
    "日元",
    "港元",
    "折",
    "%",
    "小时",
    "个小时",
    "分钟",
    "工作日",
    "个工作日",
    "星期",
    "个星期",
    "月",
    "日",
    "号",
    "毛钱",
    "角",
    "分之",
    "天内",
    "天后",
    "天之内",
    "天以内",
    "周内",
    "周后",
    "年内",
    "年质保",
    "年保修",
    "年后",
    "个月",
    "倍",
    "成以",
];

/// Units after which two or more count; `一天` and `一件` are words.
const COUNTED: &[&str] = &[
    "天", "周", "年", "件", "个", "個", "次", "位", "份", "单", "款", "套", "双", "盒", "瓶", "箱", "斤", "公斤", "克",
    "人", "岁", "种", "步", "项", "条", "张", "只", "袋", "台", "支", "片", "杯", "把", "本", "部", "层", "寸", "厘米",
    "毫米", "米", "升", "毫升", "点", "期", "楼", "包装", "晚",
];

/// A `成` that is no tenth.
const NO_TENTH: &[char] =
    &['功', '为', '本', '立', '员', '长', '果', '交', '分', '品', '熟', '套', '都', '就', '年', '千', '语', '了'];

/// Words that are no numbers.
const WORDS: &[&str] = &["千万", "万一", "万千", "千百", "百千", "万万", "百万分", "十万火急", "千千万万"];

/// Before these a number of two or more counts, whatever follows.
const BEFORE: &[char] =
    &['满', '减', '送', '赠', '省', '降', '第', '仅', '共', '售', '價', '价', '约', '近', '超', '打', '余', '剩'];

/// The number that begins at `at`, in digits, and where it ends.
pub(super) fn chinese(chars: &[char], at: usize) -> Option<(usize, String)> {
    let rest = |from: usize| chars.get(from..).unwrap_or_default();
    let follows = |from: usize, word: &str| word.chars().enumerate().all(|(n, c)| chars.get(from + n) == Some(&c));
    match chars[at] {
        '半' | '对' if follows(at + 1, "折") => return Some((at + 2, "50%".into())),
        '半' if follows(at + 1, "价") || follows(at + 1, "價") => return Some((at + 2, "50%".into())),
        '半' if ["小时", "个小时", "年", "个月", "天内"].iter().any(|unit| follows(at + 1, unit)) => {
            return Some((at + 1, "0.5".into()));
        }
        _ => {}
    }
    let of_numeral = |c: &&char| digit(**c).is_some() || scale(**c).is_some() || matches!(**c, '廿' | '卅');
    let run: Vec<char> = rest(at).iter().take_while(of_numeral).copied().collect();
    // `百分之` is a word of its own.
    let run =
        if run.last() == Some(&'百') && follows(at + run.len(), "分之") { &run[..run.len() - 1] } else { &run[..] };
    let end = at + run.len();
    let before = |n: usize| at.checked_sub(n).map(|at| chars[at]);
    // A scale after digits is the digits' own: 3万.
    if run.is_empty() || before(1).is_some_and(|c| c.is_ascii_digit() || digit(c).is_some() || scale(c).is_some()) {
        return None;
    }
    let text: String = run.iter().collect();
    let value = value(run)?;
    let after_percent = before(1) == Some('之') && before(2) == Some('分');
    let weekday = matches!(before(1), Some('周' | '期' | '拜')) && run.len() == 1;
    let is_tenth = follows(end, "成") && !rest(end + 1).first().is_some_and(|c| NO_TENTH.contains(c));
    let has_scale = run.iter().any(|c| scale(*c).is_some());
    let counts = after_percent
        || is_tenth
        || UNITS.iter().any(|unit| follows(end, unit))
        || before(1).is_some_and(|c| matches!(c, '剩' | '仅' | '满' | '减' | '赔'))
        || (value >= 2
            && (before(1).is_some_and(|c| BEFORE.contains(&c)) || COUNTED.iter().any(|unit| follows(end, unit))))
        || (run.len() >= 2 && (has_scale || run.contains(&'〇') || run.contains(&'零')))
        || run.len() >= 4;
    let is_word =
        WORDS.iter().any(|word| text == *word) || (text == "十" && follows(end, "分") && !follows(end, "分钟"));
    (counts && !is_word && !weekday).then(|| (end, value.to_string()))
}

/// Twenty and thirty in one character.
fn tens(c: char) -> Option<u64> {
    match c {
        '廿' => Some(20),
        '卅' => Some(30),
        _ => None,
    }
}

/// The value of a run: digits side by side, or with scales.
fn value(run: &[char]) -> Option<u64> {
    if run.iter().all(|c| digit(*c).is_some()) {
        return run.iter().try_fold(0_u64, |value, c| value.checked_mul(10)?.checked_add(digit(*c)?));
    }
    let (mut total, mut section, mut last) = (0_u64, 0_u64, None::<u64>);
    for c in run {
        if let Some(number) = digit(*c) {
            // 二三十 is about twenty or thirty.
            if last.is_some_and(|last| last != 0) {
                return None;
            }
            last = Some(number);
            continue;
        }
        if let Some(tens) = tens(*c) {
            section = section.checked_add(tens)?;
            continue;
        }
        let scale = scale(*c)?;
        if scale >= 10_000 {
            section = section.checked_add(last.unwrap_or(0))?;
            total = total.checked_add(section.max(1))?.checked_mul(scale)?;
            section = 0;
        } else {
            section = section.checked_add(last.filter(|last| *last > 0).unwrap_or(1).checked_mul(scale)?)?;
        }
        last = None;
    }
    total.checked_add(section)?.checked_add(last.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::super::worded::read;

    fn plain(text: &str) -> String {
        read(text).0.into_iter().collect()
    }

    #[test]
    fn numerals_become_digits() {
        for (text, expected) in [
            ("二十元，两百块，三百五十件", "20元，200块，350件"),
            ("全场五折，八五折，打对折，半价", "全场5折，85折，打50%，50%"),
            ("百分之五十，三分之一，让利三成", "百分之50，3分之1，让利3成"),
            ("满三百减五十", "满300减50"),
            ("十一月二十一日，二〇二六年", "11月21日，2026年"),
            ("三个工作日内，两件，一周内，四十八小时", "3个工作日内，2件，1周内，48小时"),
            ("一千零五十，两万三千，卅元，廿一日", "1050，23000，30元，21日"),
            ("您的第三单，一元", "您的第3单，1元"),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }

    #[test]
    fn ordinary_words_stay() {
        for text in [
            "我们一定第一时间处理，请稍等一下，一起努力，统一发货，万一有问题",
            "十分感谢，百忙之中，千万不要，三思，一件小事，祝您有愉快的一天，一份心意",
            "周一到周五，星期三，四季平安，成功，再三确认",
        ] {
            assert_eq!(plain(text), text);
        }
    }
}
