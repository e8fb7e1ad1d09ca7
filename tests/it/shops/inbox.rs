//! A mailbox over a real IMAP server: pymap, run by the Python that `STOREHAND_TEST_PYMAP` names, else `python3`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use storehand::domain::{NewEvent, Secret};
use storehand::shops::imap::{Inbox, InboxError, InboxSettings, Look, Position};
use storehand::shops::mail::Security;

use super::received;
use crate::support::TestApp;

/// pymap in a process of its own, which ends with this.
struct Server {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    fn start() -> Option<Self> {
        Self::start_as(&[])
    }

    fn start_as(options: &[&str]) -> Option<Self> {
        let python = std::env::var("STOREHAND_TEST_PYMAP").unwrap_or_else(|_| "python3".into());
        let has_it = Command::new(&python).args(["-c", "import pymap"]).stderr(Stdio::null()).status();
        if !has_it.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: mail over IMAP: {python} has no pymap (set STOREHAND_TEST_PYMAP)");
            return None;
        }
        let mut process = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/imap/server.py"))
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        let mut port = String::new();
        output.read_line(&mut port).expect("its port");
        let input = process.stdin.take();
        Some(Self { port: port.trim().parse().expect("a port"), process, input, output })
    }

    fn tell(&mut self, command: &Json) -> Json {
        writeln!(self.input.as_mut().expect("its input"), "{command}").expect("told");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{command}: {line}: {error}"))
    }

    fn put(&mut self, raw: &[u8]) {
        assert_eq!(self.tell(&json!({ "append": BASE64.encode(raw) })), "done");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

fn settings(port: u16) -> InboxSettings {
    InboxSettings {
        host: "127.0.0.1".into(),
        port,
        security: Security::None,
        user: "help@acme.example".into(),
        password: Secret::new("secret word"),
        folder: "客服".into(),
        own: vec!["Acme <help@acme.example>".into()],
        timeout: Duration::from_secs(10),
    }
}

fn inbox(settings: InboxSettings) -> Inbox {
    Inbox::new(settings).expect("settings")
}

fn mail(id: &str, text: &str) -> String {
    // What is sent on the day of the look, as the server's own date of arrival is not the tests' to choose.
    let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string();
    format!(
        "From: Ana <ana@example.com>\r\nMessage-ID: <{id}@example.com>\r\nDate: {date}\r\nSubject: {id}\r\n\r\n{text}\r\n"
    )
}

fn ids(look: &Look) -> Vec<String> {
    let id = |event: &NewEvent| event.records.message.as_ref().and_then(|it| it.id.clone()).expect("an id").to_string();
    look.events.iter().map(id).collect()
}

async fn look(inbox: &Inbox, from: Position) -> Look {
    inbox.look(Some(from), Timestamp::now()).await.expect("a look")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_is_taken_once_and_nothing_is_changed() {
    let Some(mut server) = Server::start() else { return };
    let inbox = inbox(settings(server.port));
    assert_eq!(inbox.try_out().await.expect("it can be read"), 0);
    server.put(mail("old", "from before").as_bytes());
    let first = inbox.look(None, received()).await.expect("a look");
    assert_eq!(ids(&first), [""; 0], "what was there already is left alone");
    assert!(first.position.uid > 0 && !first.more, "{first:?}");

    let nothing = look(&inbox, first.position).await;
    assert_eq!((ids(&nothing), nothing.position.uid), (vec![], first.position.uid));

    let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/mails/qq-gb18030.eml"));
    server.put(&picture.expect("a mail"));
    server.put(mail("own", "x").replace("ana@example.com", "help@acme.example").as_bytes());
    let second = look(&inbox, nothing.position).await;
    assert_eq!(ids(&second), ["tencent_1234@qq.example", "own@example.com"]);
    let message = second.events[0].records.message.clone().expect("a message");
    assert_eq!(message.text.as_deref(), Some("您好，请问什么时候发货？急用，谢谢！𠮷"));
    assert_eq!((second.events[0].kind.as_deref(), &*second.events[0].topic), (Some("message.received"), "客服"));
    assert_eq!(second.events[1].kind.as_deref(), Some("message.automatic"), "the shop's own");
    assert_eq!(ids(&look(&inbox, second.position).await), [""; 0]);
    let flags = server.tell(&json!({ "flags": true }));
    assert!(!flags.to_string().contains("Seen"), "people see what nobody has read: {flags}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_come_in_parts_and_a_large_one_is_read_in_part() {
    let Some(mut server) = Server::start() else { return };
    let inbox = inbox(settings(server.port));
    let mut position = inbox.look(None, received()).await.expect("a look").position;
    let attachment = "A".repeat(76) + "\r\n";
    let large = format!(
        "Message-ID: <0@example.com>\r\nFrom: ana@example.com\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nsee\r\n\
         --x\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=cup.png\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}--x--\r\n",
        attachment.repeat(70_000)
    );
    assert!(large.len() > 5 << 20);
    server.put(large.as_bytes());
    for n in 1..25 {
        server.put(mail(&n.to_string(), "hello").as_bytes());
    }
    let mut taken = Vec::new();
    loop {
        let look = look(&inbox, position).await;
        position = look.position;
        if taken.is_empty() {
            let message = look.events[0].records.message.clone().expect("a message");
            assert_eq!(message.text.as_deref(), Some("see"));
            assert_eq!(message.attachments.iter().map(|it| &**it).collect::<Vec<_>>(), ["cup.png"]);
            assert!(look.events[0].payload.len() < 2000, "files are not kept");
        }
        taken.extend(ids(&look));
        if !look.more {
            break;
        }
    }
    let expected: Vec<String> = (0..25).map(|n| format!("{n}@example.com")).collect();
    assert_eq!(taken, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_server_numbers_anew_only_mails_of_these_days_are_taken() {
    let Some(mut server) = Server::start() else { return };
    let inbox = inbox(settings(server.port));
    let mut position = inbox.look(None, Timestamp::now()).await.expect("a look").position;
    server.put(mail("a", "hello").as_bytes());
    position = look(&inbox, position).await.position;
    assert_eq!(server.tell(&json!({ "anew": true })), "done");
    let long_ago = mail("ancient", "hello")
        .replace("Date: ", "X-Date: ")
        .replace("Subject", "Date: Mon, 2 Nov 2020 09:00:00 +0000\r\nSubject");
    for raw in [mail("a", "hello"), mail("b", "hello"), long_ago] {
        server.put(raw.as_bytes());
    }
    let anew = look(&inbox, position).await;
    assert_ne!(anew.position.validity, position.validity);
    assert_eq!(ids(&anew), ["a@example.com", "b@example.com"], "`a` is known by its Message-ID");
    assert_eq!(ids(&look(&inbox, anew.position).await), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said() {
    let Some(server) = Server::start() else { return };
    let failed = |change: &dyn Fn(&mut InboxSettings)| {
        let mut settings = settings(server.port);
        change(&mut settings);
        let inbox = inbox(settings);
        async move { inbox.try_out().await.expect_err("it cannot be read") }
    };
    let login = failed(&|it| it.password = Secret::new("wrong")).await;
    assert!(matches!(&login, InboxError::Login { user, .. } if user == "help@acme.example"), "{login}");
    assert!(!login.to_string().contains("wrong"), "{login}");
    let folder = failed(&|it| it.folder = "Nowhere".into()).await;
    assert!(matches!(&folder, InboxError::Folder { folder, .. } if folder == "Nowhere"), "{folder}");
    let tls = failed(&|it| it.security = Security::Tls).await;
    assert!(matches!(&tls, InboxError::Tls { .. }), "{tls}");
    let starttls = failed(&|it| it.security = Security::Starttls).await;
    assert!(matches!(&starttls, InboxError::Tls { .. }), "{starttls}");
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port();
    let connect = failed(&|it| it.port = nobody).await;
    assert!(matches!(&connect, InboxError::Connect { .. }), "{connect}");
    for error in [login, folder, tls, connect] {
        assert!(error.to_string().contains("hint: "), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let settings =
        InboxSettings { timeout: Duration::from_millis(200), ..settings(silent.local_addr().expect("it").port()) };
    let error = inbox(settings).try_out().await.expect_err("nobody answers");
    assert!(matches!(error, InboxError::Connect { .. }), "{error}");
}

#[test]
fn a_password_in_the_clear_is_refused() {
    let far = InboxSettings { host: "mail.example".into(), ..settings(143) };
    assert!(Inbox::new(far).is_err());
}

const ANSWER: &str = r#"
id: answer
status: live
triggers: [{ event: message.received }]
key: message.conversation_id
allow: [message.send]
steps:
  - { uses: message.send, with: { text: "We have {{ message.text }}" } }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_server_answers_a_mailbox_through_failures_and_restarts() {
    let Some(mut server) = Server::start() else { return };
    let url = format!("imap://help%40acme.example@127.0.0.1:{}", server.port);
    let set = |name: &str, value: &str| (format!("STOREHAND_SHOP__ACME__INBOX__{name}"), value.to_owned());
    let settings =
        [("URL", &*url), ("PASSWORD", "secret word"), ("FOLDER", "客服"), ("EVERY", "50ms"), ("SECURITY", "none")];
    let settings: Vec<_> = settings.iter().map(|(name, value)| set(name, value)).collect();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
    server.put(mail("before", "hello").as_bytes());
    let app = TestApp::start_with(&[("answer.yaml", ANSWER)], &settings).await;
    let mailbox = format!("help@acme.example@127.0.0.1:{}/客服", server.port);
    until(|| async { app.app.store.inbox(&crate::support::acme(), &mailbox).await.expect("it").is_some() }).await;
    server.put(mail("one", "a question").as_bytes());
    until(|| async { app.shop.mails().len() == 1 }).await;

    // While the process is away, and the server too.
    let app = app
        .restart_after(|_| {
            server.put(mail("two", "another").as_bytes());
        })
        .await;
    until(|| async { app.shop.mails().len() == 2 }).await;
    assert_eq!(server.tell(&json!({ "stop": true })), "done");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.tell(&json!({ "start": true })), "done");
    // The server has forgotten everything and numbers anew; what it is given again was answered already.
    server.put(mail("two", "another").as_bytes());
    server.put(mail("three", "a third").as_bytes());
    until(|| async { app.shop.mails().len() == 3 }).await;
    app.settle().await;
    let answered: Vec<String> = app.shop.mails().iter().filter_map(|mail| mail.in_reply_to.clone()).collect();
    assert_eq!(answered, ["one@example.com", "two@example.com", "three@example.com"]);
}

/// Waits until it is so.
async fn until<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    let looks = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looks).await.expect("it comes to be so");
}

#[test]
fn doctor_tries_the_login_and_tls_is_checked() {
    let Some(server) = Server::start_as(&["starttls"]) else { return };
    let port = server.port;
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[model]\nenabled = \"off\"\n[shop.acme]\ncurrency = \"EUR\"\n[shop.acme.inbox]\n\
         url = \"imap://help%40acme.example@localhost:{port}\"\npassword = \"env:P\"\nfolder = \"客服\"\n"
    );
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/imap/tls/ca.pem");
    let doctor = |password: &str, more: &[(&str, &str)]| {
        let variables: Vec<_> = [("P", password)].into_iter().chain(more.iter().copied()).collect();
        crate::cli::storehand(&["doctor"], &[("storehand.toml", &config)], &variables)
    };
    let (code, said, _) = doctor("secret word", &[("SSL_CERT_FILE", authority)]);
    assert!(said.contains("ok    shop.acme.inbox: help@acme.example@localhost"), "{said}");
    assert_eq!(code, 0, "a shop that gets mail need have no other source: {said}");
    let (code, said, _) = doctor("secret word", &[]);
    assert!(code == 1 && said.contains("WRONG shop.acme.inbox: TLS with localhost"), "{said}");
    assert!(said.to_lowercase().contains("certificate"), "nobody we trust says that it is localhost: {said}");
    let (code, said, _) = doctor("another word", &[("SSL_CERT_FILE", authority)]);
    assert!(code == 1 && said.contains("does not let `help@acme.example` in"), "{said}");
    assert!(said.contains("hint: check user and password") && !said.contains("another word"), "{said}");
}
