//! Products that a text names: one of the shop's that is not among the given ones, or one that is called nearly as a
//! given one is.
//!
//! A name is compared by its words, in small letters; Chinese, Japanese and Korean characters are words of their own.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::{Policy, Violation};

/// Titles of more words are compared by these only.
const LONGEST: usize = 12;
/// A title of fewer Chinese characters, or of one word, may be an ordinary word.
const SHORTEST_HAN: usize = 3;

/// The titles of a shop's products, to be looked for in texts.
#[derive(Clone, Debug, Default)]
pub struct Titles(HashMap<String, HashSet<Vec<String>>>);

impl Titles {
    /// Of these products.
    pub fn new<'a>(titles: impl IntoIterator<Item = &'a str>) -> Self {
        let mut by_first = Self::default();
        titles.into_iter().for_each(|title| by_first.add(title));
        by_first
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().map(HashSet::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, title: &str) {
        let words: Vec<String> = words(title).into_iter().map(|word| word.plain).take(LONGEST).collect();
        if is_a_name(&words)
            && let Some(first) = words.first()
        {
            self.0.entry(first.clone()).or_default().insert(words);
        }
    }

    /// How many words the longest title has that stands at the beginning of `words`.
    fn longest(&self, words: &[Word]) -> Option<usize> {
        let begins = |title: &&Vec<String>| {
            title.len() <= words.len() && title.iter().zip(words).all(|(title, word)| *title == word.plain)
        };
        self.0.get(&words.first()?.plain)?.iter().filter(begins).map(Vec::len).max()
    }

    fn all(&self) -> impl Iterator<Item = &Vec<String>> {
        self.0.values().flatten()
    }
}

/// The products that a text may name, and those that it may not.
#[derive(Clone, Debug, Default)]
pub(super) struct Products {
    given: Arc<Titles>,
    pub(super) catalogue: Option<Arc<Titles>>,
}

/// A word of a text.
struct Word {
    plain: String,
    span: Range<usize>,
    is_han: bool,
    is_capital: bool,
    /// Whether it follows the word before it within a name: no comma, no end of a sentence.
    joined: bool,
}

impl Products {
    /// A product that may be named.
    pub(super) fn give(&mut self, title: &str) {
        let given = Arc::make_mut(&mut self.given);
        given.add(title);
        // 山野龙井 250克 is called 山野龙井 as well.
        if let Some((name, _)) = title.split_once(' ').filter(|(name, _)| name.chars().all(is_han)) {
            given.add(name);
        }
    }

    /// The products in `text` that are not given.
    pub(super) fn not_given(&self, text: &str) -> Vec<Violation> {
        let words = words(text);
        let mut violations = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let joined = words[at + 1..].iter().take_while(|word| word.joined).take(2 * LONGEST).count();
            let rest = &words[at..=at + joined];
            let given = self.given.longest(rest);
            let known = self.catalogue.as_ref().and_then(|titles| titles.longest(rest));
            // A longer name than the given one is another product: `Blue Shirt Deluxe`.
            if let Some(length) = known.filter(|known| given.is_none_or(|given| given < *known)) {
                violations.push(violation(text, &rest[..length], "is a product of the shop and not a given fact"));
                at += length;
            } else if let Some(length) = given {
                let more = more(&rest[length..], rest[length - 1].span.end);
                if more > 0 {
                    let name = &rest[..length + more];
                    violations.push(violation(text, name, "is more than a given product's name"));
                }
                at += length + more;
            } else if let Some(length) = self.nearly(rest) {
                violations.push(violation(text, &rest[..length], "is nearly a given product's name and not one"));
                at += length;
            } else {
                let invented = invented(text, rest);
                if invented > 0 {
                    violations.push(violation(text, &rest[..invented], "is a name that nobody has given"));
                }
                at += invented.max(1);
            }
        }
        violations
    }

    /// How many words at the beginning of `words` are nearly a given name and not one. A name is written as one: with
    /// capitals, or in Chinese.
    fn nearly(&self, words: &[Word]) -> Option<usize> {
        let is_han = words.first()?.is_han;
        let nearly = |title: &Vec<String>| if is_han { nearly_han(words, title) } else { nearly_latin(words, title) };
        // `The Blue Linen Shirt` holds a given name.
        let holds_given = |length: &usize| (1..*length).any(|at| self.given.longest(&words[at..]).is_some());
        self.given.all().find_map(nearly).filter(|length| !holds_given(length))
    }
}

/// How many words more or fewer than a name still are nearly it.
const APART: usize = 2;

