//! Heads on disk: `SHOP/NAME/000001.json` a version, and `current`, which names the one in force.
//!
//! A version is written whole or not at all and never changed; putting one in force is one rename, which a running
//! server sees with the next message.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::super::error::ModelError;
use super::examples::check_name;
use super::head::{FORMAT, Head};

/// Bytes of a version's file: the largest that can be trained has about 60 MB.
const LARGEST: u64 = 512 << 20;

/// The file that names the version in force.
const CURRENT: &str = "current";

/// All shops' heads.
#[derive(Clone, Debug)]
pub struct Heads(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    loaded: Mutex<HashMap<(String, String), Arc<Head>>>,
}

/// A version that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// What it is called.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Whether it is the one in force.
    pub current: bool,
    /// It.
    pub head: Arc<Head>,
}

impl Heads {
    /// The heads below `folder`, which need not be there.
    pub fn new(folder: PathBuf) -> Self {
        Self(Arc::new(Inner { folder, loaded: Mutex::default() }))
    }

    /// The head in force; nothing where none of this name was trained.
    ///
    /// # Errors
    /// Where a file cannot be read or is not understood.
    pub fn current(&self, shop: &str, name: &str) -> Result<Option<Arc<Head>>, ModelError> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        let Some(version) = self.version_in_force(shop, name)? else { return Ok(None) };
        let key = (shop.to_owned(), name.to_owned());
        let loaded = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(head) = loaded.filter(|head| head.version == version) {
            return Ok(Some(head));
        }
        let head = Arc::new(self.load(shop, name, version)?);
        self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner).insert(key, head.clone());
        Ok(Some(head))
    }

    /// Writes a head as the next version and puts it in force.
    ///
    /// # Errors
    /// Where the disk says no.
    pub fn add(&self, shop: &str, mut head: Head) -> Result<Arc<Head>, ModelError> {
        check_name(&head.name).map_err(|why| ModelError::Request(format!("`{}` {why}", head.name)))?;
        let folder = self.of(shop, &head.name);
        fs::create_dir_all(&folder).map_err(ModelError::io("making", &folder))?;
        let lock = folder.join(".lock");
        let lock_file = fs::File::options().create(true).truncate(false).write(true).open(&lock);
        let lock_file = lock_file.map_err(ModelError::io("opening", &lock))?;
        lock_file.lock().map_err(ModelError::io("locking", &lock))?;
        head.version = self.versions(shop, &head.name)?.last().map_or(1, |last| last + 1);
        let path = self.file(shop, &head.name, head.version);
        let text = serde_json::to_string(&head).map_err(|error| ModelError::Failed(error.to_string()))?;
        write_whole(&path, &text)?;
        write_whole(&folder.join(CURRENT), &head.version.to_string())?;
        Ok(Arc::new(head))
    }

    /// Puts an earlier version in force: `to`, else the one before the one that is. Gives the one now in force.
    ///
    /// # Errors
    /// [`ModelError::Request`] where there is no such version.
    pub fn roll_back(&self, shop: &str, name: &str, to: Option<u32>) -> Result<Arc<Head>, ModelError> {
        let none =
            |why: String| ModelError::Request(format!("{why}; `storehand model heads list` shows what there is"));
        let known = check_name(name).is_ok().then(|| self.version_in_force(shop, name)).transpose()?.flatten();
        let current = known.ok_or_else(|| none(format!("the shop {shop} has no head `{name}`")))?;
        let versions = self.versions(shop, name)?;
        let to = match to {
            Some(to) => versions.contains(&to).then_some(to).ok_or_else(|| format!("`{name}` has no version {to}")),
            None => versions
                .iter()
                .rev()
                .find(|version| **version < current)
                .copied()
                .ok_or_else(|| format!("`{name}` has no version before {current}")),
        };
        let head = self.load(shop, name, to.map_err(none)?)?;
        write_whole(&self.of(shop, name).join(CURRENT), &head.version.to_string())?;
        Ok(Arc::new(head))
    }

    /// All versions of all heads of a shop, by name, the newest first.
    ///
    /// # Errors
    /// Where a file cannot be read or is not understood.
    pub fn list(&self, shop: &str) -> Result<Vec<Kept>, ModelError> {
        let folder = self.0.folder.join(shop);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(&folder).map_err(ModelError::io("reading", &folder))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| check_name(name).is_ok()).collect();
        names.sort();
        let mut kept = Vec::new();
        for name in names {
            let current = self.version_in_force(shop, &name)?;
            for version in self.versions(shop, &name)?.into_iter().rev() {
                let head = match self.load(shop, &name, version) {
                    Ok(head) => Arc::new(head),
                    // Of another version of this program, most likely. Nobody is answered by it.
                    Err(error) if current != Some(version) => {
                        tracing::warn!(%error, shop, head = name, version, "a head is left out");
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                kept.push(Kept { name: name.clone(), version, current: current == Some(version), head });
            }
        }
        Ok(kept)
    }

    fn of(&self, shop: &str, name: &str) -> PathBuf {
        self.0.folder.join(shop).join(name)
    }

    fn file(&self, shop: &str, name: &str, version: u32) -> PathBuf {
        self.of(shop, name).join(format!("{version:06}.json"))
    }

    fn version_in_force(&self, shop: &str, name: &str) -> Result<Option<u32>, ModelError> {
        let path = self.of(shop, name).join(CURRENT);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ModelError::io("reading", &path)(error)),
        };
        let version = text.trim().parse();
        version.map(Some).map_err(|_| ModelError::not_understood(&path, "it names no version; train the head again"))
    }

    /// The versions there are, the oldest first.
    fn versions(&self, shop: &str, name: &str) -> Result<Vec<u32>, ModelError> {
        let folder = self.of(shop, name);
        let entries = fs::read_dir(&folder).map_err(ModelError::io("reading", &folder))?;
        let version = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok();
        let mut versions: Vec<u32> = entries.filter_map(|entry| version(entry.ok()?)).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    fn load(&self, shop: &str, name: &str, version: u32) -> Result<Head, ModelError> {
        let path = self.file(shop, name, version);
        let size = fs::metadata(&path).map_err(ModelError::io("reading", &path))?.len();
        if size > LARGEST {
            return Err(ModelError::not_understood(&path, "it is too large to be a head"));
        }
        let text = fs::read_to_string(&path).map_err(ModelError::io("reading", &path))?;
        #[derive(Deserialize)]
        struct Made {
            format: u32,
        }
        if serde_json::from_str::<Made>(&text).is_ok_and(|made| made.format != FORMAT) {
            return Err(ModelError::not_understood(&path, "another version of storehand made it; train it again"));
        }
        let head: Head =
            serde_json::from_str(&text).map_err(|error| ModelError::not_understood(&path, error.to_string()))?;
        head.check().map_err(|why| ModelError::not_understood(&path, why))?;
        if head.version != version || head.name != name {
            return Err(ModelError::not_understood(&path, "it is another head than its place says"));
        }
        Ok(head)
    }
}

