//! What is cut away, what a machine wrote, what HTML says. Whole mails are in `tests/fixtures/mails/`.

use super::*;

const CASES: &str = include_str!("../../../tests/fixtures/mails/quotes.txt");

fn mail(head: &str) -> Mail {
    Mail::parse(format!("{head}\r\n\r\nHello").as_bytes()).expect("a mail")
}

fn why(head: &str) -> Option<&'static str> {
    why_from(head, None)
}

fn why_from(head: &str, envelope_sender: Option<&str>) -> Option<&'static str> {
    let own = ["Acme <help@acme.example>".to_owned()];
    let came = Came { topic: "INBOX", recipient: Some("orders@acme.example"), envelope_sender, own: &own };
    automatic::why(&mail(head), &came)
}

#[test]
fn quotes_and_signatures_are_cut_away_as_mail_programs_write_them() {
    let mut wrong = Vec::new();
    let cases: Vec<&str> = CASES.split("\n#### ").skip(1).collect();
    assert!(cases.len() >= 25, "{} cases", cases.len());
    for case in cases {
        let (name, rest) = case.split_once('\n').expect("a name");
        let (whole, left) = rest.split_once("\n==== left\n").expect("what is left");
        let found = quotes::what_they_wrote(whole);
        if found != left.trim_end() {
            wrong.push(format!("---- {name}: found\n{found}\n---- in place of\n{left}"));
        }
        // As servers send it.
        assert_eq!(quotes::what_they_wrote(&whole.replace('\n', "\r\n")), found, "{name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_machine_wrote_is_told_from_what_a_person_wrote() {
    let from = "From: Ana <ana@example.com>\r\nSubject: Where is it?";
    for (more, expected) in [
        ("", None),
        ("Auto-Submitted: no", None),
        ("Auto-Submitted: auto-replied (vacation)", Some("auto_reply")),
        ("Auto-Submitted: auto-generated; x=y", Some("auto_reply")),
        ("X-Auto-Response-Suppress: DR, OOF, AutoReply", Some("auto_reply")),
        ("X-Auto-Response-Suppress: All", Some("auto_reply")),
        ("X-Auto-Response-Suppress: DR, RN", None),
        ("X-Autoreply: yes", Some("auto_reply")),
        ("X-Autorespond: ana", Some("auto_reply")),
        ("Precedence: auto_reply", Some("auto_reply")),
        ("Precedence: bulk", Some("bulk")),
        ("PRECEDENCE:\r\n list", Some("bulk")),
        ("Precedence: junk", Some("bulk")),
        ("Precedence: first-class", None),
        ("List-Id: <news.example.com>", Some("bulk")),
        ("List-Unsubscribe: <mailto:off@example.com>", Some("bulk")),
        ("Return-Path: <>", Some("bounce")),
        ("Return-Path: <ana@example.com>", None),
        ("Return-Path: <MAILER-DAEMON@mx.example.com>", Some("bounce")),
        ("Content-Type: multipart/report; report-type=delivery-status; boundary=x", Some("bounce")),
        ("X-Failed-Recipients: li@example.com", Some("bounce")),
        ("X-Storehand: sent", Some("own_mail")),
        ("Reply-To: HELP@acme.example", Some("own_mail")),
        ("Reply-To: no-reply@example.com", Some("no_reply")),
    ] {
        let head = if more.is_empty() { from.to_owned() } else { format!("{from}\r\n{more}") };
        assert_eq!(why(&head), expected, "{more}");
    }
    for (head, expected) in [
        ("From: Mail Delivery System <mailer-daemon@mx.example>", Some("bounce")),
        ("From: do_not.reply@shop.example", Some("no_reply")),
        ("From: noreply+7@shop.example", Some("no_reply")),
        ("From: noreply@forms.example\r\nReply-To: ana@example.com", None),
        ("From: help@acme.example", Some("own_mail")),
        ("From: orders@acme.example", Some("own_mail")),
        ("From: =?utf-8?B?5bCP5piO?= <xiaoming@example.com>\r\nSubject: 自动回复: 您的订单", Some("auto_reply")),
        ("From: ben@example.com\r\nSubject: Automatic reply: Your order", Some("auto_reply")),
        ("From: ben@example.com\r\nSubject: Re: Automatic reply: Your order", None),
        ("Subject: from nobody", Some("no_reply")),
    ] {
        assert_eq!(why(head), expected, "{head}");
    }
    assert_eq!(why_from("From: ana@example.com", Some("")), Some("bounce"), "the servers say that nobody sent it");
    assert_eq!(why_from("From: ana@example.com\r\nReturn-Path: <>", Some("ana@example.com")), None, "theirs counts");
}

#[test]
fn html_is_made_plain() {
    for (html, plain) in [
        ("<p>Hello&nbsp;Ana,</p><p>it&#8217;s <b>here</b>.</p>", "Hello Ana,\n\nit’s here."),
        ("<div>a</div><div><br></div><div>b</div>", "a\n\nb"),
        ("one<br/>two<BR>three", "one\ntwo\nthree"),
        ("<style>p{}</style><script>alert('<p>x')</script><title>t</title>seen<!-- not <p> seen -->", "seen"),
        ("<ul><li>cup<li>plate</ul>", "- cup\n- plate"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
        (
            "yes<blockquote type=\"cite\"><div>On it</div><blockquote>old</blockquote></blockquote>no",
            "yes\n> On it\n>> old\nno",
        ),
        ("1 < 2 &lt; 3 & 4 &amp; 5 &unknown; &#x4f60;&#xD800;", "1 < 2 < 3 & 4 & 5 &unknown; 你&#xD800;"),
        ("<a href=\"x>y\" title='>'>link</a>", "link"),
        ("<a title=\"never closed>text", "text"),
        ("a<script>never closed", "a"),
        ("<scripture>holy", "holy"),
        ("  \n\t<p>  much \n white\u{3000}space </p> ", "much white space"),
        ("cut off <b", "cut off"),
        ("", ""),
    ] {
        assert_eq!(html::plain(html, MOST_TEXT).replace(" \n", "\n"), plain, "{html}");
    }
}

#[test]
fn what_a_sender_chooses_is_bounded() {
    let deep = "<div><blockquote>".repeat(60_000) + "deep";
    assert!(html::plain(&deep, MOST_TEXT).len() <= MOST_TEXT);
    assert_eq!(html::plain(&"&".repeat(1 << 20), 1000).len(), 1000);
    assert!(html::plain(&"<a b=\"".repeat(200_000), MOST_TEXT).len() <= MOST_TEXT);
    let mut parts = String::from("From: a@b.example\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n");
    for n in 0..5000 {
        parts.push_str(&format!("--x\r\nContent-Disposition: attachment; filename=\"{n}\"\r\n\r\n.\r\n"));
    }
    let mail = Mail::parse(parts.as_bytes()).expect("a mail");
    assert_eq!(mail.attachments.len(), MOST_ATTACHMENTS);
    let mut nested = String::from("From: a@b.example\r\n");
    for n in 0..20_000 {
        nested.push_str(&format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"));
    }
    assert!(Mail::parse(nested.as_bytes()).is_some());
    let mut messages = String::from("From: a@b.example\r\n");
    messages.push_str(&"Content-Type: message/rfc822\r\n\r\n".repeat(20_000));
    assert!(Mail::parse(messages.as_bytes()).is_some());
    let long = format!(
        "From: a@b.example\r\nSubject: {}\r\nReferences: {}\r\n{}\r\n{}",
        "s".repeat(100_000),
        "<a@b> ".repeat(10_000),
        "X-A: b\r\n".repeat(10_000),
        "t ".repeat(1 << 20)
    );
    let mail = Mail::parse(long.as_bytes()).expect("a mail");
    assert!(mail.subject.as_ref().is_some_and(|it| it.len() <= MOST_SUBJECT));
    assert!(mail.references.len() <= MOST_REFERENCES && mail.headers.len() <= 200 && mail.text.len() <= MOST_TEXT);
    assert!(Mail::parse(b"").is_none());
}

#[test]
fn scripts_tell_a_language() {
    for (text, expected) in [
        ("订单 #1042 什么时候到？", Some("zh")),
        ("我的 iPhone 15 Pro Max 还没到", Some("zh")),
        ("こんにちは、注文を送ってください", Some("ja")),
        ("주문은 언제 도착하나요?", Some("ko")),
        ("Where is my order 订单?", None),
        ("Wo ist meine Bestellung?", None),
        ("", None),
    ] {
        assert_eq!(language::of(text), expected, "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn nothing_that_is_sent_breaks_it(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        text in "([a-zé写道：:>< \"=&;#/\\-_\n@0-9]|<div|<br>|</script|<script|&#x|On |wrote:|From: |-- \n|发件人：|时间：){0,60}",
    ) {
        let _ = html::plain(&text, 50);
        let left = quotes::what_they_wrote(&text);
        proptest::prop_assert!(left.is_empty() == text.trim().is_empty(), "never everything: {text:?}");
        let mut raw = format!("From: a@b.example\r\nContent-Type: multipart/mixed; boundary=a\r\nSubject: {text}\r\n\r\n--a\r\n\r\n").into_bytes();
        raw.extend(&bytes);
        raw.extend(text.as_bytes());
        let verified = crate::domain::Delivery {
            headers: &[], query: &[], method: "POST", body: &raw, received: Timestamp::UNIX_EPOCH,
        }.verify(|_| Ok(())).expect("verified");
        if let Some(mail) = Mail::parse(&raw) {
            let came = Came { topic: "t", recipient: None, envelope_sender: None, own: &[] };
            let event = mail.event(&verified, &came);
            proptest::prop_assert!(event.records.message.is_some());
        }
        let _ = Mail::parse(&bytes);
    }
}
