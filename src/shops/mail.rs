//! Mail out of the house: one SMTP connection a mail, with what came of it said as a verdict.
//!
//! SMTP has no key against repeats. Up to the mail's last byte nothing has happened and a repeat is harmless;
//! from there on only the server's answer tells, and where that is lost the verdict is `Unknown`.
//!
//! *Architecture Invariant*: header fields are encoded, never pasted, so no subject or address can add one.

use std::time::Duration;

use async_trait::async_trait;
use lettre::address::{Address, Envelope};
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use serde_json::json;

use super::ShopsError;
use super::email::OUR_MARK;
use crate::domain::{Mailer, Outgoing, Secret, Verdict};

/// Longest text of a mail, in bytes.
const MOST_BYTES: usize = 256 << 10;
/// So many Message-IDs of a conversation are named.
const MOST_REFERENCES: usize = 20;

/// How the way to the mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// Plain at first, then TLS before anything is said; usually port 587.
    #[default]
    Starttls,
    /// TLS from the first byte; usually port 465.
    Tls,
    /// None: only to this machine.
    None,
}

/// How a shop sends mail.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// The server's name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is protected.
    pub security: Security,
    /// User and password, where the server wants them.
    pub login: Option<(String, Secret)>,
    /// Who it is from: `Acme <hello@acme.example>`.
    pub from: String,
    /// How long connecting, and then sending, may take.
    pub timeout: Duration,
}

/// A shop's way to send mail over SMTP.
pub struct SmtpMailer {
    host: String,
    port: u16,
    security: Security,
    tls: TlsParameters,
    login: Option<Credentials>,
    from: Mailbox,
    timeout: Duration,
}

impl SmtpMailer {
    /// Sets the way up; nothing is connected yet.
    ///
    /// # Errors
    /// [`ShopsError`] where the settings cannot work.
    pub fn new(settings: MailSettings) -> Result<Self, ShopsError> {
        let wrong = |setting, value: &str, problem: &str| ShopsError::Setting {
            setting,
            value: value.to_owned(),
            problem: problem.to_owned(),
        };
        let from = settings.from.parse().map_err(|_| {
            wrong("mail.from", &settings.from, "it is not an address; write `Acme <hello@acme.example>`")
        })?;
        let here = matches!(settings.host.as_str(), "127.0.0.1" | "::1" | "localhost");
        if settings.security == Security::None && !here {
            let problem = "mail without TLS goes to this machine only; set `mail.security` to `starttls` or `tls`";
            return Err(wrong("mail.host", &settings.host, problem));
        }
        let tls = TlsParameters::new(settings.host.clone())
            .map_err(|error| wrong("mail.host", &settings.host, &error.to_string()))?;
        let login = settings.login.map(|(user, password)| Credentials::new(user, password.reveal().to_owned()));
        let (host, port, security, timeout) = (settings.host, settings.port, settings.security, settings.timeout);
        Ok(Self { host, port, security, tls, login, from, timeout })
    }

    /// Everything up to the server's word that it will take the mail's bytes.
    async fn prepare(&self, envelope: &Envelope) -> Result<AsyncSmtpConnection, SmtpError> {
        let hello = ClientId::default();
        let wrapper = (self.security == Security::Tls).then(|| self.tls.clone());
        let server = (self.host.as_str(), self.port);
        let mut smtp = AsyncSmtpConnection::connect_tokio1(server, Some(self.timeout), &hello, wrapper, None).await?;
        if self.security == Security::Starttls {
            smtp.starttls(self.tls.clone(), &hello).await?;
        }
        if let Some(login) = &self.login {
            smtp.auth(DEFAULT_MECHANISMS, login).await?;
        }
        smtp.command(Mail::new(envelope.from().cloned(), Vec::new())).await?;
        for to in envelope.to() {
            smtp.command(Rcpt::new(to.clone(), Vec::new())).await?;
        }
        smtp.command(Data).await?;
        Ok(smtp)
    }

