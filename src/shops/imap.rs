//! A shop's mailbox, looked into over IMAP: what has come since the last look, as events.
//!
//! Nothing is changed in the mailbox: it is opened to be read only, and a mail that we have read stays unread for the
//! people who work in it. What is new is told by the mails' numbers (UIDs), which only grow; where a server has
//! numbered them anew (another UIDVALIDITY), the mails since the day before the last look are taken, and those that
//! were taken already are known by their Message-IDs.
//!
//! *Architecture Invariant*: a mail is believed to be from this mailbox because we logged in to it
//! ([`LoggedIn`]): over TLS, whose certificate was checked, or on this machine.
//! *Architecture Invariant*: one look, bounded in time and in bytes; who looks again, and when, is decided elsewhere.

mod connection;

use std::time::Duration;

use async_imap::Session;
use async_imap::error::Error as ImapError;
use futures_util::TryStreamExt;
use jiff::Timestamp;

use super::ShopsError;
use super::email::{Came, Mail};
use super::mail::Security;
use crate::domain::{LoggedIn, NewEvent, Secret};
use connection::Bounded;

/// So much of one mail is read, in bytes. Text stands first in a mail, so what is beyond is files.
const MOST_RAW: usize = 4 << 20;
/// So many mails are taken at one look.
const MOST_MAILS: usize = 20;
/// The same, the newest ones, where the server has numbered anew.
const MOST_ANEW: usize = 500;

/// A mailbox and how to get in.
#[derive(Clone, Debug)]
pub struct InboxSettings {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// Who logs in.
    pub user: String,
    /// With what.
    pub password: Secret,
    /// The folder that is looked into: `INBOX`.
    pub folder: String,
    /// The shop's own addresses: mail from them is not a customer's.
    pub own: Vec<String>,
    /// How long one step may take: connecting, logging in, fetching a mail.
    pub timeout: Duration,
}

/// Up to which mail a folder was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The numbers below hold as long as this stays the same.
    pub validity: u32,
    /// The number of the last mail that was taken.
    pub uid: u32,
    /// When that was.
    pub looked: Timestamp,
}

/// What a look came to.
#[derive(Debug)]
pub struct Look {
    /// What is new, oldest first.
    pub events: Vec<NewEvent>,
    /// Mails that could not be read at all.
    pub unreadable: usize,
    /// Where the next look begins, once the events are on disk.
    pub position: Position,
    /// There is more already.
    pub more: bool,
}

/// Why a mailbox cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// Nobody is there, or not in time.
    #[error("no connection to {server}: {problem}\n  hint: check the host and port in `inbox.url`")]
    Connect {
        /// Host and port.
        server: String,
        /// What the system says.
        problem: String,
    },
    /// The connection cannot be protected.
    #[error(
        "TLS with {server} failed: {problem}\n  hint: `security` is \"tls\" on port 993 and \"starttls\" on port 143"
    )]
    Tls {
        /// Host and port.
        server: String,
        /// What TLS says.
        problem: String,
    },
    /// The server does not let us in.
    #[error(
        "{server} does not let `{user}` in: {problem}\n  hint: check user and password; many providers want a password \
         made for programs, and IMAP switched on"
    )]
    Login {
        /// Host and port.
        server: String,
        /// Who tried.
        user: String,
        /// What the server says.
        problem: String,
    },
    /// The folder cannot be opened.
    #[error("the folder `{folder}` cannot be opened: {problem}\n  hint: check `inbox.folder`")]
    Folder {
        /// Its name.
        folder: String,
        /// What the server says.
        problem: String,
    },
    /// It broke off later.
    #[error("the mailbox cannot be read: {0}")]
    Broken(String),
}

/// A shop's mailbox.
#[derive(Clone, Debug)]
pub struct Inbox(InboxSettings);

type In = LoggedIn<Session<Bounded>>;

