//! The house is as ARCHITECTURE.md says: who may use whom, which room alone knows a library, how files begin and
//! how long they may be, that every path named exists, and that every name a rule may use can be written.

use std::fs;
use std::path::Path;

use storehand::domain::{Catalog, FieldKind};

/// The rooms, from the top: a room may use those of a larger number, never one beside or above it.
const ROOMS: &[(&str, u8)] = &[
    ("main", 0),
    ("cli", 1),
    ("demo", 2),
    ("app", 3),
    ("http", 4),
    ("engine", 5),
    ("capabilities", 6),
    ("config", 7),
    ("models", 7),
    ("plugins", 7),
    ("rules", 7),
    ("shops", 7),
    ("store", 7),
    ("allocator", 8),
    ("domain", 8),
    ("outgoing", 8),
];

/// Only those that build parts read the configuration; everybody else is handed settings of its own.
const READ_THE_CONFIGURATION: &[&str] = &["cli", "demo", "app"];

/// Libraries, and the rooms that alone may know them.
const OWNED: &[(&str, &[&str])] = &[
    ("async_imap", &["shops"]),
    ("axum", &["http", "demo"]),
    ("clap", &["cli"]),
    ("croner", &["rules"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("lettre", &["shops"]),
    ("llguidance", &["models"]),
    ("mail_parser", &["shops", "demo"]),
    ("ort", &["models"]),
    ("rhai", &["rules"]),
    ("saphyr_parser", &["rules"]),
    ("sea_orm", &["store"]),
    ("sea_orm_migration", &[]),
    ("serde_yaml", &["rules", "models"]),
    ("storehand_kernel", &["models"]),
    ("storehand_migrations", &["store"]),
    ("tokenizers", &["models"]),
    ("toml", &["config", "cli", "plugins"]),
    ("wasmtime", &["plugins"]),
];

/// Names that say nothing about what is behind them.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "misc", "util", "utils"];

const MOST_LINES: usize = 600;
const EXCUSE: &str = "Longer than 600 lines because";
const INVARIANT: &str = "*Architecture Invariant*";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `folder`, with its path from the root.
pub(crate) fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(&path).expect("source")));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no Rust file below {folder}");
    found
}

/// The room that a file of `src/` belongs to.
fn room_of(path: &str) -> &str {
    let below = path.strip_prefix("src/").unwrap_or(path);
    below.split(['/', '.']).next().unwrap_or(below)
}

fn level(room: &str) -> Option<u8> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, level)| *level)
}

/// The code of a file: without comments, and without its tests, which may look at whatever they need.
pub(crate) fn code(text: &str) -> String {
    let text = text.split(concat!("#[cfg", "(test)]\nmod tests {")).next().unwrap_or(text);
    let line = |line: &str| if line.trim_start().starts_with("//") { String::new() } else { line.to_owned() };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The places where `name::` stands as a path's beginning, or as the rest of `before`.
fn paths<'t>(code: &'t str, name: &'t str) -> impl Iterator<Item = &'t str> {
    code.match_indices(name).filter_map(move |(at, _)| {
        let before = code[..at].chars().next_back();
        let begins = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '"');
        code[at + name.len()..].strip_prefix("::").filter(|_| begins)
    })
}

/// The names at the beginning of what follows `crate::`: one, or those within braces.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let mut names = Vec::new();
    let (mut depth, mut begin) = (0_usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(&group[begin..at]));
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// What is wrong with the rooms that a file uses.
fn wrong_uses(path: &str, text: &str) -> Vec<String> {
    let room = room_of(path);
    if room == "lib" || path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let Some(mine) = level(room) else { return vec![format!("{path}: `{room}` is no room of the house")] };
    let code = code(text);
    let crate_name = if room == "main" { "storehand" } else { "crate" };
    let mut wrong = Vec::new();
    for used in paths(&code, crate_name).flat_map(first_names) {
        let Some(theirs) = level(&used) else { continue };
        let configuration = used == "config" && !READ_THE_CONFIGURATION.contains(&room);
        if used != room && (theirs <= mine || configuration) {
            wrong.push(format!("{path}: `{room}` may not use `{used}`"));
        }
    }
    // `use super::…` at a file's top must not leave the room.
    let deep = path.trim_end_matches("/mod.rs").matches('/').count();
    for line in code.lines().filter(|line| line.starts_with("use super") || line.starts_with("pub use super")) {
        if line.matches("super::").count() >= deep {
            wrong.push(format!("{path}: `{line}` leaves the room; write `crate::`"));
        }
    }
    for (library, rooms) in OWNED {
        if !rooms.contains(&room) && paths(&code, library).next().is_some() {
            wrong.push(format!("{path}: `{room}` may not know {library}"));
        }
    }
    wrong
}

