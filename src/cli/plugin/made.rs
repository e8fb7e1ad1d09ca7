//! `storehand plugin new`: a project that builds and passes its own tests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::{Hinted, say};

/// `storehand plugin new`
#[derive(Debug, Args)]
pub(super) struct New {
    /// Its name: the maker's, then the plugin's, such as `acme-greetings`; a folder of that name is made
    name: String,
    /// The language that it is written in
    #[arg(long)]
    lang: Lang,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Lang {
    Js,
    Python,
    Rust,
}

const MANIFEST: (&str, &str) = ("plugin.toml", include_str!("../../../plugins/templates/plugin.toml"));
const RULE: (&str, &str) = ("rules/greets.yaml", include_str!("../../../plugins/templates/greets.yaml"));
const WIT: (&str, &str) = ("wit/storehand.wit", include_str!("../../../plugins/wit/storehand.wit"));

/// Its files, each with its text: `NAME` in them becomes the plugin's name, `CRATE` the same as Rust writes it.
const RUST: &[(&str, &str)] = &[
    MANIFEST,
    RULE,
    WIT,
    ("Cargo.toml", include_str!("../../../plugins/templates/rust/Cargo.toml")),
    ("src/lib.rs", include_str!("../../../plugins/templates/rust/lib.rs")),
    ("build.sh", include_str!("../../../plugins/templates/rust/build.sh")),
    ("sdk/Cargo.toml", include_str!("../../../plugins/sdk/Cargo.toml")),
    ("sdk/src/lib.rs", include_str!("../../../plugins/sdk/src/lib.rs")),
    ("sdk/src/capability.rs", include_str!("../../../plugins/sdk/src/capability.rs")),
    ("sdk/src/delivery.rs", include_str!("../../../plugins/sdk/src/delivery.rs")),
    ("sdk/src/typed.rs", include_str!("../../../plugins/sdk/src/typed.rs")),
    (".gitignore", "/target\n/plugin.wasm\n"),
];

/// JavaScript: an engine comes with it, so it is 12 MB and starts in a millisecond.
const JS: &[(&str, &str)] = &[
    MANIFEST,
    RULE,
    WIT,
    ("src/plugin.js", include_str!("../../../plugins/templates/js/plugin.js")),
    ("build.mjs", include_str!("../../../plugins/templates/js/build.mjs")),
    ("build.sh", include_str!("../../../plugins/templates/js/build.sh")),
    (".gitignore", "/node_modules\n/package*.json\n/plugin.wasm\n"),
];

/// Python: an interpreter comes with it, so it is 18 MB and starts in some milliseconds.
const PYTHON: &[(&str, &str)] = &[
    MANIFEST,
    RULE,
    WIT,
    ("app.py", include_str!("../../../plugins/templates/python/app.py")),
    ("build.sh", include_str!("../../../plugins/templates/python/build.sh")),
    (".gitignore", "/.venv\n/wit_world\n/plugin.wasm\n__pycache__\n"),
];

impl New {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let name = &self.name;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (3..=40).contains(&name.len())
            && name.bytes().all(plain)
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-')
            && name.contains('-');
        if !fits {
            let hint = "3 to 40 of a-z, 0-9 and `-`, the maker's name first: `acme-greetings`";
            return Err(Hinted::new(format!("`{name}` cannot be a plugin's name"), hint).into());
        }
        let folder = PathBuf::from(name);
        if folder.exists() {
            return Err(
                Hinted::new(format!("there is a `{name}` already"), "choose another name, or take it away").into()
            );
        }
        let files = match self.lang {
            Lang::Js => JS,
            Lang::Python => PYTHON,
            Lang::Rust => RUST,
        };
        for (file, text) in files {
            let path = folder.join(file);
            let parent = path.parent().unwrap_or(&folder);
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
            let is_ours = file.starts_with("sdk/") || file.starts_with("wit/");
            let text = if is_ours { (*text).to_owned() } else { named(text, name) };
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            if file.ends_with(".sh") {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
        }
        say(format_args!("{name}/ is made. Next:"));
        say(format_args!("  cd {name}"));
        say("  ./build.sh                  # makes plugin.wasm");
        say("  storehand plugin check");
        say("  storehand plugin test");
        say("  storehand plugin install .");
        Ok(ExitCode::SUCCESS)
    }
}

fn named(text: &str, name: &str) -> String {
    text.replace("CRATE", &name.replace('-', "_")).replace("NAME", name)
}
