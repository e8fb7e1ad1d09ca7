//! Mail over a real SMTP server: aiosmtpd, run by the Python that `STOREHAND_TEST_AIOSMTPD` names, else `python3`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value as Json;
use storehand::domain::{Mailer, Outgoing, Verdict};
use storehand::shops::ShopsError;
use storehand::shops::mail::{MailSettings, Security, SmtpMailer};

/// aiosmtpd in a process of its own, which ends with this.
struct Server {
    process: Child,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    fn start() -> Option<Self> {
        let python = std::env::var("STOREHAND_TEST_AIOSMTPD").unwrap_or_else(|_| "python3".into());
        let has_it = Command::new(&python).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
        if !has_it.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: mail over SMTP: {python} has no aiosmtpd (set STOREHAND_TEST_AIOSMTPD)");
            return None;
        }
        let mut process = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/smtp/server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        let mut port = String::new();
        output.read_line(&mut port).expect("its port");
        Some(Self { port: port.trim().parse().expect("a port"), process, output })
    }

    /// The next mail: its envelope and its raw text.
    fn mail(&mut self) -> (Json, String) {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        let mail: Json = serde_json::from_str(&line).expect("json");
        let raw = BASE64.decode(mail["raw"].as_str().expect("raw")).expect("base64");
        (mail, String::from_utf8(raw).expect("ASCII on the way"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn mailer(port: u16, security: Security) -> SmtpMailer {
    SmtpMailer::new(MailSettings {
        host: "127.0.0.1".into(),
        port,
        security,
        login: None,
        from: "Müller & Söhne <hello@acme.example>".into(),
        timeout: Duration::from_secs(5),
    })
    .expect("settings")
}

fn mail(to: &str) -> Outgoing {
    Outgoing {
        to: to.into(),
        subject: "Your order #1042".into(),
        text: "Hello Ana".into(),
        message_id: "0123456789abcdef".into(),
        in_reply_to: None,
        references: Vec::new(),
    }
}

fn refused_with(verdict: Verdict, code: &str) {
    assert!(matches!(&verdict, Verdict::Refused(failure) if failure.code == code), "{code}: {verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_arrives_whole_and_in_any_language() {
    let Some(mut server) = Server::start() else { return };
    let text = format!("你好 Ana，\n.\n..a line of dots\nDon't worry — it's here.\n{}", "长".repeat(2000));
    let sent = Outgoing {
        subject: "关于订单 #1042\r\nBcc: everybody@example.com".into(),
        text: text.clone(),
        in_reply_to: Some("question-1@mail.example".into()),
        references: vec![
            "question-0@mail.example".into(),
            "a>\r\nBcc: <eve@example.com".into(),
            "question-1@mail.example".into(),
        ],
        ..mail("ana@example.com")
    };
    let verdict = mailer(server.port, Security::None).send(&sent).await;
    let Verdict::Done(answer) = verdict else { panic!("{verdict:?}") };
    assert_eq!(answer["message_id"], "0123456789abcdef@acme.example");

    let (envelope, raw) = server.mail();
    assert_eq!(envelope["to"], serde_json::json!(["ana@example.com"]), "and to nobody else");
    assert_eq!(envelope["from"], "hello@acme.example");
    let (head, body) = raw.split_once("\r\n\r\n").expect("head and body");
    assert!(head.contains("Message-ID: <0123456789abcdef@acme.example>"), "{head}");
    assert!(head.contains("In-Reply-To: <question-1@mail.example>"), "{head}");
    let unfolded = head.replace("\r\n ", " ");
    assert!(unfolded.contains("References: <question-0@mail.example> <question-1@mail.example>\r\n"), "{head}");
    assert!(head.contains("Auto-Submitted: auto-replied") && head.contains("X-Storehand: sent"), "{head}");
    assert!(!head.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc")), "{head}");
    assert!(raw.is_ascii() && raw.lines().all(|line| line.len() < 998));
    let decoded = BASE64.decode(body.replace("\r\n", "")).expect("base64");
    assert_eq!(String::from_utf8(decoded).expect("UTF-8").replace("\r\n", "\n"), text);

    // No machine answers what no mail was the cause of, either.
    mailer(server.port, Security::None).send(&mail("ana@example.com")).await;
    assert!(server.mail().1.contains("Auto-Submitted: auto-generated"));

    // The same call again is the same Message-ID.
    let again = mailer(server.port, Security::None).send(&sent).await;
    assert_eq!(again, Verdict::Done(answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_decides_what_happens_next() {
    let Some(mut server) = Server::start() else { return };
    let mailer = mailer(server.port, Security::None);
    for to in ["later@example.com", "busy@example.com"] {
        let verdict = mailer.send(&mail(to)).await;
        assert!(matches!(verdict, Verdict::RetryAfter(None, _)), "{to}: {verdict:?}");
    }
    refused_with(mailer.send(&mail("never@example.com")).await, "mail_refused");
    refused_with(mailer.send(&mail("full@example.com")).await, "mail_refused");
    let verdict = mailer.send(&mail("lost@example.com")).await;
    assert!(matches!(verdict, Verdict::Unknown(_)), "{verdict:?}");
    assert_eq!(server.mail().0["to"][0], "lost@example.com", "it had arrived");
    let starttls = super::mail::mailer(server.port, Security::Starttls);
    refused_with(starttls.send(&mail("ana@example.com")).await, "mail_setup");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_would_add_something_are_refused_unsent() {
    // Nobody listens here: a refusal cannot come from a server.
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port();
    let mailer = mailer(port, Security::None);
    for to in [
        "",
        "ana",
        "ana@example.com\r\nRCPT TO:<eve@example.com>",
        "ana@example.com, eve@example.com",
        "anä@example.com",
    ] {
        refused_with(mailer.send(&mail(to)).await, "bad_address");
    }
    let forged = Outgoing { message_id: "a>\r\nBcc: eve@example.com".into(), ..mail("ana@example.com") };
    refused_with(mailer.send(&forged).await, "bad_address");
    let verdict = mailer.send(&mail("ana@example.com")).await;
    assert!(matches!(verdict, Verdict::RetryAfter(None, _)), "nothing was sent: {verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_unknown_only_once_it_has_the_mail() {
    let speak = |lines: &'static [&'static str]| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it").port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            for line in lines {
                let _ = stream.write_all(format!("{line}\r\n").as_bytes());
                let _ = stream.read(&mut [0; 4096]);
            }
            // Silent from here on, and still connected.
            std::thread::sleep(Duration::from_secs(3));
        });
        port
    };
    let patient = |port| {
        SmtpMailer::new(MailSettings {
            host: "127.0.0.1".into(),
            port,
            security: Security::None,
            login: None,
            from: "hello@acme.example".into(),
            timeout: Duration::from_millis(300),
        })
        .expect("settings")
    };
    let early = patient(speak(&["220 hello", "250 hello"])).send(&mail("ana@example.com")).await;
    assert!(matches!(early, Verdict::RetryAfter(..)), "{early:?}");
    let late = patient(speak(&["220 hello", "250 hello", "250 OK", "250 OK", "354 go on"]));
    let late = late.send(&mail("ana@example.com")).await;
    assert!(matches!(late, Verdict::Unknown(_)), "{late:?}");
}

#[test]
fn settings_that_cannot_work_are_refused_at_once() {
    let settings = |host: &str, security, from: &str| MailSettings {
        host: host.into(),
        port: 25,
        security,
        login: None,
        from: from.into(),
        timeout: Duration::from_secs(1),
    };
    for (settings, setting) in [
        (settings("mail.example", Security::None, "a@b.example"), "mail.host"),
        (settings("mail.example", Security::Tls, "nobody"), "mail.from"),
    ] {
        let refused = SmtpMailer::new(settings).err();
        assert!(matches!(&refused, Some(ShopsError::Setting { setting: it, .. }) if *it == setting), "{refused:?}");
    }
}