/// Writes a file so that it is whole or not there.
fn write_whole(path: &Path, text: &str) -> Result<(), ModelError> {
    let partial = path.with_extension("partial");
    let mut file = fs::File::create(&partial).map_err(ModelError::io("writing", &partial))?;
    file.write_all(text.as_bytes()).map_err(ModelError::io("writing", &partial))?;
    file.sync_all().map_err(ModelError::io("writing", &partial))?;
    fs::rename(&partial, path).map_err(ModelError::io("renaming to", path))
}

#[cfg(test)]
mod tests {
    use super::super::head::{HalfNumbers, Middles, Numbers};
    use super::super::outcome::Report;
    use super::*;

    fn head(name: &str) -> Head {
        Head {
            format: FORMAT,
            name: name.into(),
            version: 0,
            made: jiff::Timestamp::UNIX_EPOCH,
            encoder: ("encoder".into(), "digest".into()),
            examples: "examples".into(),
            accept_errors: 0.05,
            threshold: 0.5,
            intents: vec!["a".into(), "b".into()],
            report: Report::default(),
            knows_others: true,
            sharpness: 1.0,
            calibration: [4.0, -1.0],
            middles: Middles::of(&[("", &[0.1, 0.2])]),
            points: HalfNumbers(vec![1.0, 0.0, 0.0, 1.0]),
            weights: Numbers(vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        }
    }

    #[test]
    fn versions_are_kept_and_one_is_in_force() {
        let folder = tempfile::tempdir().expect("folder");
        let heads = Heads::new(folder.path().join("heads"));
        assert_eq!(heads.current("acme", "support").expect("read"), None);
        assert_eq!(heads.list("acme").expect("read"), Vec::new());
        let first = heads.add("acme", head("support")).expect("added");
        let second = heads.add("acme", head("support")).expect("added");
        assert_eq!((first.version, second.version), (1, 2));
        let version = |heads: &Heads| heads.current("acme", "support").expect("read").map(|head| head.version);
        assert_eq!(version(&heads), Some(2));
        // Another process, and this one after it.
        let other = Heads::new(folder.path().join("heads"));
        assert_eq!(other.roll_back("acme", "support", None).expect("back").version, 1);
        assert_eq!((version(&heads), version(&other)), (Some(1), Some(1)));
        let error = other.roll_back("acme", "support", None).expect_err("nothing before");
        assert!(error.to_string().contains("no version before 1"), "{error}");
        assert!(other.roll_back("acme", "support", Some(7)).is_err());
        assert!(other.roll_back("acme", "returns", None).is_err());
        assert_eq!(heads.add("acme", head("support")).expect("added").version, 3);
        let listed: Vec<(u32, bool)> =
            heads.list("acme").expect("listed").iter().map(|kept| (kept.version, kept.current)).collect();
        assert_eq!(listed, [(3, true), (2, false), (1, false)]);
        assert_eq!(heads.list("other").expect("listed"), Vec::new());
        assert!(heads.current("acme", "../acme/support").expect("no path").is_none());
    }

    #[test]
    fn a_head_reads_back_as_it_was_and_a_broken_one_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let heads = Heads::new(folder.path().to_owned());
        let added = heads.add("acme", head("support")).expect("added");
        assert_eq!(heads.load("acme", "support", 1).expect("loaded"), *added);
        let path = heads.file("acme", "support", 1);
        let whole = fs::read_to_string(&path).expect("read");
        for (from, to) in [
            ("\"of_chinese\":null", "\"of_chinese\":\"AAAAAA==\""),
            ("\"format\":2", "\"format\":9"),
            ("\"b\"]", "\"b\",\"c\"]"),
        ] {
            fs::write(&path, whole.replace(from, to)).expect("written");
            let error = heads.load("acme", "support", 1).expect_err(to);
            assert!(error.to_string().contains("train it again"), "{error}");
        }
        fs::write(&path, &whole[..whole.len() / 2]).expect("written");
        assert!(heads.load("acme", "support", 1).is_err());

        // One of before is told what to do, and once that is done, it is in nobody's way.
        fs::write(&path, r#"{"format":1,"name":"support","version":1,"mean":"","spread":1.0}"#).expect("written");
        for error in [heads.load("acme", "support", 1).err(), heads.list("acme").err()] {
            let error = error.expect("an error").to_string();
            assert!(error.contains("another version of storehand") && error.contains("train it again"), "{error}");
        }
        heads.add("acme", head("support")).expect("added");
        let listed: Vec<u32> = heads.list("acme").expect("listed").iter().map(|kept| kept.version).collect();
        assert_eq!(listed, [2]);
    }

    #[test]
    fn a_head_judges_by_likeness() {
        let head = head("support");
        let near_b = head.judge("b", &[0.1, 1.2]);
        assert_eq!((near_b.intent.as_deref(), near_b.ranking[0].intent.as_str()), (Some("b"), "b"));
        let far = head.judge("far", &[-9.0, -9.0]);
        assert!(far.intent.is_none() && far.confidence < 0.5, "{far:?}");
    }
}
