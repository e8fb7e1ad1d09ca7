//! From the tree of layers to typed settings: every mistake in one go, every setting noted with its origin.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::layers::{Data, Node, Origin, Surroundings};
use super::values::{Bytes, Readable};
use super::{Mistake, Setting};

/// What reading has found so far.
pub(super) struct Notes<'a> {
    pub(super) around: Surroundings<'a>,
    pub(super) settings: Vec<Setting>,
    pub(super) mistakes: Vec<Mistake>,
}

impl Notes<'_> {
    pub(super) fn mistake(&mut self, origin: &Origin, key: &str, message: impl Into<String>, hint: Option<String>) {
        let mistake = Mistake { origin: origin.clone(), key: key.to_owned(), message: message.into(), hint };
        // What stands in `[shop_defaults]` is read once a shop.
        if !self.mistakes.iter().any(|old| old.origin == mistake.origin && old.message == mistake.message) {
            self.mistakes.push(mistake);
        }
    }
}

/// A table that is being read. What has not been asked for when it is done is an unknown key.
pub(super) struct Section<'n, 'a> {
    path: String,
    left: BTreeMap<String, Node>,
    asked: Vec<&'static str>,
    origin: Origin,
    pub(super) notes: &'n mut Notes<'a>,
}

impl<'n, 'a> Section<'n, 'a> {
    /// Reads a table.
    pub(super) fn read<T>(
        path: String,
        node: Node,
        notes: &'n mut Notes<'a>,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> T {
        let left = match node.data {
            Data::Table(table) => table,
            _ => {
                notes.mistake(&node.origin, &path, "this must be a table", Some(format!("write `[{path}]`")));
                BTreeMap::new()
            }
        };
        let mut section = Section { path, left, asked: Vec::new(), origin: node.origin, notes };
        let it = read(&mut section);
        section.refuse_the_rest();
        it
    }

    /// The dotted path of a key in this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.asked.push(key);
        self.left.remove(key)
    }

    /// A mistake of the table as a whole, such as a key that is missing.
    pub(super) fn mistake(&mut self, key: &str, message: &str, hint: &str) {
        let path = self.path_of(key);
        self.notes.mistake(&self.origin, &path, message, Some(hint.to_owned()));
    }

    /// A setting that may be missing: where it is missing, or wrong, there is `None`.
    pub(super) fn optional<T: Readable>(&mut self, key: &'static str) -> Option<T> {
        let node = self.take(key)?;
        let path = self.path_of(key);
        read_value(&path, &node, self.notes)
    }

    /// A setting that must be there. Where it is not, that is noted, and the whole will not be used.
    pub(super) fn required<T: Readable>(&mut self, key: &'static str) -> Option<T> {
        if !self.left.contains_key(key) {
            self.mistake(key, "this setting is missing", &format!("write `{key} = …`: {}", T::WANTED));
        }
        self.optional(key)
    }

    /// The same, for types whose empty value may stand in until the mistake is reported.
    pub(super) fn get<T: Readable + Default>(&mut self, key: &'static str) -> T {
        self.required(key).unwrap_or_default()
    }

    /// A table as it stands, unread.
    pub(super) fn raw(&mut self, key: &'static str) -> Option<Node> {
        self.take(key)
    }

    /// A whole number within bounds.
    pub(super) fn whole(&mut self, key: &'static str, range: RangeInclusive<usize>) -> usize {
        self.within(key, &range, |number: &i64| usize::try_from(*number).ok(), |edge| edge.to_string())
    }

    /// The same of a setting that may be missing.
    pub(super) fn whole_or(&mut self, key: &'static str, usual: usize, range: RangeInclusive<usize>) -> usize {
        if self.left.contains_key(key) {
            return self.whole(key, range);
        }
        self.asked.push(key);
        usual
    }

