//! E-mails that customers write, whoever brings them: what a mail says, in neutral records.
//!
//! [`Mail`] is a mail as it was read, within bounds; [`Mail::event`] makes the event of it. What a mail quotes and its
//! signature are cut away (`quotes`), what a machine wrote is told from what a person wrote (`automatic`), and a
//! conversation is called by the Message-ID of its first mail.
//!
//! *Architecture Invariant*: pure, and bounded in everything that a sender chooses: size, headers, parts, names.

mod automatic;
mod html;
mod language;
mod parse;
mod quotes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::domain::{Message, NewEvent, RecordName, Records, Text, Verified};
use crate::shops::order_numbers::order_numbers;

/// The header by which the mails that we send are known where they come back.
pub(crate) const OUR_MARK: &str = "X-Storehand";

/// The longest text that is kept of a mail, in bytes.
const MOST_TEXT: usize = 256 << 10;
/// The longest text that rules are shown, in bytes.
const MOST_SHOWN: usize = 64 << 10;
/// The longest subject line, in bytes.
const MOST_SUBJECT: usize = 1000;
/// The longest Message-ID, in bytes: a line of a mail (RFC 5322).
const MOST_ID: usize = 998;
/// So many of a conversation's Message-IDs are looked at.
const MOST_REFERENCES: usize = 100;
/// So many files are named.
const MOST_ATTACHMENTS: usize = 50;
/// The longest name of a file, in bytes.
const MOST_NAME: usize = 255;

/// A mail as it was read.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// Names in lower case, and values unfolded, in their order. Encoded words are still encoded.
    headers: Vec<(String, String)>,
    /// The content type says that it reports on another mail.
    is_report: bool,
    /// Its Message-ID, without `<>`.
    id: Option<String>,
    /// What it answers, without `<>`.
    in_reply_to: Vec<String>,
    /// The conversation, its first mail first, without `<>`.
    references: Vec<String>,
    from: Option<String>,
    reply_to: Option<String>,
    to: Vec<String>,
    subject: Option<String>,
    date: Option<Timestamp>,
    /// The whole text, with what it quotes.
    text: String,
    /// Names of the files that came with it.
    attachments: Vec<String>,
}

/// How a mail came.
#[derive(Debug)]
pub(crate) struct Came<'a> {
    /// The word of whoever brought it, such as the mailbox's name.
    pub(crate) topic: &'a str,
    /// Whom it was delivered to, where that is known: `To` may name anybody.
    pub(crate) recipient: Option<&'a str>,
    /// The sender as the mail servers call it; empty for a mail that must not be answered. `None` where only the mail's
    /// own `Return-Path` may tell.
    pub(crate) envelope_sender: Option<&'a str>,
    /// The shop's own addresses.
    pub(crate) own: &'a [String],
}

impl Mail {
    /// The event that this mail is: `message.received` where a person wrote it, else `message.automatic`.
    pub(crate) fn event(&self, verified: &Verified<'_>, came: &Came<'_>) -> NewEvent {
        let received = verified.delivery().received;
        let automatic = automatic::why(self, came);
        let mut payload = json!({ "headers": self.headers, "text": self.text, "attachments": self.attachments });
        // The digest of the same mail must be the same, whatever the order in which JSON is written.
        payload.sort_all_objects();
        let payload = payload.to_string();
        // A mail without an id of its own is known by what it says; nobody can name that in an answer.
        let id = self.id.clone().unwrap_or_else(|| hex::encode(&Sha256::digest(&payload)[..16]));
        let written = quotes::what_they_wrote(&self.text);
        let written = cut(&written, MOST_SHOWN);
        let mut order_refs = order_numbers(&format!("{}\n{written}", self.subject.as_deref().unwrap_or_default()));
        if order_refs.is_empty() {
            // "Yes, please" answers a question about the order that is quoted beneath.
            order_refs = order_numbers(&self.text);
        }
        let some = |text: &str| (!text.is_empty()).then(|| Text::from(text));
        let message = Message {
            id: Some(id.as_str().into()),
            conversation_id: Some(self.conversation(&id).into()),
            channel: Some("email".into()),
            // Who asks for answers elsewhere gets them there, and is who they are then.
            from: self.reply_to.as_ref().or(self.from.as_ref()).map(|from| from.as_str().into()),
            to: came.recipient.or(self.to.first().map(String::as_str)).map(Text::from),
            subject: self.subject.as_deref().and_then(some),
            text: some(written),
            order_refs,
            language: language::of(written).map(Text::from),
            attachments: self.attachments.iter().map(|name| name.as_str().into()).collect(),
            automatic: automatic.map(Text::from),
        };
        let kind = if automatic.is_some() { "message.automatic" } else { "message.received" };
        let key = if id.len() <= 255 { id.clone() } else { hex::encode(Sha256::digest(&id)) };
        let mut event = verified.event(Some(kind), came.topic, &format!("message/{id}"), key, payload);
        // What a sender's clock says of the future is not believed.
        event.time = self.date.filter(|date| *date <= received).unwrap_or(received);
        event.records = Records { message: Some(Arc::new(message)), ..Records::default() };
        event
    }

    /// The Message-ID of the conversation's first mail.
    fn conversation(&self, own: &str) -> String {
        self.references.first().or(self.in_reply_to.first()).map_or(own, String::as_str).to_owned()
    }

    /// The values of a header (named in lower case).
    fn header<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.headers.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// An address as it is compared: in lower case, without the name before it. `None` where it is none.
fn bare(address: &str) -> Option<String> {
    RecordName::customer(address).map(|it| it.name.to_string())
}

/// The beginning of a text, of at most so many bytes.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
