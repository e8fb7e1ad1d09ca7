//! Offers and codes that hold no digit, and links that pretend to be none.

use super::{Claim, Scan};

/// Before a code.
const CODE: &[&str] = &["code", "coupon", "voucher", "promo"];
const CODE_ZH: &[&str] = &["优惠码", "折扣码", "优惠券码", "口令", "暗号"];

/// Ends of addresses that people spell out.
const DOMAINS: &[&str] =
    &["com", "net", "org", "io", "co", "cn", "shop", "store", "example", "eu", "de", "uk", "biz", "info"];

/// What people write for the dot in an address.
const DOTS: &[&str] = &[" dot ", "[.]", "(.)", "[dot]", "(dot)", " [dot] ", " (dot) ", "。", "点", "."];

/// The shortest code.
const SHORTEST: usize = 4;

impl Scan {
    /// The offer or code at `at`, in capitals, and where it ends.
    pub(super) fn offer(&self, at: usize) -> Option<(usize, String)> {
        if self.peek(at) == '买' {
            return self.chinese_offer(at);
        }
        if !self.peek(at).is_ascii_alphanumeric() || (at > 0 && self.peek(at - 1).is_ascii_alphanumeric()) {
            return None;
        }
        for phrase in [
            "buy one get one",
            "buy one, get one",
            "buy 1 get 1",
            "buy 1, get 1",
            "buy one and get one",
            "bogo",
            "for the price of one",
            "for one",
            "for-one",
            "for free",
            "free of charge",
            "free shipping",
            "free delivery",
        ] {
            if self.is_at(at, phrase) && !self.peek(at + phrase.len()).is_ascii_alphanumeric() {
                let is_two_for_one =
                    !matches!(phrase, "for one" | "for-one") || self.peek(at.saturating_sub(2)).is_ascii_digit();
                return is_two_for_one.then(|| (at + phrase.len(), phrase.to_ascii_uppercase()));
            }
        }
        let end = self.run(at, |c| c.is_ascii_uppercase());
        let named = CODE.contains(&self.word_before(at).as_str())
            || CODE_ZH.iter().any(|word| {
                let length = word.chars().count();
                let gap = (0..=2).find(|gap| at >= length + gap && self.is_at(at - length - gap, word));
                gap.is_some()
            });
        let is_code = named && end - at >= SHORTEST && !self.peek(end).is_ascii_alphanumeric();
        is_code.then(|| (end, self.text(at..end)))
    }

    /// 买一送一, 买2件送1件.
    fn chinese_offer(&self, at: usize) -> Option<(usize, String)> {
        let counts = |c: char| {
            c.is_ascii_digit() || matches!(c, '一' | '二' | '两' | '三' | '四' | '五' | '件' | '个' | '即' | '就')
        };
        let end = self.run(at + 1, counts);
        let gives = end > at + 1 && matches!(self.peek(end), '送' | '赠' | '免');
        let stop = self.run(end + 1, counts);
        (gives && stop > end + 1).then(|| (stop, self.text(at..stop)))
    }

    /// `shop dot example`, `hxxp://…`, `shop[.]example`, `shop。example`.
    pub(super) fn disguised_link(&mut self, from: usize) -> Option<Claim> {
        if self.is_at(from, "hxxp") {
            let end = self.run(from, |c| c.is_ascii_graphic());
            self.at = end;
            return Some(Claim::Link(self.text(from..end).to_ascii_lowercase()));
        }
        // Each part, as it stands before a dot.
        let (mut name, mut at, mut disguised) = (String::new(), from, false);
        loop {
            let end = self.run(at, |c| c.is_ascii_alphanumeric() || c == '-');
            name.push_str(&self.text(at..end).to_ascii_lowercase());
            let dot = DOTS.iter().find(|dot| self.is_at(end, dot)).filter(|_| end > at);
            let Some(dot) = dot else { return self.ends_as_link(&name, end).filter(|_| disguised) };
            let start = end + dot.chars().count();
            if !self.peek(start).is_ascii_alphanumeric() {
                return self.ends_as_link(&name, end).filter(|_| disguised);
            }
            disguised |= *dot != ".";
            name.push('.');
            at = start;
        }
    }

    /// The link that `name` is, where it ends as addresses do.
    fn ends_as_link(&mut self, name: &str, end: usize) -> Option<Claim> {
        let (_, last) = name.rsplit_once('.')?;
        DOMAINS.contains(&last).then(|| {
            self.at = end;
            Claim::Link(name.to_owned())
        })
    }
}
