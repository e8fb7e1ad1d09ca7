//! The example plugins, as `plugins/build.sh` has built them, through the real server; and a plugin's project from its
//! first command to its first run.

use std::process::Command;
use std::time::Duration;

use storehand::demo::DemoOrder;
use storehand::plugins::Folder;

use super::*;
use crate::cli::storehand;
use crate::support::{TestApp, acme, order};

/// The folder of an example that has been built.
fn example(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins").join(name);
    assert!(folder.join("plugin.wasm").exists(), "plugins/build.sh has not built {name}");
    folder
}

const POINTS: &str = "
id: points
status: live
triggers: [{ event: order.paid }]
allow: [order.tag]
steps:
  - id: points
    uses: acme-loyalty/points.add
    with: { order_id: \"{{ order.id }}\", customer_id: \"{{ customer.id }}\", amount: \"{{ order.total }}\" }
  - { id: all, uses: acme-loyalty/points.balance, with: { customer_id: \"{{ customer.id }}\" } }
  - uses: order.tag
    with: { tags: [\"{{ steps.points.points }} of {{ steps.all.balance }}\"] }
";

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn tell(it: &TestApp, topic: &str, order: &DemoOrder) {
    it.shop.put(order.clone());
    assert_eq!(it.deliver(&it.signer.order(topic, order, it.now())).await, 200);
    it.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn points_are_given_when_the_return_window_is_over() {
    let prepare = |data: &Path| {
        Folder::within(data).install(&host(), &example("loyalty")).expect("it installs");
        let granted = "[shop.acme.plugins.acme-loyalty]\ngrant = [\"memory.add\", \"memory.get\", \"wait_for\"]\n";
        std::fs::write(data.join("more.toml"), granted).expect("written");
    };
    let it = TestApp::start_prepared(&[("points.yaml", POINTS)], &[], prepare).await;
    tell(&it, "orders/paid", &order(1, 120)).await;
    it.advance(DAY).await;
    tell(&it, "orders/paid", &order(2, 30)).await;
    let it = it.restart().await;
    it.advance(DAY * 12).await;
    assert_eq!(it.ends().await, ["waiting", "waiting"]);
    it.advance(DAY).await;
    assert_eq!(it.ends().await, ["done", "waiting"]);
    it.advance(DAY).await;
    assert_eq!(it.ends().await, ["done", "done"]);
    let tags = |number: u32| it.shop.orders().into_iter().find(|it| it.number == number).expect("the order").tags;
    assert_eq!((tags(1), tags(2)), (vec!["120 of 120".to_owned()], vec!["30 of 150".to_owned()]));
    let customer = order(1, 120).customer.id();
    let key = format!("acme-loyalty/points/{customer}");
    assert_eq!(it.app.store.remembered(&acme(), &key).await.expect("memory").to_string().trim_matches('"'), "150");
}

#[test]
fn the_examples_pass_their_own_tests() {
    let folder = example("loyalty");
    let (code, told, complained) = storehand(&["plugin", "test", &folder.to_string_lossy()], &[], &[]);
    assert_eq!((code, complained.as_str()), (0, ""), "{told}");
    assert!(told.contains("acme-loyalty: 4 tests, 0 failed") && told.contains("instructions"), "{told}");
    let source = example("wechat-shop").to_string_lossy().into_owned();
    let (code, told, complained) = storehand(&["plugin", "test", &source], &[], &[]);
    assert_eq!((code, complained.as_str()), (0, ""), "{told}");
    assert!(told.contains("wechat-shop: 3 tests, 0 failed"), "{told}");
    for name in ["loyalty", "wechat-shop"] {
        let (code, told, complained) = storehand(&["plugin", "check", &example(name).to_string_lossy()], &[], &[]);
        assert_eq!((code, complained.as_str()), (0, ""), "{told}");
        assert!(told.contains("an instance starts in"), "{told}");
    }
    let path = folder.to_string_lossy().into_owned();
    let (code, told, _) = storehand(&["plugin", "run", "points.add", "--folder", &path], &[], &[]);
    assert_eq!(code, 0, "{told}");
    // Moment by moment, on the run's own clock.
    let shown = [
        "2026-01-01 09:00:00  it  acme-loyalty/points.add {",
        "2026-01-01 09:00:00    it/1  wait_for {",
        "2026-01-01 09:00:00    it/1  waits for return.requested of order/1042, until 2026-01-15 09:00:00",
        "2026-01-15 09:00:00    it/1  -> {\"timed_out\":true}",
        "2026-01-15 09:00:00    it/2  memory.add {",
        "2026-01-15 09:00:00    it/2  -> {\"value\":120}",
        "2026-01-15 09:00:00  it  -> {\"balance\":120,\"points\":120}",
        "3 passes, at the most ",
    ];
    let lines: Vec<&str> = told.lines().collect();
    let came: Vec<&str> = lines.iter().zip(&shown).map(|(line, shown)| &line[..shown.len().min(line.len())]).collect();
    assert_eq!(came, shown, "{told}");
}

#[test]
fn the_examples_in_other_languages_pass_their_own_tests() {
    for (name, counted) in [("address-check", "2 tests, 0 failed"), ("price-text", "3 tests, 0 failed")] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins").join(name);
        if !folder.join("plugin.wasm").exists() {
            println!("SKIPPED: the plugin {name}: plugins/build.sh has not built it");
            continue;
        }
        let (code, told, complained) = storehand(&["plugin", "test", &folder.to_string_lossy()], &[], &[]);
        assert_eq!((code, complained.as_str()), (0, ""), "{told}");
        assert!(told.contains(counted), "{told}");
    }
}

/// A message that the platform has encrypted, made with other tools: key `abc…EFG`, token `AAAAA`.
const ENCRYPTED: &str = "jn1L23DB+6ELqJ+6bruv20/sFIQxfY4NA5NuJjKKzERnGBb95z6Ezz8CWqy67Q6apDHG3joNzrKUQ4bYYkNRnzyURJdRt4fALzVQ8Umu8yungSYvvyCbfYH14+/0mFZDhCt6XbVDIjuYxFgLaKUxEdsSy+O4BACY2xpeLj+VzXpV6Fetn05HlMP7ttsS/yrGXir8xE8Bv0gOhGkPy5pLVkC2z2giBv5zujx+U3s16jqqaDweqYNAX3yBNl4pFutBeMUx8vUQ5XPOO/vC8t3CYfuz6X6B7ZEpVhoCwYnZ4H7GTiChE/DBTRkYCgNdt4gHbC9CiyV7iU2kGuN5C+fnag==";
const TIMESTAMP: &str = "1795424400";
const SIGNED: &str = "25efbdb2124893b21371afc5382a3ed73f0d414e";
const PLAINLY_SIGNED: &str = "28153ad9d72c2e4437bbc5b97a5a986631d229c1";
const KEYS: &str = "AAAAA:abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_a_plugin_receives_what_is_signed_and_nothing_else() {
    let prepare = |data: &Path| {
        Folder::within(data).install(&host(), &example("wechat-shop")).expect("it installs");
        let more = format!(
            "[shop.acme.plugins.wechat-shop]\ngrant = []\n[shop.acme.sources.wechat-shop]\nsecrets = [\"{KEYS}\"]\n"
        );
        std::fs::write(data.join("more.toml"), more).expect("written");
    };
    let it = TestApp::start_prepared(&[], &[], prepare).await;
    let client = reqwest::Client::new();
    let url = |query: &str| {
        format!("http://{}/hooks/acme/wechat-shop?timestamp={TIMESTAMP}&nonce=1514711492&{query}", it.app.address)
    };
    let body = json!({ "ToUserName": "gh_2defbb026678", "Encrypt": ENCRYPTED }).to_string();
    let text = async |answer: Result<reqwest::Response, reqwest::Error>| {
        let answer = answer.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };

    let handshake = url(&format!("signature={PLAINLY_SIGNED}&echostr=4375120948345356249"));
    assert_eq!(text(client.get(&handshake).send().await).await, (200, "4375120948345356249".to_owned()));
    let (status, told) = text(client.get(handshake.replace("signature=2", "signature=3")).send().await).await;
    assert_eq!(status, 401, "{told}");

    let signed = url(&format!("msg_signature={SIGNED}"));
    for _ in 0..3 {
        assert_eq!(text(client.post(&signed).body(body.clone()).send().await).await, (200, "success".to_owned()));
    }
    it.settle().await;
    let filter = storehand::store::EventFilter { kind: None, most: 10, before: None };
    let events = it.app.store.events(&acme(), &filter).await.expect("events");
    assert_eq!(events.len(), 1, "a repetition changes nothing");
    let event = &events[0];
    assert_eq!(
        (&*event.kind, &*event.topic, &*event.subject, event.time.to_string().as_str()),
        ("order.paid", "channels_ec_order_pay", "order/3704612354559743232", "2026-11-23T08:59:55Z")
    );
    assert_eq!(event.records.order.as_ref().and_then(|order| order.id.clone()).as_deref(), Some("3704612354559743232"));

    for (url, body, expected) in [
        (signed.replace("msg_signature=2", "msg_signature=3"), body.clone(), 401),
        (signed.clone(), body.replace("jn1L", "jn2L"), 401),
        (url(&format!("signature={PLAINLY_SIGNED}")), json!({ "MsgType": "event", "Event": "x" }).to_string(), 401),
        (signed.clone(), "no json".to_owned(), 400),
        (signed.replace("&nonce=1514711492", ""), body.clone(), 401),
    ] {
        let (status, told) = text(client.post(url).body(body).send().await).await;
        assert_eq!(status, expected, "{told}");
    }
    it.clock.advance(Duration::from_secs(5 * 3600));
    let (status, told) = text(client.post(&signed).body(body).send().await).await;
    assert_eq!((status, told.contains("too far off")), (401, true), "{told}");
}

/// What the README's first plugin has typed, one after another, with the files that it shows written where they stand.
fn first_plugin() -> String {
    let page = include_str!("../../../plugins/README.md");
    let chapter = page.split("\n## ").find(|chapter| chapter.starts_with("Your first plugin")).expect("the chapter");
    let mut typed = String::new();
    for block in chapter.split("```").skip(1).step_by(2) {
        let (info, text) = block.split_once('\n').expect("a block");
        match info.split_once(' ') {
            Some((_, file)) => typed += &format!("cat > {file} <<'END'\n{text}END\n"),
            None if info == "sh" => typed += text,
            None => assert_eq!(info, "text", "what else is shown"),
        }
        if text.trim_end().ends_with('&') {
            typed += "for i in $(seq 300); do (: < /dev/tcp/127.0.0.1/$PORT) 2>/dev/null && break; sleep 0.1; done\n";
        }
    }
    assert!(typed.matches("storehand ").count() >= 10, "it shows commands");
    typed
}

#[test]
fn the_first_plugin_of_the_readme_builds_passes_its_tests_and_is_installed() {
    let place = tempfile::tempdir().expect("a folder");
    let program = Path::new(env!("CARGO_BIN_EXE_storehand"));
    let path = format!("{}:{}", program.parent().expect("a folder").display(), std::env::var("PATH").expect("PATH"));
    let run = |at: &Path, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(at).output().expect("storehand");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, _, complained) = run(place.path(), &["plugin", "new", "Greetings", "--lang", "rust"]);
    assert_eq!((code, complained.contains("cannot be a plugin's name")), (Some(1), true), "{complained}");

    // Where the target for components cannot be had, the project is built in another way.
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/build.sh");
    let typed = first_plugin().replace("./build.sh", &format!("{} --crate \"$PWD\" acme-greetings", build.display()));
    let typed = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{typed}");
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &typed]).current_dir(place.path());
    shell.env("PATH", path).env_remove("STOREHAND_CONFIG").env("PORT", port.to_string());
    shell.env("STOREHAND_SERVER__LISTEN", format!("127.0.0.1:{port}"));
    shell.env("STOREHAND_URL", format!("http://127.0.0.1:{port}")).env("STOREHAND_MODEL__ENABLED", "off");
    let output = shell.output().expect("bash");
    let (told, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if complained.contains("SKIPPED: ") {
        println!("SKIPPED: the README's first plugin is not built: no way to compile Rust to WebAssembly here");
        return;
    }
    assert!(output.status.success(), "{told}\n{complained}");
    assert!(told.contains("acme-greetings: 2 tests, 0 failed") && told.contains("Hello Ana"), "{told}");
    // What its run shows: the plugin's answer after all that it asked.
    let at = |what: &str| told.find(what).unwrap_or_else(|| panic!("{what} is not in {told}"));
    let shown =
        ["asks acme-greetings/greeting.make", "greeting/1  asks memory.add", "answered: {\"text\":\"Hello Ana\""];
    let places = [at(shown[0]), at(shown[1]), at(shown[2]), at("asks order.note {\"text\":\"Hello Ana (1)\"}")];
    assert!(places.is_sorted(), "{told}");
    let settings = std::fs::read_to_string(place.path().join("storehand.toml")).expect("a configuration");
    assert!(settings.contains("[shop.acme.plugins.acme-greetings]"), "{settings}");

    let (code, _, complained) = run(place.path(), &["plugin", "new", "acme-greetings", "--lang", "rust"]);
    assert_eq!((code, complained.contains("there is a `acme-greetings` already")), (Some(1), true), "{complained}");
    let folder = place.path().join("acme-greetings");
    let (code, told, complained) = run(&folder, &["plugin", "check"]);
    assert_eq!((code, complained.as_str()), (Some(0), ""), "{told}");
    assert!(told.contains("wants `memory.add`: Counts how often each customer was greeted."), "{told}");
    let (code, _, complained) = run(&folder, &["plugin", "run", "greeting.make", "--input", "{}"]);
    assert_eq!(code, Some(1), "{complained}");

    let (code, told, complained) = run(&folder, &["plugin", "pack"]);
    assert_eq!((code, complained.as_str()), (Some(0), ""), "{told}");
    let digest = told.trim().rsplit(' ').next().expect("a digest").to_owned();
    let packed = "acme-greetings/acme-greetings-0.1.0.plugin";
    let (code, _, complained) = run(place.path(), &["plugin", "install", packed, "--digest", &"0".repeat(64)]);
    assert_eq!((code, complained.contains("its digest is")), (Some(1), true), "{complained}");
    let (code, told, complained) = run(place.path(), &["plugin", "install", packed, "--digest", &digest]);
    assert_eq!((code, complained.as_str()), (Some(0), ""), "{told}");
    let (code, told, _) = run(place.path(), &["plugin", "grant", "acme-greetings", "--shop", "acme"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("[shop.acme.plugins.acme-greetings]") && told.contains("\"memory.add\",    # Counts"),
        "{told}"
    );
    // From here on rules may use it.
    let (code, told, complained) = run(place.path(), &["rules", "test", "acme-greetings/rules"]);
    assert_eq!((code, complained.as_str()), (Some(0), ""), "{told}");
}

#[test]
fn a_new_project_in_another_language_builds_and_passes_its_tests() {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/plugins");
    for (lang, variable, tool) in [("js", "MODULES", "componentize-js"), ("python", "VENV", "componentize-py")] {
        if !tools.join(tool).exists() {
            println!("SKIPPED: a new plugin's project in {lang} is not built: plugins/build.sh has not fetched {tool}");
            continue;
        }
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("acme-greetings");
        let run = |at: &Path, program: &str, args: &[&str]| {
            let mut command = Command::new(program);
            let output =
                command.args(args).current_dir(at).env(variable, tools.join(tool)).output().expect("it starts");
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
            let (told, complained) = (text(output.stdout), text(output.stderr));
            assert!(output.status.success(), "{lang}: {told}\n{complained}");
            told
        };
        let storehand = env!("CARGO_BIN_EXE_storehand");
        run(place.path(), storehand, &["plugin", "new", "acme-greetings", "--lang", lang]);
        run(&folder, "./build.sh", &[]);
        let told = run(&folder, storehand, &["plugin", "test"]);
        assert!(told.contains("acme-greetings: 2 tests, 0 failed"), "{lang}: {told}");
    }
}

#[test]
fn a_packed_plugin_may_be_signed_and_only_known_keys_be_taken() {
    let place = tempfile::tempdir().expect("a folder");
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_storehand"));
        let output = command.args(args).current_dir(place.path()).output().expect("storehand");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let loyalty = example("loyalty").to_string_lossy().into_owned();
    let pack = |output: &str, key: &str| {
        let (code, told, complained) = run(&["plugin", "pack", &loyalty, "-o", output, "--sign", key]);
        assert_eq!((code, complained.as_str()), (Some(0), ""), "{told}");
        let line = told.lines().find_map(|line| line.strip_prefix("signed by ")).expect("by whom");
        line.to_owned()
    };
    let (ours, theirs) = (pack("ours.plugin", "ours.key"), pack("theirs.plugin", "theirs.key"));
    assert_ne!(ours, theirs);
    assert_eq!(pack("again.plugin", "ours.key"), ours, "the key is kept");
    let bytes = |name: &str| std::fs::read(place.path().join(name)).expect("a file");
    assert_eq!(bytes("again.plugin"), bytes("ours.plugin"));

    let (code, told, complained) = run(&["plugin", "install", "theirs.plugin"]);
    assert_eq!((code, told.contains(&format!("signed by {theirs}"))), (Some(0), true), "{told}{complained}");
    let settings = format!("[plugins]\nkeys = [\"{ours}\"]\n[store]\nurl = \"sqlite://other/storehand.db\"\n");
    std::fs::write(place.path().join("storehand.toml"), settings).expect("written");
    let refused = |from: &str| {
        let (code, told, complained) = run(&["plugin", "install", from]);
        assert_eq!(code, Some(1), "{told}");
        complained
    };
    assert!(refused("theirs.plugin").contains("whom `plugins.keys` does not name"));
    assert!(refused(&loyalty).contains("`plugins.keys` demands a signature, and a folder has none"));
    let (code, told, complained) = run(&["plugin", "install", "ours.plugin"]);
    assert_eq!((code, told.contains(&format!("signed by {ours}"))), (Some(0), true), "{told}{complained}");

    // Another component under the same signature.
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes("ours.plugin"))).expect("an archive");
    let mut changed = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).expect("a file");
        let mut content = Vec::new();
        let name = entry.name().expect("a name").into_owned();
        std::io::Read::read_to_end(&mut entry, &mut content).expect("read");
        if name.ends_with(".wasm") {
            content.push(0);
        }
        changed.start_file(name, zip::write::SimpleFileOptions::default()).expect("a file");
        std::io::Write::write_all(&mut changed, &content).expect("written");
    }
    let changed = changed.finish().expect("an archive").into_inner();
    std::fs::write(place.path().join("changed.plugin"), changed).expect("written");
    assert!(refused("changed.plugin").contains("its signature is not good"));
    assert!(refused("ours.key").contains("this is no packed plugin"));
}