    /// A size in bytes within bounds.
    pub(super) fn bytes(&mut self, key: &'static str, range: RangeInclusive<usize>) -> usize {
        self.within(key, &range, |bytes: &Bytes| Some(bytes.0), |edge| format!("{edge} bytes"))
    }

    fn within<T: Readable>(
        &mut self,
        key: &'static str,
        range: &RangeInclusive<usize>,
        number: impl Fn(&T) -> Option<usize>,
        edge: impl Fn(&usize) -> String,
    ) -> usize {
        let origin = self.left.get(key).map_or(Origin::Default, |node| node.origin.clone());
        let Some(value) = self.optional::<T>(key) else { return *range.start() };
        match number(&value) {
            Some(number) if range.contains(&number) => number,
            _ => {
                let path = self.path_of(key);
                let hint = format!("{} to {} are allowed", edge(range.start()), edge(range.end()));
                self.notes.mistake(&origin, &path, "this is out of bounds", Some(hint));
                *range.start()
            }
        }
    }

    /// A table within this one; where it is missing, an empty one.
    pub(super) fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_, 'a>) -> T) -> T {
        let node = self.take(key).unwrap_or_else(|| Node::table(self.origin.clone()));
        Section::read(self.path_of(key), node, self.notes, read)
    }

    /// A table within this one; `None` where it is missing.
    pub(super) fn optional_table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_, 'a>) -> T,
    ) -> Option<T> {
        self.left.contains_key(key).then(|| self.table(key, read))
    }

    /// A table whose keys are names: what `read` makes of each.
    pub(super) fn each<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&str, Node, &str, &mut Notes<'a>) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let path = self.path_of(key);
        match self.take(key).map(|node| (node.data, node.origin)) {
            None => BTreeMap::new(),
            Some((Data::Table(table), _)) => table
                .into_iter()
                .filter_map(|(name, node)| {
                    let it = read(&name, node, &format!("{path}.{name}"), self.notes)?;
                    Some((name, it))
                })
                .collect(),
            Some((_, origin)) => {
                self.notes.mistake(&origin, &path, "this must be a table", Some(format!("write `[{path}]`")));
                BTreeMap::new()
            }
        }
    }

    /// A table of names and values.
    pub(super) fn map<T: Readable>(&mut self, key: &'static str) -> BTreeMap<String, T> {
        self.each(key, |_, node, path, notes| read_value(path, &node, notes))
    }

    /// Leaves the rest of the table unread.
    pub(super) fn skip(&mut self) {
        self.left.clear();
    }

    /// All that stands in this table, by name.
    pub(super) fn all<T: Readable>(&mut self) -> BTreeMap<String, T> {
        let left = std::mem::take(&mut self.left);
        left.into_iter()
            .filter_map(|(name, node)| Some((name.clone(), read_value(&self.path_of(&name), &node, self.notes)?)))
            .collect()
    }

    fn refuse_the_rest(self) {
        for (key, node) in &self.left {
            let path = self.path_of(key);
            let hint = match nearest(key, &self.asked) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            self.notes.mistake(&node.origin, &path, "there is no such setting", Some(hint));
        }
    }
}

/// Reads one value, notes it for `storehand doctor`, or notes why it cannot be read.
fn read_value<T: Readable>(path: &str, node: &Node, notes: &mut Notes<'_>) -> Option<T> {
    match T::read(node, &notes.around) {
        Ok(value) => {
            let shown = T::shown(node);
            notes.settings.push(Setting { key: path.to_owned(), value: shown, origin: node.origin.clone() });
            Some(value)
        }
        Err(message) => {
            notes.mistake(&node.origin, path, message, Some(format!("this must be {}", T::WANTED)));
            None
        }
    }
}

/// The name that was probably meant.
pub(super) fn nearest<'s>(wrong: &str, names: &[&'s str]) -> Option<&'s str> {
    let (distance, name) = names.iter().map(|name| (strsim::damerau_levenshtein(wrong, name), *name)).min()?;
    (distance <= wrong.len().div_ceil(3)).then_some(name)
}
