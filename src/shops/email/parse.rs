//! From the bytes of a mail to a [`Mail`]: the one place that knows how mails are written.

use jiff::Timestamp;
use mail_parser::{Address, DateTime, HeaderValue, Message, MessageParser, MimeHeaders, PartType};

use super::{MOST_ATTACHMENTS, MOST_ID, MOST_NAME, MOST_REFERENCES, MOST_SUBJECT, MOST_TEXT, Mail, bare, cut, html};

/// So many headers are kept, and so many bytes of one.
const MOST_HEADERS: usize = 200;
const MOST_HEADER: usize = 4096;
/// So many parts of text are joined.
const MOST_PARTS: usize = 20;

impl Mail {
    /// Reads a mail as it travels. `None` where it is none: not one header.
    pub(crate) fn parse(raw: &[u8]) -> Option<Self> {
        let message = MessageParser::new().with_address_headers().with_message_ids().with_mime_headers();
        let message = message.with_date_headers().default_header_text().parse(raw)?;
        let mut mail = Self::of_head(&message)?;
        mail.text = text(&message);
        let names = message.attachments().take(MOST_ATTACHMENTS).map(|part| {
            let kind = || {
                part.content_type().map(|it| match it.subtype() {
                    Some(subtype) => format!("{}/{subtype}", it.ctype()),
                    None => it.ctype().to_owned(),
                })
            };
            let name = part.attachment_name().map(file_name).or_else(kind);
            clean(&name.unwrap_or_else(|| "unnamed".to_owned()), MOST_NAME)
        });
        mail.attachments = names.collect();
        Some(mail)
    }

    /// A mail of which somebody else has read the body: its headers as they travel, its text, its HTML where there is
    /// no text, the names of its files.
    pub(crate) fn of_parts(
        head: &str,
        plain: &str,
        rich: &str,
        attachments: impl Iterator<Item = String>,
    ) -> Option<Self> {
        let message = MessageParser::new().with_address_headers().with_message_ids().with_mime_headers();
        let message = message.with_date_headers().default_header_text().parse_headers(head.as_bytes())?;
        let mut mail = Self::of_head(&message)?;
        let text = if plain.trim().is_empty() { html::plain(rich, MOST_TEXT) } else { unix(cut(plain, MOST_TEXT)) };
        mail.text = text;
        mail.attachments = attachments.take(MOST_ATTACHMENTS).map(|name| clean(&file_name(&name), MOST_NAME)).collect();
        Some(mail)
    }

    fn of_head(message: &Message<'_>) -> Option<Self> {
        if message.headers().is_empty() {
            return None;
        }
        let header = |(name, value): (&str, &str)| (clean(name, 100).to_lowercase(), clean(value, MOST_HEADER));
        let first = |address: Option<&Address<'_>>| address?.iter().find_map(|it| bare(it.address.as_deref()?));
        let is_report = message.content_type().is_some_and(|it| {
            it.ctype().eq_ignore_ascii_case("multipart")
                && it.subtype().is_some_and(|sub| sub.eq_ignore_ascii_case("report"))
        });
        Some(Self {
            headers: message.headers_raw().take(MOST_HEADERS).map(header).collect(),
            is_report,
            id: message.message_id().and_then(message_id),
            in_reply_to: message_ids(message.in_reply_to()),
            references: message_ids(message.references()),
            from: first(message.from()),
            reply_to: first(message.reply_to()),
            to: message
                .to()
                .into_iter()
                .flat_map(|to| to.iter())
                .filter_map(|it| bare(it.address.as_deref()?))
                .take(20)
                .collect(),
            subject: message.subject().map(|subject| clean(subject, MOST_SUBJECT)),
            date: message.date().and_then(moment),
            text: String::new(),
            attachments: Vec::new(),
        })
    }
}

/// The text: what is written plain, else what is written in HTML, made plain.
fn text(message: &Message<'_>) -> String {
    let mut text = String::new();
    for part in message.text_bodies().take(MOST_PARTS) {
        let part = match &part.body {
            PartType::Text(plain) => unix(cut(plain, MOST_TEXT)),
            PartType::Html(rich) => html::plain(rich, MOST_TEXT),
            _ => continue,
        };
        if !text.is_empty() && !part.trim().is_empty() {
            text.push('\n');
        }
        text.push_str(&part);
        if text.len() >= MOST_TEXT {
            return cut(&text, MOST_TEXT).to_owned();
        }
    }
    text
}

/// Lines end with one byte, and nothing is in it that a store or a terminal could trip over.
fn unix(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|&c| c == '\n' || c == '\t' || !c.is_control())
        .collect()
}

/// The last part of a path: some programs send where the file lay.
fn file_name(path: &str) -> String {
    path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
}

/// One line without control characters.
fn clean(text: &str, most: usize) -> String {
    let mut line = String::with_capacity(text.len().min(most));
    for word in text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty()) {
        if line.len() + word.len() >= most {
            line.push_str(cut(word, most.saturating_sub(line.len())));
            break;
        }
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(word);
    }
    line
}

fn message_id(id: &str) -> Option<String> {
    let id = id.trim().trim_start_matches('<').trim_end_matches('>');
    let fits = !id.is_empty() && id.len() <= MOST_ID && !id.contains(|c: char| c.is_control() || c.is_whitespace());
    fits.then(|| id.to_owned())
}

fn message_ids(value: &HeaderValue<'_>) -> Vec<String> {
    match value {
        HeaderValue::Text(id) => message_id(id).into_iter().collect(),
        HeaderValue::TextList(ids) => ids.iter().filter_map(|id| message_id(id)).take(MOST_REFERENCES).collect(),
        _ => Vec::new(),
    }
}

fn moment(date: &DateTime) -> Option<Timestamp> {
    date.is_valid().then(|| Timestamp::from_second(date.to_timestamp()).ok()).flatten()
}