/// What is wrong with a file as a file.
fn wrong_shape(path: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let head: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
    if head.is_empty() {
        wrong.push(format!("{path}: does not begin with `//!`, saying what it is"));
    }
    let lines = text.lines().count();
    // The reason may be broken over lines.
    let said: String = head.iter().map(|line| line.trim_start_matches("//!").trim()).collect::<Vec<_>>().join(" ");
    if lines > MOST_LINES && !said.contains(EXCUSE) {
        wrong.push(format!("{path}: {lines} lines; cut it, or say in its head: {EXCUSE} …"));
    }
    let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if EMPTY_NAMES.contains(&stem) || path.split('/').any(|part| EMPTY_NAMES.contains(&part)) {
        wrong.push(format!("{path}: its name says nothing"));
    }
    let test = concat!("cfg", "(test");
    for (at, line) in text.lines().enumerate() {
        let tests = line.trim() == format!("#[{test})]")
            && text.lines().nth(at + 1).is_some_and(|next| next.trim_start().starts_with("mod "));
        let other = line.contains(&format!("#[{test}")) || line.contains(concat!("cfg!", "(test"));
        if other && !tests {
            wrong.push(format!("{path}:{}: production code does not ask whether it is tested", at + 1));
        }
    }
    if is_door(path) && !said.contains(INVARIANT) {
        wrong.push(format!("{path}: a room's head has a sentence `{INVARIANT}: …`"));
    }
    wrong
}

/// Whether this is the file that a room is entered by.
fn is_door(path: &str) -> bool {
    let room = room_of(path);
    level(room).is_some_and(|level| level > 0)
        && (path == format!("src/{room}.rs") || path == format!("src/{room}/mod.rs"))
}

/// Paths in backticks that are not there. A word is taken for a path when it ends like a file of ours, or begins
/// with a folder that there is.
fn lost_paths(text: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let path = |word: &&str| {
        let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        let ends =
            [".rs", ".md", ".toml", ".yaml", ".sh"].iter().any(|end| word.ends_with(end) && word.len() > end.len());
        let begins = word.split_once('/').is_some_and(|(folder, _)| !folder.is_empty() && exists(folder));
        plain && !word.starts_with('/') && (ends || begins)
    };
    let words = text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2));
    words.filter(path).filter(|word| !exists(word.trim_end_matches('/'))).map(str::to_owned).collect()
}

/// The rooms that stand in the first column of a table whose head has a column of invariants, with something in
/// every column.
fn rooms_with_an_invariant(text: &str) -> Vec<&str> {
    let tables = text.split("\n\n").filter(|part| part.lines().next().is_some_and(|head| head.contains(INVARIANT)));
    let row = |line| {
        let cells: Vec<&str> = str::trim_matches(line, '|').split('|').map(str::trim).collect();
        let rooms = cells[0].split('`').skip(1).step_by(2).map(room_of).collect::<Vec<_>>();
        if cells.iter().all(|cell| !cell.is_empty()) { rooms } else { Vec::new() }
    };
    tables.flat_map(|table| table.lines().skip(2)).flat_map(row).collect()
}

/// Names that a rule could not write after a dot, or alone.
fn unwritable<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let engine = rhai::Engine::new();
    let writable = |name: &&str| {
        engine.compile_expression(name).is_ok() && engine.compile_expression(format!("it.{name}")).is_ok()
    };
    names.into_iter().filter(|name| !writable(name)).collect()
}

fn names_below(fields: &'static [storehand::domain::Field], names: &mut Vec<&'static str>) {
    for field in fields {
        names.push(field.name);
        let mut kind = &field.kind;
        while let FieldKind::List(items) = kind {
            kind = items;
        }
        if let FieldKind::Record(fields) = kind {
            names_below(fields, names);
        }
    }
}