    fn compose(&self, mail: &Outgoing) -> Result<(lettre::Message, String), String> {
        if mail.text.len() > MOST_BYTES {
            return Err(format!("the text is longer than {} KiB", MOST_BYTES >> 10));
        }
        let to: Address = mail.to.trim().parse().map_err(|_| "it is not an e-mail address".to_owned())?;
        if !to.to_string().is_ascii() {
            return Err("addresses with letters beyond ASCII cannot be written to".to_owned());
        }
        // A bare key becomes an id of the sender's own domain.
        let id = match mail.message_id.contains('@') {
            true => mail.message_id.clone(),
            false => format!("{}@{}", mail.message_id, self.from.email.domain()),
        };
        let token = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>');
        if !token(&id) {
            return Err("its Message-ID holds what may not stand in one".to_owned());
        }
        let one_line: String = mail.subject.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let mut message = lettre::Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(one_line.trim())
            .message_id(Some(format!("<{id}>")));
        // Mail servers of others write ids of all kinds; one that cannot be repeated safely is left out.
        let answered = mail.in_reply_to.as_deref().filter(|answered| token(answered));
        if let Some(answered) = answered {
            message = message.in_reply_to(format!("<{answered}>"));
        }
        let thread: Vec<String> =
            mail.references.iter().filter(|id| token(id)).take(MOST_REFERENCES).map(|id| format!("<{id}>")).collect();
        if !thread.is_empty() {
            message = message.references(thread.join(" "));
        }
        // RFC 3834: no machine is to answer this. Exchange has a word of its own for that; by the last header we know
        // the mail where it comes back.
        let submitted = if answered.is_some() { "auto-replied" } else { "auto-generated" };
        for (name, value) in
            [("Auto-Submitted", submitted), ("X-Auto-Response-Suppress", "OOF, AutoReply"), (OUR_MARK, "sent")]
        {
            let name = HeaderName::new_from_ascii_str(name);
            message = message.raw_header(HeaderValue::new(name, value.to_owned()));
        }
        // Base64 keeps every line short and every byte ASCII, whatever the server can take.
        let part = SinglePart::builder()
            .header(ContentType::TEXT_PLAIN)
            .header(ContentTransferEncoding::Base64)
            .body(mail.text.clone());
        let message = message.singlepart(part).map_err(|error| error.to_string())?;
        Ok((message, id))
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Outgoing) -> Verdict {
        let (message, id) = match self.compose(mail) {
            Ok(composed) => composed,
            Err(problem) => return Verdict::refused("bad_address", format!("the mail cannot be sent: {problem}")),
        };
        let prepared = tokio::time::timeout(self.timeout, self.prepare(message.envelope())).await;
        let mut smtp = match prepared {
            Ok(Ok(smtp)) => smtp,
            Ok(Err(error)) => return not_sent(&error),
            Err(_) => return Verdict::RetryAfter(None, "the mail server took too long".into()),
        };
        let sent = tokio::time::timeout(self.timeout, smtp.message(&message.formatted())).await;
        let verdict = match sent {
            Ok(Ok(_)) => Verdict::Done(json!({ "message_id": id })),
            Ok(Err(error)) if error.status().is_some() => not_sent(&error),
            Ok(Err(error)) => Verdict::Unknown(format!("the mail server's answer was lost: {}", error)),
            Err(_) => Verdict::Unknown("the mail server did not answer in time".into()),
        };
        // A goodbye that fails changes nothing.
        let _ = tokio::time::timeout(Duration::from_secs(1), smtp.abort()).await;
        verdict
    }
}

/// What an error means that came while nothing had been sent yet, or as the server's own answer.
fn not_sent(error: &SmtpError) -> Verdict {
    // lettre's own text holds the cause already.
    let said = error.to_string();
    match error.status().map(u16::from) {
        Some(code @ (530 | 534 | 535 | 538)) => Verdict::refused(
            "mail_login",
            format!("the mail server refused the login ({code}): check `mail.user` and `mail.password`: {said}"),
        ),
        Some(500..) => Verdict::refused("mail_refused", format!("the mail server refused: {said}")),
        // A server without STARTTLS or without a login we know will not have it in five seconds either.
        None if error.is_client() || error.is_tls() => {
            Verdict::refused("mail_setup", format!("the mail server cannot be used: {said}"))
        }
        _ => Verdict::RetryAfter(None, format!("the mail was not sent: {said}")),
    }
}