/// `Blue Cotton Shirt` for `Blue Linen Shirt`: it ends like the name, begins like it or has most of its words, and all of
/// it has capitals.
fn nearly_latin(words: &[Word], title: &[String]) -> Option<usize> {
    let (first, last) = (title.first()?, title.last()?);
    let lengths = title.len().saturating_sub(APART).max(2)..=title.len() + APART;
    lengths.into_iter().rev().find(|length| {
        let Some(there) = words.get(..*length) else { return false };
        let same = there.iter().filter(|word| title.contains(&word.plain)).count();
        let (begins, ends) = (there[0].plain == *first, there[length - 1].plain == *last);
        let whole = there.iter().all(|word| word.is_capital && !word.is_han);
        whole
            && ends
            && (begins || (*length == title.len() && same * 2 > title.len()))
            && there.iter().zip(title).any(|(word, it)| word.plain != *it)
    })
}

/// What stands within no name.
const BETWEEN: &str = "的了是和与您你我们这那一两个款在有为将请已也都很就给把被让从对到可会能不";

fn is_between(word: &Word) -> bool {
    BETWEEN.contains(word.plain.as_str())
}

/// What goods are called by in Chinese: the last character of such a name.
const GOODS: &str =
    "杯碗壶盘碟盏巾套衣衫裙裤鞋袜帽枕被毯垫灯椅桌柜架床包袋表机器盒瓶茶膏霜液油酒饼糖井笔本刀锅伞扇镜链戒环箱罩";

/// 青花茶杯 or 青瓷茶壶 for 青瓷茶杯: as long as the name, with the same beginning or end.
fn nearly_han(words: &[Word], title: &[String]) -> Option<usize> {
    let length = title.len();
    let there = words.get(..length)?;
    let same = |range: Range<usize>| there[range.clone()].iter().zip(&title[range]).all(|(word, it)| word.plain == *it);
    let is_a_name = there.iter().all(|word| word.is_han && !is_between(word));
    let goods = there.last().is_some_and(|word| GOODS.contains(word.plain.as_str()));
    let near = same(length.saturating_sub(2)..length) || (goods && same(0..2));
    (length > SHORTEST_HAN && is_a_name && near).then_some(length)
}

/// What makes another product of the name before it: `Pro`, 儿童款.
const MORE: &[&str] = &[
    "pro", "plus", "max", "mini", "deluxe", "ultra", "lite", "premium", "wide", "xl", "xxl", "set", "bundle",
    "edition", "limited", "gold", "junior", "kids", "travel", "ii", "iii", "se", "air", "combo", "kit",
];
/// The last character of what does so in Chinese, and after how many it stands at most.
const MORE_HAN: (&str, usize) = ("款版装型", 4);

/// How many of the words after a name belong to it and make it another.
fn more(after: &[Word], end: usize) -> usize {
    let Some(first) = after.first() else { return 0 };
    let close = first.span.start <= end + 1;
    if !first.is_han {
        return usize::from(close && first.is_capital && MORE.contains(&first.plain.as_str()));
    }
    let is_kind = |word: &Word| MORE_HAN.0.contains(word.plain.as_str());
    let kind = after.iter().take(MORE_HAN.1).take_while(|word| word.is_han && !is_between(word) || is_kind(word));
    match kind.into_iter().position(is_kind) {
        // 这款: a kind is told by what stands before it.
        Some(at) if at > 0 && first.span.start == end => at + 1,
        _ => 0,
    }
}

/// Brands that everybody may name.
const BRANDS: &[&str] =
    &["iphone", "ipad", "paypal", "whatsapp", "wechat", "youtube", "tiktok", "linkedin", "ebay", "alipay", "macbook"];

/// How many words at the beginning of `words` are a name that nobody has given: one with a capital within, and words with
/// capitals after it, as `AquaPure Filter`; or what ends as only products do, as `Fern Feed Deluxe`.
fn invented(text: &str, words: &[Word]) -> usize {
    let Some(first) = words.first() else { return 0 };
    let finer = |word: &Word| word.is_capital && FINER.contains(&word.plain.as_str());
    if first.is_han {
        // 深睡枕Pro
        let name = words.iter().take(LONGEST).take_while(|word| word.is_han && !is_between(word)).count();
        let close = |word: &&Word| word.span.start == words[name - 1].span.end && finer(word);
        return words.get(name).filter(|_| name > 1).filter(close).map_or(0, |_| name + 1);
    }
    let capitals = words.iter().take(APART + 2).take_while(|word| word.is_capital && !word.is_han).count();
    if let Some(last) = words[..capitals].iter().rposition(finer)
        && last > 0
        && !matches!(first.plain.as_str(), "the" | "our" | "your" | "a" | "this" | "try")
    {
        return last + 1;
    }
    let letters = &text[first.span.clone()];
    let within = letters.chars().zip(letters.chars().skip(1)).any(|(a, b)| a.is_lowercase() && b.is_uppercase());
    if within && capitals > 1 && !BRANDS.contains(&first.plain.as_str()) { capitals } else { 0 }
}