fn report(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn rooms_use_only_rooms_below_them() {
    report(sources("src").iter().flat_map(|(path, text)| wrong_uses(path, text)).collect());
}

#[test]
fn files_say_what_they_are_and_stay_short() {
    let all = ["src", "migrations/src", "tests"].into_iter().flat_map(sources);
    report(all.flat_map(|(path, text)| wrong_shape(&path, &text)).collect());
}

#[test]
fn the_picture_names_what_is_there() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let exists = |path: &str| root().join(path).exists() || root().join("src").join(path).exists();
    let mut wrong: Vec<String> =
        lost_paths(&text, exists).iter().map(|path| format!("ARCHITECTURE.md: `{path}` is not there")).collect();
    let told = rooms_with_an_invariant(&text);
    for entry in fs::read_dir(root().join("src")).expect("src") {
        let path = entry.expect("entry").path();
        let room = path.file_name().and_then(|name| name.to_str()).expect("name");
        if path.is_dir() && !told.contains(&room) {
            wrong.push(format!("ARCHITECTURE.md: no line with `{room}` and {INVARIANT}"));
        }
    }
    report(wrong);
}

#[test]
fn every_name_that_a_rule_may_use_can_be_written() {
    let mut names = vec!["event", "inputs", "now", "steps"];
    names_below(Catalog::default().records(), &mut names);
    assert!(names.len() > 60, "{names:?}");
    assert_eq!(unwritable(names), Vec::<&str>::new());
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let uses = |path: &str, text: &str| wrong_uses(path, text).len();
    assert_eq!(uses("src/http/api.rs", "use crate::domain::ShopId;\nuse crate::engine::Engine;"), 0);
    assert_eq!(uses("src/http/api.rs", "use crate::app::App;"), 1);
    assert_eq!(uses("src/rules/x.rs", "fn f() { crate::store::open() }"), 1, "beside");
    assert_eq!(uses("src/rules/x.rs", "use crate::{domain::{A, B}, engine::C, store::D};"), 2);
    assert_eq!(uses("src/rules/x.rs", "// use crate::store::X;\n/// [`crate::store::X`]\nuse axum::Router;"), 1);
    assert_eq!(uses("src/rules/x.rs", "let a = \"axum::Router\"; use my_axum::x; use crate::rules::axum::y;"), 0);
    assert_eq!(
        uses("src/rules/x.rs", concat!("fn f() {}\n#[cfg", "(test)]\nmod tests {\n use crate::engine::X;\n}")),
        0
    );
    assert_eq!(uses("src/engine/x.rs", "use crate::config::Config;"), 1);
    assert_eq!(uses("src/app.rs", "use crate::config::Config;"), 0);
    assert_eq!(uses("src/config.rs", "use super::store::X;"), 1);
    assert_eq!(uses("src/config/layers.rs", "use super::Mistake;"), 0);
    assert_eq!(uses("src/config/layers.rs", "use super::super::store::X;"), 1);
    assert_eq!(uses("src/shops/shopify/mod.rs", "use super::read;"), 0);
    assert_eq!(uses("src/main.rs", "fn main() { storehand::cli::main() }"), 0);
    assert_eq!(uses("src/attic/mod.rs", ""), 1, "no such room");

    let shape = |path: &str, text: &str| wrong_shape(path, text).len();
    assert_eq!(shape("src/http/api.rs", "//! It.\nfn f() {}\n"), 0);
    assert_eq!(shape("src/http/api.rs", "fn f() {}\n"), 1);
    assert_eq!(shape("src/http/utils.rs", "//! It.\n"), 1);
    assert_eq!(shape("src/http/api.rs", &format!("//! It.\n{}", "x\n".repeat(600))), 1);
    let excused = format!("//! It. Longer than 600\n//! lines because it is a table.\n{}", "x\n".repeat(600));
    assert_eq!(shape("src/http/api.rs", &excused), 0);
    assert_eq!(shape("src/http/mod.rs", "//! It.\n"), 1, "no invariant");
    assert_eq!(shape("src/http/mod.rs", "//! It.\n//! *Architecture Invariant*: alone.\n"), 0);
    let asks = concat!("//! It.\n#[cfg", "(test)]\nfn only_then() {}\n");
    assert_eq!(shape("src/http/api.rs", asks), 1);
    assert_eq!(shape("src/http/api.rs", concat!("//! It.\nif cfg!", "(test) {}\n")), 1);

    let exists = |path: &str| ["src", "src/a.rs", "rules"].contains(&path);
    let text =
        "`src/a.rs` `src/b.rs` `gone.md` `order/1042` `rules/` `/v1/events` `a b.rs`\n```\n`src/c.rs`\n```\n`src/d`";
    assert_eq!(lost_paths(text, exists), ["src/b.rs", "gone.md", "src/d"]);
    assert_eq!(
        unwritable(["order", "returned", "return", "new", "a b", "default"]),
        ["return", "new", "a b", "default"]
    );
}
