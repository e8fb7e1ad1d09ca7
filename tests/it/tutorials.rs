//! The tutorials, run as a reader would: the files that they show are written, their commands typed into a shell, and
//! what comes back must be what they say. `UPDATE_PAGES=1` writes what came back into the page.
//!
//! Ids, moments and lengths of time differ from day to day: an id of the page stands for the one that this run gave in
//! its place, and times are not compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A part of a page.
enum Part<'t> {
    Prose(&'t str),
    /// What stands behind the three ticks, and what between them.
    Block(&'t str, &'t str),
}

fn parts(page: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    for (number, part) in page.split("```").enumerate() {
        parts.push(match part.split_once('\n') {
            Some((info, text)) if number % 2 == 1 => Part::Block(info.trim(), text),
            _ => Part::Prose(part),
        });
    }
    parts
}

fn blocks(page: &str) -> Vec<(&str, &str)> {
    let block = |part| match part {
        Part::Block(info, text) => Some((info, text)),
        Part::Prose(_) => None,
    };
    parts(page).into_iter().filter_map(block).collect()
}

/// A shell that is typed into.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    port: u16,
}

const END: &str = "--- what was typed is done";

impl Shell {
    fn open(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let program = Path::new(env!("CARGO_BIN_EXE_storehand"));
        let path =
            format!("{}:{}", program.parent().expect("a folder").display(), std::env::var("PATH").expect("PATH"));
        let mut child = Command::new("bash")
            .current_dir(folder)
            .env_remove("STOREHAND_CONFIG")
            .env("PATH", path)
            .env("STOREHAND_SERVER__LISTEN", format!("127.0.0.1:{port}"))
            .env("STOREHAND_URL", format!("http://127.0.0.1:{port}"))
            .env("STOREHAND_MODEL__ENABLED", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut shell = Self { child, input, output, port };
        // Whatever becomes of this test, the server that the page starts ends with the shell.
        shell.types("set -m; exec 2>&1; trap 'kill $(jobs -p) 2>/dev/null' EXIT");
        shell
    }

    /// Types some lines, and gives what came back. Where one starts something in the background, waits for its door.
    fn types(&mut self, lines: &str) -> String {
        writeln!(self.input, "{lines}").expect("typed");
        if lines.trim_end().ends_with('&') {
            let door = format!("/dev/tcp/127.0.0.1/{}", self.port);
            writeln!(self.input, "for i in $(seq 300); do (: < {door}) 2>/dev/null && break; sleep 0.1; done")
                .expect("typed");
        }
        writeln!(self.input, "echo; echo '{END}'").expect("typed");
        let mut came = String::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).expect("text") > 0, "the shell ended: {came}");
            if line.trim_end() == END {
                break;
            }
            came.push_str(&line);
        }
        format!("{}\n", came.trim())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // A test that fails leaves it waiting for more.
        let _ = writeln!(self.input, "exit");
        let _ = self.child.wait();
    }
}

/// Words, with what stands between them.
fn words(line: &str) -> Vec<&str> {
    const BETWEEN: &[char] = &[' ', '/', '"', ',', '`', '(', ')', '[', ']', ':', ';'];
    line.split_inclusive(BETWEEN).map(|it| it.trim_end_matches(BETWEEN)).collect()
}

fn is_id(word: &str) -> bool {
    let digits = word.strip_prefix("ev_").or_else(|| word.strip_prefix("run_"));
    digits.is_some_and(|it| it.len() == 13 && it.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// A line without what differs from run to run.
fn lasting(line: &str) -> String {
    // Where a long line is cut depends on the digits of the moments in it.
    let line = line.strip_suffix('…').map_or(line, |cut| &cut[..cut.floor_char_boundary(cut.len() / 2)]);
    let mut kept = String::new();
    for word in words(line) {
        let is_version = word.len() >= 8 && word.chars().all(|c| c.is_ascii_hexdigit());
        let number = word.trim_start_matches('-').chars().next().is_some_and(|c| c.is_ascii_digit());
        let shown =
            if is_id(word) || is_version || number || word == "ms" || word == "s" || word == "in" { "~" } else { word };
        let _ = write!(kept, "{shown} ");
    }
    kept.split_whitespace().filter(|it| *it != "~").collect::<Vec<_>>().join(" ")
}

/// The ports that pages name, beside the server's own.
const PORTS: &[&str] = &["7711", "7712"];

/// As many ports that nobody listens on.
fn free_ports() -> Vec<String> {
    let taken: Vec<TcpListener> = PORTS.iter().map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    taken.iter().map(|it| it.local_addr().expect("an address").port().to_string()).collect()
}

fn with(text: &str, ports: &[(&str, String)]) -> String {
    ports.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).expect("a file");
        }
    }
}

