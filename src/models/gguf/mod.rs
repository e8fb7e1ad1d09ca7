//! GGUF files: metadata and tensors, read where they lie.
//!
//! The layout is that of `docs/gguf.md` in the ggml repository, versions 2 and 3, little-endian. A file comes from
//! outside: every length is checked against what is left of the file before it is believed.

mod quant;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::error::ModelError;
pub(crate) use quant::{BLOCK, Quant, half_at};

/// More metadata than this is a broken or hostile file. Real ones have some dozens.
const MOST_ENTRIES: u64 = 65_536;

/// More tensors than this is a broken or hostile file. Real ones have some hundreds.
const MOST_TENSORS: u64 = 65_536;

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Meta {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    Integers(Vec<i128>),
    Floats(Vec<f64>),
    Texts(Vec<String>),
}

/// An open GGUF file.
pub(crate) struct Gguf {
    path: PathBuf,
    map: Mmap,
    meta: BTreeMap<String, Meta>,
    tensors: BTreeMap<String, Entry>,
    /// Where the tensors' bytes begin.
    data: usize,
}

struct Entry {
    /// Numbers in a row first, then rows.
    dimensions: Vec<usize>,
    quant: Quant,
    offset: usize,
}

/// A tensor of one or two dimensions, as it lies in the file.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) rows: usize,
    /// Numbers in a row.
    pub(crate) columns: usize,
    pub(crate) quant: Quant,
    bytes: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// What `bytes` hold, which must be as many as that takes.
    pub(crate) fn new(rows: usize, columns: usize, quant: Quant, bytes: &'a [u8]) -> Self {
        Self { rows, columns, quant, bytes }
    }

    /// A row as it lies in the file.
    pub(crate) fn row_bytes(&self, row: usize) -> &'a [u8] {
        let length = self.bytes.len() / self.rows.max(1);
        &self.bytes[row * length..(row + 1) * length]
    }

    /// Appends a row as plain numbers.
    pub(crate) fn add_row(&self, row: usize, to: &mut Vec<f32>) {
        self.quant.dequantise(self.row_bytes(row), to);
    }

    /// All of it as plain numbers.
    pub(crate) fn all(&self) -> Vec<f32> {
        let mut all = Vec::with_capacity(self.rows * self.columns);
        self.quant.dequantise(self.bytes, &mut all);
        all
    }
}

