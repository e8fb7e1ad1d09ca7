//! Where deliveries come from: a shop platform's webhooks, verified and read into neutral events.

use jiff::Timestamp;

use super::event::NewEvent;
use super::record::Text;
use super::records::{RecordKey, Records};
use super::secret::Secrets;

/// What came in over HTTP, as it came: nothing in it has been believed yet.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Names (lower case) and values of the headers.
    pub headers: &'a [(String, String)],
    /// The query string's pairs, decoded.
    pub query: &'a [(String, String)],
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// The raw bytes: signatures are over these.
    pub body: &'a [u8],
    /// When it was received.
    pub received: Timestamp,
}

impl<'a> Delivery<'a> {
    /// The first header of this name (given in lower case).
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The delivery, once `check` has found it genuine. The only way to a [`Verified`], and so to an event.
    ///
    /// # Errors
    /// What `check` says.
    pub fn verify(self, check: impl FnOnce(&Self) -> Result<(), Refused>) -> Result<Verified<'a>, Refused> {
        check(&self)?;
        Ok(Verified(self))
    }
}

/// A connection that let us in: one that we opened ourselves, with the shop's own password. What we fetch over it needs
/// no signature, since nobody sent it to us. The second way to a [`Verified`].
#[derive(Debug)]
pub struct LoggedIn<S>(S);

impl<S> LoggedIn<S> {
    /// The session that a login comes to.
    ///
    /// # Errors
    /// What the login says, and then there is none.
    pub async fn by<E>(login: impl Future<Output = Result<S, E>>) -> Result<Self, E> {
        login.await.map(Self)
    }

    /// The session, to ask it for something.
    pub fn session(&mut self) -> &mut S {
        &mut self.0
    }

    /// What this session was asked for and gave.
    pub fn fetched<'a>(&self, body: &'a [u8], received: Timestamp) -> Verified<'a> {
        Verified(Delivery { headers: &[], query: &[], method: "FETCH", body, received })
    }
}

/// A delivery whose signature was checked, or that was fetched where we had to log in.
#[derive(Clone, Copy, Debug)]
pub struct Verified<'a>(Delivery<'a>);

impl<'a> Verified<'a> {
    /// The delivery.
    pub fn delivery(&self) -> &Delivery<'a> {
        &self.0
    }

    /// The body as text.
    ///
    /// # Errors
    /// [`Refused::Malformed`] where it is not UTF-8.
    pub fn text(&self) -> Result<&'a str, Refused> {
        std::str::from_utf8(self.0.body)
            .map_err(|error| Refused::Malformed(format!("the body is not UTF-8 from byte {}", error.valid_up_to())))
    }

    /// An event of this delivery, with what is rarely set left empty.
    pub fn event(
        &self,
        kind: Option<&str>,
        topic: &str,
        subject: &str,
        delivery_key: String,
        payload: String,
    ) -> NewEvent {
        NewEvent {
            kind: kind.map(Text::from),
            topic: topic.into(),
            subject: subject.into(),
            time: self.0.received,
            delivery_key,
            records: Records::default(),
            mentions: Vec::<RecordKey>::new(),
            payload,
            _sealed: (),
        }
    }
}

/// What a delivery turned out to be.
#[derive(Clone, Debug)]
pub struct Received {
    /// Several, one, or none (a ping, a handshake).
    pub events: Vec<NewEvent>,
    /// What the platform wants to hear once the events are on disk.
    pub reply: Reply,
}

/// An answer to a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Content type of `body`; empty where there is none.
    pub content_type: &'static str,
    /// May be empty.
    pub body: Vec<u8>,
}

impl Reply {
    /// 200 and nothing more.
    pub const OK: Self = Self { status: 200, content_type: "", body: Vec::new() };
}

/// Why a delivery was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No signature, or one that none of the secrets made: 401.
    #[error("the signature in `{header}` is missing or was not made with this source's secret")]
    Signature {
        /// Where it should have been.
        header: &'static str,
    },
    /// Not signed with one of the secrets, as a plugin says: 401.
    #[error("{0}")]
    Unsigned(String),
    /// Signed too long ago, or in the future: 401.
    #[error("the delivery was signed {seconds} s away from now; {allowed} s are allowed")]
    Stale {
        /// How far off.
        seconds: i64,
        /// How far off it may be.
        allowed: i64,
    },
    /// Genuine but unreadable: 400.
    #[error("{0}")]
    Malformed(String),
    /// It cannot be looked at just now; it may come again: 503.
    #[error("{0}")]
    Unable(String),
}

/// A shop platform's side that sends: verifies a delivery and says what it means.
pub trait Source: Send + Sync {
    /// As it stands in addresses and configurations: `shopify`.
    fn name(&self) -> &'static str;

    /// Verifies and reads a delivery. Pure: the same delivery gives the same events.
    ///
    /// # Errors
    /// [`Refused`], and then nothing of the delivery is kept.
    fn receive(&self, delivery: Delivery<'_>, secrets: &Secrets) -> Result<Received, Refused>;

    /// Why a topic of the platform is no event of ours, where it is known and deliberately none. What it brings is kept
    /// all the same.
    fn why_unhandled(&self, _topic: &str) -> Option<&'static str> {
        None
    }
}