/// A folder as the reader has it: the page's own files, and the library where the page expects it.
fn set_up(home: &Path, page: &Path, ports: &[(&str, String)]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    copy(&root.join("rules"), &home.join("rules"));
    let folder = home.join(page.parent().expect("a folder"));
    fs::create_dir_all(&folder).expect("a folder");
    for file in fs::read_dir(root.join(page).parent().expect("a folder")).expect("a folder") {
        let file = file.expect("a file").path();
        let name = file.file_name().expect("a name");
        if file.extension().is_some_and(|it| it == "toml") {
            fs::write(folder.join(name), with(&fs::read_to_string(&file).expect("text"), ports)).expect("a file");
        }
    }
    folder
}

fn play(page: &Path, text: &str) -> String {
    let home = tempfile::tempdir().expect("a folder");
    let real = free_ports();
    let there: Vec<(&str, String)> = PORTS.iter().copied().zip(real.iter().cloned()).collect();
    let back: Vec<(&str, String)> =
        real.iter().map(String::as_str).zip(PORTS.iter().map(ToString::to_string)).collect();
    let folder = set_up(home.path(), page, &there);
    let mut shell = Shell::open(&folder);
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    let (mut came, mut made) = (String::new(), String::new());
    for part in parts(text) {
        match part {
            Part::Prose(text) => made.push_str(text),
            Part::Block("sh", text) => {
                let typed = ids.iter().fold(text.to_owned(), |typed, (shown, real)| typed.replace(shown, real));
                came = with(&shell.types(&with(&typed, &there)), &back);
                let _ = write!(made, "```sh\n{typed}```");
            }
            Part::Block("text", text) => {
                let of = |text: &str| {
                    text.lines().flat_map(words).filter(|it| is_id(it)).map(str::to_owned).collect::<Vec<_>>()
                };
                ids.extend(of(text).into_iter().zip(of(&came)));
                let _ = write!(made, "```text\n{came}```");
            }
            Part::Block(info, text) => {
                let (_, name) = info.split_once(' ').expect("a block of a file says which");
                let file = folder.join(name);
                fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
                fs::write(file, text).expect("a file");
                let _ = write!(made, "```{info}\n{text}```");
            }
        }
    }
    made
}

/// The pages, and what each is in Chinese.
const PAGES: &[(&str, &str)] = &[
    ("examples/first-rule/README.md", "examples/first-rule/README.zh.md"),
    ("examples/shopify-store/README.md", "examples/shopify-store/README.zh.md"),
];

#[test]
fn what_the_tutorials_say_is_what_comes() {
    for (page, _) in PAGES {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let text = fs::read_to_string(&file).expect(page);
        let came = play(Path::new(page), &text);
        let lines = |page: &str| page.lines().map(lasting).collect::<Vec<_>>().join("\n");
        if std::env::var_os("UPDATE_PAGES").is_some() && lines(&text) != lines(&came) {
            fs::write(&file, &came).expect(page);
        }
        let (said, real) = (lines(&text), lines(&came));
        let differs = said.lines().zip(real.lines()).find(|(said, real)| said != real);
        assert_eq!(differs, None, "{page} is not what comes; UPDATE_PAGES=1 writes it anew");
        assert_eq!(said.lines().count(), real.lines().count(), "{page}: something more or less comes");
    }
}

#[test]
fn both_languages_show_the_same() {
    for (page, other) in PAGES {
        let text = |page: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect(page);
        let (one, another) = (text(page), text(other));
        let differs = blocks(&one).into_iter().zip(blocks(&another)).find(|(one, another)| one != another);
        assert_eq!(differs, None, "{page} and {other}");
        assert_eq!(blocks(&one).len(), blocks(&another).len(), "{page} and {other}");
    }
}