impl Gguf {
    /// Opens a file and reads its header.
    #[expect(unsafe_code, reason = "mapping a file is unsafe because another process may cut it short meanwhile")]
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let file = File::open(path).map_err(ModelError::io("reading", path))?;
        // SAFETY: nothing in the map is believed without a check, and no reference to it outlives it. Who shortens
        // the file while it is converted gets a bus error, as with every program that maps files.
        let map = unsafe { Mmap::map(&file) }.map_err(ModelError::io("reading", path))?;
        let (meta, tensors, data) =
            Reader { bytes: &map, at: 0 }.header().map_err(|why| ModelError::not_understood(path, why))?;
        let gguf = Self { path: path.to_owned(), map, meta, tensors, data };
        for name in gguf.tensors.keys() {
            gguf.find(name).transpose().map_err(|why| gguf.wrong(format!("its tensor `{name}` {why}")))?;
        }
        Ok(gguf)
    }

    /// This file is not as it should be.
    pub(crate) fn wrong(&self, why: impl Into<String>) -> ModelError {
        ModelError::not_understood(&self.path, why)
    }

    /// A value of the metadata, where it is there.
    pub(crate) fn meta(&self, key: &str) -> Option<&Meta> {
        self.meta.get(key)
    }

    /// A text of the metadata.
    pub(crate) fn text(&self, key: &str) -> Result<&str, ModelError> {
        match self.meta.get(key) {
            Some(Meta::Text(text)) => Ok(text),
            _ => Err(self.wrong(format!("its metadata has no text `{key}`"))),
        }
    }

    /// A whole number of the metadata that is not negative.
    pub(crate) fn count(&self, key: &str) -> Result<usize, ModelError> {
        match self.meta.get(key) {
            Some(Meta::Integer(number)) => usize::try_from(*number).ok(),
            _ => None,
        }
        .ok_or_else(|| self.wrong(format!("its metadata has no number `{key}`")))
    }

    /// A number of the metadata.
    pub(crate) fn float(&self, key: &str) -> Result<f64, ModelError> {
        match self.meta.get(key) {
            Some(Meta::Float(number)) => Ok(*number),
            _ => Err(self.wrong(format!("its metadata has no number `{key}`"))),
        }
    }

    /// A list of texts of the metadata.
    pub(crate) fn texts(&self, key: &str) -> Result<&[String], ModelError> {
        match self.meta.get(key) {
            Some(Meta::Texts(texts)) => Ok(texts),
            _ => Err(self.wrong(format!("its metadata has no list of texts `{key}`"))),
        }
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor that must have this shape.
    pub(crate) fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Matrix<'_>, ModelError> {
        let matrix = self
            .find(name)
            .transpose()
            .map_err(|why| self.wrong(format!("its tensor `{name}` {why}")))?
            .ok_or_else(|| self.wrong(format!("it has no tensor `{name}`")))?;
        if (matrix.rows, matrix.columns) != (rows, columns) {
            let why = format!("its tensor `{name}` is {}×{}, not {rows}×{columns}", matrix.rows, matrix.columns);
            return Err(self.wrong(why));
        }
        Ok(matrix)
    }

    fn find(&self, name: &str) -> Option<Result<Matrix<'_>, &'static str>> {
        self.tensors.get(name).map(|entry| {
            let columns = entry.dimensions.first().copied().unwrap_or(1);
            let rows = entry.dimensions[1.min(entry.dimensions.len())..]
                .iter()
                .try_fold(1_usize, |product, &size| product.checked_mul(size));
            let length = rows.and_then(|rows| entry.quant.bytes(columns)?.checked_mul(rows));
            let start = self.data.checked_add(entry.offset);
            let (Some(rows), Some(length), Some(start)) = (rows, length, start) else {
                return Err("has a size that cannot be");
            };
            let bytes = start.checked_add(length).and_then(|end| self.map.get(start..end));
            let bytes = bytes.ok_or("goes on behind the end of the file: it was cut off")?;
            Ok(Matrix { rows, columns, quant: entry.quant, bytes })
        })
    }
}

/// Reads the header, front to back.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Header = (BTreeMap<String, Meta>, BTreeMap<String, Entry>, usize);

