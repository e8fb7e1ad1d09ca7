//! The pages that are made and not written: the reference, the list of shipped rules. `UPDATE_PAGES=1` writes them anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_yaml::Value as Yaml;
use storehand::app;
use storehand::domain::{FAILURES, PROBLEMS};

use crate::tidy::{code, sources};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a file is as it is made now; with `UPDATE_PAGES` it is made so first.
pub(crate) fn is_current(page: &str, made: &str) {
    let file = root().join(page);
    if std::env::var_os("UPDATE_PAGES").is_some() {
        fs::write(&file, made).expect("a page");
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    let line = there.lines().zip(made.lines()).position(|(a, b)| a != b);
    assert!(
        there == made,
        "{page} is not current (line {line:?}); run this test with UPDATE_PAGES=1 and look at what changed"
    );
}

#[test]
fn the_reference_is_current() {
    let registry = app::unconnected().expect("a registry");
    is_current("REFERENCE.md", &app::reference(registry.catalog()));
}

#[test]
fn the_list_of_shipped_rules_is_current() {
    is_current("rules/README.md", &library());
}

const HEAD: &str = "\
# The rule library · 规则库

Rules that a shop can switch on: copy a file (with the script beside it, where it has one) into the shop's rules folder,
set `status: live`, and tune its inputs in the file or in the configuration
(`[shop.NAME.inputs.RULE]`). Each carries its own tests: `storehand rules test rules/`.

将规则文件（若有脚本则连同脚本）复制到店铺的规则目录，将 `status` 设为 `live`，即可启用；可调参数见各规则的 `inputs`。

This page is made from the files; a test keeps it current.
";

fn library() -> String {
    let mut page = HEAD.to_owned();
    let mut themes: Vec<PathBuf> = folder(&root().join("rules")).into_iter().filter(|path| path.is_dir()).collect();
    themes.sort();
    for theme in themes {
        let mut files: Vec<PathBuf> =
            folder(&theme).into_iter().filter(|path| path.extension().is_some_and(|it| it == "yaml")).collect();
        files.sort();
        let _ = write!(page, "\n## {}\n", theme.file_name().expect("a name").to_string_lossy());
        files.iter().for_each(|file| rule(&mut page, file));
    }
    page += PLUGINS;
    let mut carried: Vec<PathBuf> = folder(&root().join("plugins"))
        .iter()
        .map(|plugin| plugin.join("rules"))
        .filter(|rules| rules.is_dir())
        .flat_map(|rules| folder(&rules))
        .collect();
    carried.sort();
    carried.iter().for_each(|file| rule(&mut page, file));
    page
}

const PLUGINS: &str = "
## with plugins

These come with the example plugins, and use them: `storehand plugin install plugins/loyalty --rules FOLDER` copies the
plugin's into a shop's rules folder. `storehand plugin test plugins/loyalty` runs their tests.
";

fn folder(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

fn rule(page: &mut String, file: &Path) {
    let source = fs::read_to_string(file).expect("a rule");
    let yaml: Yaml = serde_yaml::from_str(&source).expect("YAML");
    let path = match file.strip_prefix(root().join("rules")) {
        Ok(path) => path.to_owned(),
        Err(_) => Path::new("..").join(file.strip_prefix(root()).expect("ours")),
    };
    let path = path.display();
    let text = |value: &Yaml, language: &str| match value {
        Yaml::String(text) => text.clone(),
        other => other.get(language).and_then(Yaml::as_str).unwrap_or_default().to_owned(),
    };
    let none = Yaml::Null;
    let name = yaml.get("name").unwrap_or(&none);
    let list = |key: &str| yaml.get(key).and_then(Yaml::as_sequence).cloned().unwrap_or_default();
    let triggers: Vec<String> = list("triggers")
        .iter()
        .filter_map(|trigger| {
            let word = |key: &str| trigger.get(key).and_then(Yaml::as_str).map(str::to_owned);
            word("event").or_else(|| Some(format!("schedule {}", word("schedule")?)))
        })
        .collect();
    let allow: Vec<String> = list("allow").iter().filter_map(|it| Some(format!("`{}`", it.as_str()?))).collect();
    let (en, zh) = (text(name, "en"), text(name, "zh"));
    assert!(!en.is_empty() && !zh.is_empty(), "{path}: a shipped rule has its name in English and Chinese");
    let about = head(&source);
    assert!(!about.is_empty(), "{path}: a shipped rule says at its head what it does");
    let is_live = yaml.get("status").and_then(Yaml::as_str) == Some("live");
    let _ = write!(page, "\n**[{en} · {zh}]({path})**  \nlistens to `{}`", triggers.join("`, `"));
    let allow = if allow.is_empty() { "no writes".to_owned() } else { allow.join(", ") };
    let _ = writeln!(page, "; may make {allow}{}\n\n{about}\n", if is_live { "; live as it comes" } else { "" });
    for (input, about) in yaml.get("inputs").and_then(Yaml::as_mapping).into_iter().flatten() {
        let label = about.get("label").unwrap_or(&none);
        let default = about.get("default").map(|it| serde_yaml::to_string(it).expect("YAML").trim().replace('\n', " "));
        let (en, zh) = (text(label, "en"), text(label, "zh"));
        let zh = if zh.is_empty() || zh == en { String::new() } else { format!(" · {zh}") };
        let input = input.as_str().unwrap_or_default();
        let _ = writeln!(page, "- `{input}`: {en}{zh} (`{}`)", default.unwrap_or_default());
    }
}

/// The comment that a rule's file begins with, without the one sentence that all drafts share.
fn head(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix('#')).map(str::trim);
    let text = lines.collect::<Vec<_>>().join(" ");
    text.replace(" Set `status: live` to switch it on.", "").trim().to_owned()
}

/// Codes as they are given in the code: the texts behind these.
const GIVE_FAILURES: &[&str] = &["Failure::new(", "refused(", "failed(", "code: ", ".end("];
const GIVE_PROBLEMS: &[&str] = &["Problem::new(", "malformed(", "unsigned(", "later(", "of(StatusCode::"];

#[test]
fn every_code_stands_in_the_reference() {
    let all = sources("src");
    let texts: Vec<String> = all
        .iter()
        .filter(|(path, _)| !path.ends_with("codes.rs") && !path.contains("/tests"))
        .map(|(_, it)| code(it))
        .collect();
    let given = |begins: &[&str]| -> BTreeSet<String> {
        let words = texts.iter().flat_map(|text| begins.iter().flat_map(|begin| first_words(text, begin)));
        words.filter(|word| word.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')).collect()
    };
    let mut wrong = Vec::new();
    for (begins, table) in [(GIVE_FAILURES, FAILURES), (GIVE_PROBLEMS, PROBLEMS)] {
        let known: BTreeSet<String> = table.iter().map(|it| it.name.to_owned()).collect();
        wrong.extend(given(begins).difference(&known).map(|code| format!("`{code}` is given and stands in no table")));
        let named = |code: &str| texts.iter().any(|text| text.contains(&format!("\"{code}\"")));
        wrong.extend(known.iter().filter(|code| !named(code)).map(|code| format!("`{code}` is given by nobody")));
    }
    assert!(wrong.is_empty(), "src/domain/codes.rs: {}", wrong.join("; "));
}

/// The first text in the brackets behind `begin`, wherever it stands.
fn first_words<'t>(text: &'t str, begin: &'t str) -> impl Iterator<Item = String> + 't {
    text.match_indices(begin).filter_map(move |(at, _)| {
        let begins = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        let rest = &text[at + begin.len()..];
        let (before, rest) = rest.split_once('"')?;
        let is_argument = begins && before.len() < 60 && !before.contains([')', ';', '{']);
        is_argument.then(|| rest.split('"').next().unwrap_or_default().to_owned())
    })
}