impl Inbox {
    /// Sets it up; nothing is connected yet.
    ///
    /// # Errors
    /// [`ShopsError`] where a password would cross the network in the clear.
    pub fn new(settings: InboxSettings) -> Result<Self, ShopsError> {
        let here = matches!(settings.host.as_str(), "127.0.0.1" | "::1" | "localhost");
        if settings.security == Security::None && !here {
            return Err(ShopsError::Setting {
                setting: "inbox.url",
                value: settings.host,
                problem: "mail without TLS comes from this machine only; set `inbox.security` to `tls` or `starttls`"
                    .into(),
            });
        }
        Ok(Self(settings))
    }

    /// Which mailbox it is: what was read of another says nothing about it.
    pub fn name(&self) -> String {
        let InboxSettings { host, port, user, folder, .. } = &self.0;
        format!("{user}@{host}:{port}/{folder}")
    }

    /// Logs in and opens the folder, and says how many mails are in it.
    ///
    /// # Errors
    /// [`InboxError`].
    pub async fn try_out(&self) -> Result<u32, InboxError> {
        let mut inbox = self.log_in().await?;
        let folder = self.open(&mut inbox).await?;
        self.log_out(inbox).await;
        Ok(folder.exists)
    }

    /// What is new since `from`. The first look, which has no `from`, takes nothing: what is there already was
    /// somebody else's to answer. `now` is when that is.
    ///
    /// # Errors
    /// [`InboxError`], and then nothing was taken.
    pub async fn look(&self, from: Option<Position>, now: Timestamp) -> Result<Look, InboxError> {
        let mut inbox = self.log_in().await?;
        let folder = self.open(&mut inbox).await?;
        let validity = folder.uid_validity.unwrap_or_default();
        let mut look = Look {
            events: Vec::new(),
            unreadable: 0,
            position: Position { validity, uid: 0, looked: now },
            more: false,
        };
        let same = from.filter(|from| from.validity == validity);
        let query = match (same, from) {
            (Some(from), _) => format!("UID {}:*", from.uid.saturating_add(1)),
            // Dates of arrival may be new where a mailbox has moved, and dates of sending are what people write.
            (None, Some(from)) => {
                let day = from
                    .looked
                    .saturating_sub(jiff::SignedDuration::from_hours(24))
                    .map_err(|it| InboxError::Broken(it.to_string()))?;
                let day = day.strftime("%d-%b-%Y");
                format!("SINCE {day} SENTSINCE {day}")
            }
            (None, None) => "ALL".to_owned(),
        };
        let found = self.timely(inbox.session().uid_search(query)).await?;
        // `n:*` finds the last mail even where its number is below n.
        let after = same.map_or(0, |from| from.uid);
        let mut found: Vec<u32> = found.into_iter().filter(|uid| *uid > after).collect();
        found.sort_unstable();
        let newest = folder.uid_next.map(|next| next.saturating_sub(1)).max(found.last().copied());
        let newest = newest.unwrap_or_default().max(after);
        match (from, same) {
            (None, _) => look.position.uid = newest,
            (Some(_), Some(_)) => {
                let more = found.len() > MOST_MAILS;
                found.truncate(MOST_MAILS);
                look.position.uid = if found.is_empty() { newest } else { after };
                let whole = self.fetch(&mut inbox, &found, &mut look).await?;
                look.more = more || !whole;
            }
            // Older mails may have larger numbers now: only once all of these days' are taken is what is new what has a
            // larger number still.
            (Some(before), None) => {
                found.drain(..found.len().saturating_sub(MOST_ANEW));
                let whole = self.fetch(&mut inbox, &found, &mut look).await?;
                look.more = !whole;
                look.position = if whole { Position { uid: newest, ..look.position } } else { before };
            }
        }
        self.log_out(inbox).await;
        Ok(look)
    }