impl<'a> Reader<'a> {
    fn header(mut self) -> Result<Header, String> {
        if self.take(4).ok() != Some(b"GGUF") {
            return Err("it is not a GGUF file".into());
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("it is GGUF version {version}; 2 and 3 are understood"));
        }
        let (tensor_count, meta_count) = (self.u64()?, self.u64()?);
        if tensor_count > MOST_TENSORS || meta_count > MOST_ENTRIES {
            return Err("it says that it has more tensors or metadata than any model has".into());
        }
        let mut meta = BTreeMap::new();
        for _ in 0..meta_count {
            let key = self.text()?;
            let kind = self.u32()?;
            let value = self.value(kind)?;
            meta.insert(key, value);
        }
        let mut tensors = BTreeMap::new();
        for _ in 0..tensor_count {
            let name = self.text()?;
            let count = self.u32()?;
            if count == 0 || count > 4 {
                return Err(format!("its tensor `{name}` has {count} dimensions"));
            }
            let dimensions = (0..count).map(|_| self.size()).collect::<Result<_, _>>()?;
            let kind = self.u32()?;
            let quant = Quant::new(kind).ok_or_else(|| {
                format!("its tensor `{name}` is of ggml type {kind}; {} are understood", Quant::NAMES)
            })?;
            let offset = self.size()?;
            tensors.insert(name, Entry { dimensions, quant, offset });
        }
        let alignment = match meta.get("general.alignment") {
            Some(Meta::Integer(bytes @ 1..=65_536)) => usize::try_from(*bytes).unwrap_or(32),
            Some(_) => return Err("its `general.alignment` is not from 1 to 65536".into()),
            None => 32,
        };
        Ok((meta, tensors, self.at.next_multiple_of(alignment)))
    }

    fn value(&mut self, kind: u32) -> Result<Meta, String> {
        Ok(match kind {
            0 => Meta::Integer(self.array::<1>()?[0].into()),
            1 => Meta::Integer(i8::from_le_bytes(self.array()?).into()),
            2 => Meta::Integer(u16::from_le_bytes(self.array()?).into()),
            3 => Meta::Integer(i16::from_le_bytes(self.array()?).into()),
            4 => Meta::Integer(self.u32()?.into()),
            5 => Meta::Integer(i32::from_le_bytes(self.array()?).into()),
            6 => Meta::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Meta::Bool(self.array::<1>()?[0] != 0),
            8 => Meta::Text(self.text()?),
            9 => self.list()?,
            10 => Meta::Integer(self.u64()?.into()),
            11 => Meta::Integer(i64::from_le_bytes(self.array()?).into()),
            12 => Meta::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(format!("its metadata has a value of the unknown type {other}")),
        })
    }

    fn list(&mut self) -> Result<Meta, String> {
        let kind = self.u32()?;
        let count = self.size()?;
        if kind == 9 {
            return Err("its metadata has a list of lists".into());
        }
        // Each element takes a byte at least.
        if count > self.bytes.len() - self.at {
            return Err("a list in its metadata goes on behind the end of the file: it was cut off".into());
        }
        let (mut integers, mut floats, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            match self.value(kind)? {
                Meta::Integer(number) => integers.push(number),
                Meta::Bool(flag) => integers.push(flag.into()),
                Meta::Float(number) => floats.push(number),
                Meta::Text(text) => texts.push(text),
                Meta::Integers(_) | Meta::Floats(_) | Meta::Texts(_) => return Err("a list of lists".into()),
            }
        }
        Ok(match kind {
            6 | 12 => Meta::Floats(floats),
            8 => Meta::Texts(texts),
            _ => Meta::Integers(integers),
        })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or("it ends in the middle of its header: it was cut off")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "it ends in the middle of a number".to_owned())
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn size(&mut self) -> Result<usize, String> {
        usize::try_from(self.u64()?).map_err(|_| "it is too large for this machine".to_owned())
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.size()?;
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "a text in its metadata is not UTF-8".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{GgufFile, random_llama};
    use super::*;

    fn open(bytes: &[u8]) -> Result<Gguf, ModelError> {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, bytes).expect("written");
        Gguf::open(&path)
    }

    #[test]
    fn metadata_and_tensors_are_found() {
        let mut file = GgufFile::default();
        file.text("name", "Anna");
        file.count("count", 7);
        file.texts("list", &["a".into(), "的".into()]);
        file.tensor("one", None, 2, Quant::F32, &[1.5, -2.0]);
        file.tensor("two", Some(2), 32, Quant::Q8_0, &(0..64_u8).map(f32::from).collect::<Vec<_>>());
        let gguf = open(&file.bytes()).expect("a file");
        assert_eq!(gguf.text("name").expect("text"), "Anna");
        assert_eq!(gguf.count("count").expect("count"), 7);
        assert_eq!(gguf.texts("list").expect("texts"), ["a", "的"]);
        assert_eq!(gguf.matrix("one", 1, 2).expect("matrix").all(), [1.5, -2.0]);
        let mut row = Vec::new();
        gguf.matrix("two", 2, 32).expect("matrix").add_row(1, &mut row);
        assert!((row[31] - 63.0).abs() < 0.1, "{row:?}");
        assert!(gguf.matrix("two", 32, 2).is_err());
        assert!(gguf.text("count").is_err());
    }

    #[test]
    fn broken_files_are_refused_with_a_reason() {
        let whole = random_llama(1, Quant::Q8_0, true).bytes();
        assert!(open(&whole).is_ok());
        for cut in [0, 3, 10, 30, 200, whole.len() / 2, whole.len() - 1] {
            let error = open(&whole[..cut]).err().unwrap_or_else(|| panic!("cut at {cut}"));
            assert!(matches!(error, ModelError::NotUnderstood { .. } | ModelError::Io { .. }), "{error}");
        }
        assert!(open(b"PK\x03\x04 something else").err().expect("foreign").to_string().contains("not a GGUF file"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_byte_makes_it_panic(at in 0_usize..1500, byte: u8) {
            let mut bytes = random_llama(1, Quant::Q8_0, true).bytes();
            bytes[at] = byte;
            // Whatever it says, it says it: no panic, no memory without end.
            let _ = open(&bytes);
        }
    }
}
