//! Who is next: people before rules before work that can wait; within a class, the shop that had the least.
//!
//! Each shop has had so many tokens; the next to be served is of the shop that had the fewest among those that wait.
//! A shop that comes anew begins where the others are, so that it cannot save up turns by staying away.

use std::collections::{BTreeMap, VecDeque};

use super::request::Class;

/// What waits.
pub(crate) struct FairQueue<T> {
    classes: [BTreeMap<String, Shop<T>>; Class::COUNT],
}

struct Shop<T> {
    /// Tokens it had in this class, or would have had if it had always been here.
    had: u64,
    waiting: VecDeque<(T, u64)>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { classes: std::array::from_fn(|_| BTreeMap::new()) }
    }
}

impl<T> FairQueue<T> {
    /// Takes in what a shop wants, and how many tokens it is.
    pub(crate) fn push(&mut self, class: Class, shop: &str, tokens: u64, what: T) {
        let shops = &mut self.classes[class as usize];
        let least = shops.values().filter(|shop| !shop.waiting.is_empty()).map(|shop| shop.had).min();
        let entry = shops.entry(shop.to_owned()).or_insert_with(|| Shop { had: 0, waiting: VecDeque::new() });
        if entry.waiting.is_empty() {
            entry.had = entry.had.max(least.unwrap_or(0));
        }
        entry.waiting.push_back((what, tokens));
    }

    /// Who is next, without taking it.
    pub(crate) fn peek(&self) -> Option<&T> {
        let (class, shop) = self.next()?;
        self.classes[class].get(shop)?.waiting.front().map(|(what, _)| what)
    }

    /// Takes the next.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let (class, shop) = self.next().map(|(class, shop)| (class, shop.to_owned()))?;
        let shops = &mut self.classes[class];
        let entry = shops.get_mut(&shop)?;
        let (what, tokens) = entry.waiting.pop_front()?;
        entry.had = entry.had.saturating_add(tokens);
        // When nobody waits, everybody is even again, and no shop is remembered for ever.
        if shops.values().all(|shop| shop.waiting.is_empty()) {
            shops.clear();
        }
        Some(what)
    }

    fn next(&self) -> Option<(usize, &str)> {
        self.classes.iter().enumerate().find_map(|(class, shops)| {
            let waiting = shops.iter().filter(|(_, shop)| !shop.waiting.is_empty());
            waiting.min_by_key(|(_, shop)| shop.had).map(|(name, _)| (class, name.as_str()))
        })
    }

    /// Takes out all that `wanted` does not want.
    pub(crate) fn drain_unwanted(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut out = Vec::new();
        for shop in self.classes.iter_mut().flat_map(BTreeMap::values_mut) {
            for (what, tokens) in std::mem::take(&mut shop.waiting) {
                if wanted(&what) {
                    shop.waiting.push_back((what, tokens));
                } else {
                    out.push(what);
                }
            }
        }
        out
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.classes.iter().flat_map(BTreeMap::values).map(|shop| shop.waiting.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(queue: &mut FairQueue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn people_come_first_and_shops_take_turns() {
        let mut queue = FairQueue::default();
        queue.push(Class::Batch, "a", 10, "batch");
        for what in ["a1", "a2", "a3", "a4"] {
            queue.push(Class::Rule, "a", 100, what);
        }
        queue.push(Class::Rule, "b", 100, "b1");
        queue.push(Class::Rule, "b", 100, "b2");
        queue.push(Class::Person, "c", 5000, "person");
        assert_eq!(queue.len(), 8);
        assert_eq!(queue.peek(), Some(&"person"));
        assert_eq!(all(&mut queue), ["person", "a1", "b1", "a2", "b2", "a3", "a4", "batch"]);
        assert_eq!((queue.len(), queue.peek()), (0, None));
    }

    #[test]
    fn turns_are_counted_in_tokens_and_cannot_be_saved_up() {
        let mut queue = FairQueue::default();
        for what in ["long 1", "long 2"] {
            queue.push(Class::Rule, "a", 300, what);
        }
        for what in ["s1", "s2", "s3", "s4"] {
            queue.push(Class::Rule, "b", 100, what);
        }
        assert_eq!(all(&mut queue), ["long 1", "s1", "s2", "s3", "long 2", "s4"]);
        for what in ["a1", "a2", "a3", "a4"] {
            queue.push(Class::Rule, "a", 100, what);
        }
        assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some("a1"), Some("a2"), Some("a3")));
        // `z` was not here: it is next, and does not get three turns at once.
        for what in ["z1", "z2"] {
            queue.push(Class::Rule, "z", 100, what);
        }
        queue.push(Class::Rule, "a", 100, "a5");
        assert_eq!(all(&mut queue), ["a4", "z1", "a5", "z2"]);
    }

    #[test]
    fn what_nobody_wants_is_taken_out() {
        let mut queue = FairQueue::default();
        ["keep", "drop", "keep too"].into_iter().for_each(|what| queue.push(Class::Person, "a", 1, what));
        assert_eq!(queue.drain_unwanted(|what| what.starts_with("keep")), ["drop"]);
        assert_eq!(all(&mut queue), ["keep", "keep too"]);
    }
}
