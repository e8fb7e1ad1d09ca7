//! Mail that Mailgun's routes deliver: `forward("https://…/hooks/SHOP/mailgun/mime")`, which brings the mail as it
//! travelled, or `…/hooks/SHOP/mailgun`, which brings it as Mailgun has read it.
//!
//! The secret is the account's *HTTP webhook signing key*. The signature is over a time and a token and not over the
//! mail: a signed form that somebody else gets hold of within five minutes could bring another mail. TLS is what keeps
//! it from them.
//!
//! *Architecture Invariant*: a mail is one event however often and in whichever form it is delivered: the delivery key
//! is its Message-ID.

use serde::Deserialize;

use super::email::{Came, Mail};
use super::form::Form;
use crate::domain::{Delivery, Received, Refused, Reply, Secrets, Source};
use crate::shops::signature;

/// Receives Mailgun's deliveries.
#[derive(Debug)]
pub struct Mailgun;

impl Source for Mailgun {
    fn name(&self) -> &'static str {
        "mailgun"
    }

    fn receive(&self, delivery: Delivery<'_>, secrets: &Secrets) -> Result<Received, Refused> {
        let content_type = delivery.header("content-type").unwrap_or_default();
        // What is signed stands in the form, so the form is read first; nothing of it is believed.
        let form = Form::read(content_type, delivery.body);
        let form = form.ok_or(Refused::Signature { header: "signature" })?;
        let signed = ["timestamp", "token", "signature"].map(|name| form.text(name).unwrap_or_default());
        let verified = delivery.verify(|delivery| {
            signature::check_mailgun(signed.each_ref().map(|text| &**text), secrets, delivery.received)
        })?;
        let mail = match form.bytes("body-mime") {
            Some(raw) => Mail::parse(raw).ok_or_else(|| malformed("`body-mime` is no mail: it has no header"))?,
            None => read(&form)?,
        };
        let (recipient, sender) = (form.text("recipient"), form.text("sender"));
        let came = Came {
            topic: "inbound",
            // A route that matches several recipients names all of them.
            recipient: recipient
                .as_deref()
                .and_then(|all| all.split(',').next())
                .map(str::trim)
                .filter(|it| !it.is_empty()),
            envelope_sender: sender.as_deref(),
            own: &[],
        };
        Ok(Received { events: vec![mail.event(&verified, &came)], reply: Reply::OK })
    }
}

fn malformed(problem: &str) -> Refused {
    Refused::Malformed(problem.to_owned())
}

/// A header as Mailgun lists it.
#[derive(Deserialize)]
struct Header(String, String);

/// A mail that Mailgun has read: its headers are a list, its text is UTF-8.
fn read(form: &Form<'_>) -> Result<Mail, Refused> {
    let headers = form.text("message-headers").ok_or_else(|| {
        malformed("neither `body-mime` nor `message-headers` is there; the route must `forward` to this address")
    })?;
    let headers: Vec<Header> = serde_json::from_str(&headers)
        .map_err(|error| malformed(&format!("`message-headers` cannot be read: {error}")))?;
    let mut head = String::new();
    for Header(name, value) in headers {
        // A list may hold what a head may not: a value must not begin a header of its own.
        let name: String = name.chars().filter(|c| c.is_ascii_graphic() && *c != ':').collect();
        let value = value.replace(['\r', '\n'], " ");
        if !name.is_empty() {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str("\r\n");
    let (plain, rich) = (form.text("body-plain").unwrap_or_default(), form.text("body-html").unwrap_or_default());
    let files = form.files().map(str::to_owned);
    Mail::of_parts(&head, &plain, &rich, files).ok_or_else(|| malformed("`message-headers` has no header in it"))
}