/// What makes a finer product of any.
const FINER: &[&str] = &["pro", "plus", "max", "deluxe", "ultra", "premium", "lite", "mini"];

fn violation(text: &str, words: &[Word], problem: &str) -> Violation {
    let start = words.first().map_or(0, |word| word.span.start);
    let span = start..words.last().map_or(start, |word| word.span.end);
    let message = format!("“{}” {problem}", &text[span.clone()]);
    Violation { rule: Policy::GivenFactsOnly.name(), span, message }
}

/// Whether these words are a name that is found among others: not a single ordinary word.
fn is_a_name(words: &[String]) -> bool {
    let han = words.iter().flat_map(|word| word.chars()).filter(|c| is_han(*c)).count();
    if han > 0 { han >= SHORTEST_HAN } else { words.len() >= 2 }
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}')
}

/// A word as it is compared: `planters` is as good as `planter`.
fn singular(word: &mut Word) {
    if !word.is_han && word.plain.len() > 3 && word.plain.ends_with('s') && !word.plain.ends_with("ss") {
        word.plain.pop();
    }
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut open, mut joined) = (false, false);
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        if is_han(c) {
            words.push(Word { plain: c.to_string(), span: at..end, is_han: true, is_capital: false, joined });
            (open, joined) = (false, true);
        } else if c.is_alphanumeric() || (open && matches!(c, '\'' | '’')) {
            let lower: String = c.to_lowercase().collect();
            match words.last_mut().filter(|_| open) {
                Some(word) => {
                    word.plain.push_str(&lower);
                    word.span.end = end;
                }
                None => {
                    let is_capital = c.is_uppercase() || c.is_numeric();
                    words.push(Word { plain: lower, span: at..end, is_han: false, is_capital, joined });
                    (open, joined) = (true, true);
                }
            }
        } else {
            open = false;
            // `No. 3` is one name, as is `Pour-Over`.
            let dot = c == '.' && words.last().is_some_and(|word| word.plain == "no");
            joined &= dot || matches!(c, ' ' | '-' | '\'' | '’' | '·' | '\u{A0}');
        }
    }
    words.iter_mut().for_each(singular);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let mut products = Products { catalogue: None, ..Products::default() };
        ["Blue Linen Shirt", "青瓷茶杯", "Tee 180 g"].iter().for_each(|title| products.give(title));
        products.catalogue = Some(Arc::new(Titles::new([
            "Blue Linen Shirt",
            "Walnut Desk Lamp",
            "Blue Linen Shirt Deluxe",
            "竹制托盘",
            "Cup",
        ])));
        products.not_given(text).into_iter().map(|it| text[it.span].to_owned()).collect()
    }

    #[test]
    fn other_products_are_found_and_given_ones_are_not() {
        for (text, products) in [
            ("Your Blue Linen Shirt and the blue linen shirt, BLUE LINEN SHIRT.", &[][..]),
            ("Have a look at our walnut desk lamp.", &["walnut desk lamp"]),
            ("Your Blue Linen Shirt Deluxe is packed.", &["Blue Linen Shirt Deluxe"]),
            ("Your Blue Cotton Shirt is packed.", &["Blue Cotton Shirt"]),
            ("It is a blue cotton shirt, a cup.", &[]),
            ("您的青瓷茶杯已发货，青花茶杯也有，配竹制托盘。", &["青花茶杯", "竹制托盘"]),
            ("您的茶杯已发货。", &[]),
            ("您的青瓷茶杯礼盒装、青瓷茶壶与青瓷茶杯Pro。", &["青瓷茶杯礼盒装", "青瓷茶壶", "青瓷茶杯Pro"]),
            ("The Blue Linen Shirts, and the Blue Linen Shirt Pro.", &["Blue Linen Shirt Pro"]),
            ("Try our AquaPure Filter Set. Pay with PayPal Now.", &["AquaPure Filter Set"]),
            ("", &[]),
        ] {
            assert_eq!(found(text), products, "{text}");
        }
    }
}