    /// Fetches mails one after another; `false` where that broke off, and those that were fetched are taken.
    async fn fetch(&self, inbox: &mut In, uids: &[u32], look: &mut Look) -> Result<bool, InboxError> {
        for &uid in uids {
            let query = format!("(UID BODY.PEEK[]<0.{MOST_RAW}>)");
            let fetched = self.timely(async {
                let answers = inbox.session().uid_fetch(uid.to_string(), query).await?;
                answers.try_collect::<Vec<_>>().await
            });
            let fetched = match fetched.await {
                Ok(fetched) => fetched,
                Err(_) if !look.events.is_empty() => return Ok(false),
                Err(error) => return Err(error),
            };
            // Somebody may have taken it out of the folder meanwhile.
            let raw = fetched.iter().filter(|mail| mail.uid == Some(uid)).find_map(|mail| mail.body());
            if let Some(raw) = raw {
                let verified = inbox.fetched(raw, look.position.looked);
                let came = Came { topic: &self.0.folder, recipient: None, envelope_sender: None, own: &self.0.own };
                match Mail::parse(raw) {
                    Some(mail) => look.events.push(mail.event(&verified, &came)),
                    None => look.unreadable += 1,
                }
            }
            look.position.uid = uid;
        }
        Ok(true)
    }

    async fn log_in(&self) -> Result<In, InboxError> {
        let server = || format!("{}:{}", self.0.host, self.0.port);
        let user = self.0.user.as_str();
        let refused = |problem: String| InboxError::Login { server: server(), user: user.to_owned(), problem };
        let connected = self.within(connection::open(&self.0)).await;
        let client =
            connected.ok_or_else(|| InboxError::Connect { server: server(), problem: "it took too long".into() })??;
        let login = async { client.login(user, self.0.password.reveal()).await.map_err(|(error, _)| error) };
        let logged_in = self.within(LoggedIn::by(login)).await;
        let logged_in = logged_in.ok_or_else(|| refused("it took too long".to_owned()))?;
        let mut inbox = logged_in.map_err(|error| match error {
            ImapError::No(said) | ImapError::Bad(said) => refused(plain(&said)),
            other => InboxError::Broken(other.to_string()),
        })?;
        // Some providers (163.com for one) open no folder for a program that does not say what it is.
        let can = self.timely(inbox.session().capabilities()).await?;
        if can.has_str("ID") {
            let id = [("name", Some("storehand")), ("version", Some(env!("CARGO_PKG_VERSION")))];
            self.timely(inbox.session().id(id)).await?;
        }
        Ok(inbox)
    }

    async fn open(&self, inbox: &mut In) -> Result<async_imap::types::Mailbox, InboxError> {
        let folder = connection::folder_name(&self.0.folder);
        let opened = self.within(inbox.session().examine(folder)).await;
        let cannot = |problem| InboxError::Folder { folder: self.0.folder.clone(), problem };
        opened.ok_or_else(|| cannot("it took too long".to_owned()))?.map_err(|error| match error {
            ImapError::No(said) | ImapError::Bad(said) => cannot(plain(&said)),
            other => InboxError::Broken(other.to_string()),
        })
    }

    /// A goodbye that fails changes nothing.
    async fn log_out(&self, mut inbox: In) {
        let _ = tokio::time::timeout(Duration::from_secs(1), inbox.session().logout()).await;
    }

    async fn within<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.0.timeout, step).await.ok()
    }

    async fn timely<T>(&self, step: impl Future<Output = Result<T, ImapError>>) -> Result<T, InboxError> {
        match self.within(step).await {
            None => Err(InboxError::Broken("the server took too long".to_owned())),
            Some(Err(ImapError::No(said) | ImapError::Bad(said))) => Err(InboxError::Broken(plain(&said))),
            Some(answer) => answer.map_err(|error| InboxError::Broken(error.to_string())),
        }
    }
}

/// What a server says, without the form in which the client hands it on.
fn plain(said: &str) -> String {
    let words = said
        .rsplit_once("info: Some(\"")
        .and_then(|(_, rest)| rest.rsplit_once("\")"))
        .map_or(said, |(words, _)| words);
    words.chars().filter(|c| !c.is_control()).take(200).collect()
}
