//! Every dependency may be used and passed on under terms that fit ours: MIT OR Apache-2.0.

use std::process::Command;

use serde_json::Value as Json;

/// Licences that ask for no more than a notice, or (MPL-2.0) for changes to their own files.
const FINE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Additions to a licence that only allow more.
const FINE_ADDITIONS: &[&str] = &["LLVM-exception"];

/// Whether an SPDX expression can be met with the licences above. `/`, which old packages write, is `OR`.
fn fits(expression: &str) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let fits = alternatives(&mut rest)?;
    if rest.is_empty() { Ok(fits) } else { Err(format!("`{expression}` goes on with `{}`", rest[0])) }
}

fn alternatives(words: &mut &[&str]) -> Result<bool, String> {
    let mut fits = all_of(words)?;
    while take(words, "OR") {
        fits |= all_of(words)?;
    }
    Ok(fits)
}

fn all_of(words: &mut &[&str]) -> Result<bool, String> {
    let mut fits = one(words)?;
    while take(words, "AND") {
        fits &= one(words)?;
    }
    Ok(fits)
}

fn one(words: &mut &[&str]) -> Result<bool, String> {
    let (first, rest) = words.split_first().ok_or("it breaks off")?;
    *words = rest;
    if *first == "(" {
        let fits = alternatives(words)?;
        return if take(words, ")") { Ok(fits) } else { Err("a bracket is not closed".to_owned()) };
    }
    let addition = if take(words, "WITH") {
        let (addition, rest) = words.split_first().ok_or("it breaks off after WITH")?;
        *words = rest;
        FINE_ADDITIONS.contains(addition)
    } else {
        true
    };
    // `+` allows later versions too.
    Ok(FINE.contains(&first.trim_end_matches('+')) && addition)
}

fn take(words: &mut &[&str], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}

#[test]
fn every_dependency_may_be_passed_on() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let version = Command::new("rustc").arg("-vV").output().expect("rustc");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("host");
    let asked = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata");
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let metadata: Json = serde_json::from_slice(&asked.stdout).expect("json");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 50, "{} packages", packages.len());
    let wrong: Vec<String> = packages
        .iter()
        .filter_map(|package| {
            let licence = package["license"].as_str().unwrap_or("none is named");
            match fits(licence) {
                Ok(true) => None,
                Ok(false) => Some(format!("{} {}: {licence}", package["name"], package["version"])),
                Err(error) => Some(format!("{} {}: {licence}: {error}", package["name"], package["version"])),
            }
        })
        .collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn expressions_are_understood() {
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "MIT/GPL-2.0",
        "MPL-2.0+",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
        "GPL-3.0 OR (ISC AND (Zlib OR AGPL-3.0))",
    ] {
        assert_eq!(fits(good), Ok(true), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "MIT WITH Odd-exception", "none is named at all", "", "(MIT", "MIT MIT"] {
        assert_ne!(fits(bad), Ok(true), "{bad}");
    }
}
