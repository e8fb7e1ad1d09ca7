//! What settings can hold, and how each is written.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value as Json;

use super::layers::{Data, Node, Origin, Resolve, Surroundings, parse};
use super::{Enabled, Operators, Security};
use crate::domain::{Currency, Money, MoneyRate, ParseMoneyError, ParseRateError, Rate, Secret, parse_duration};

/// The largest file that a secret is read from, in bytes.
const MOST_SECRET_BYTES: u64 = 64 * 1024;

/// Something that a setting can hold.
pub(super) trait Readable: Sized {
    /// What must be written, for people.
    const WANTED: &str;
    fn read(node: &Node, around: &Surroundings<'_>) -> Result<Self, String>;
    fn shown(node: &Node) -> String {
        node.shown()
    }
}

fn text_of(node: &Node) -> Result<&str, String> {
    match &node.data {
        Data::Text(text) => Ok(text),
        _ => Err(format!("{} is not a text", node.shown())),
    }
}

impl Readable for String {
    const WANTED: &str = "a text";
    fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
        text_of(node).map(str::to_owned)
    }
}

impl Readable for i64 {
    const WANTED: &str = "a whole number";
    fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
        match (&node.data, &node.origin) {
            (Data::Int(number), _) => Ok(*number),
            (Data::Text(text), Origin::Env(_)) => text.trim().parse().map_err(|_| format!("`{text}` is no number")),
            _ => Err(format!("{} is not a whole number", node.shown())),
        }
    }
}

/// A size in bytes.
pub(super) struct Bytes(pub(super) usize);

impl Readable for Bytes {
    const WANTED: &str = "a size such as \"512 KiB\" or \"1 MiB\"";
    fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
        let text = text_of(node)?;
        let wrong = || format!("`{text}` is not a size");
        let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let unit = match text.trim()[digits.len()..].trim() {
            "B" => 1,
            "KiB" => 1024,
            "MiB" => 1024 * 1024,
            "GiB" => 1024 * 1024 * 1024,
            _ => return Err(wrong()),
        };
        digits.parse::<usize>().ok().and_then(|number| number.checked_mul(unit)).map(Self).ok_or_else(wrong)
    }
}

impl Readable for Duration {
    const WANTED: &str = "a time such as \"250ms\", \"10s\", \"5m\" or \"24h\", at most a day";
    fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
        let text = text_of(node)?;
        let parsed: Option<SignedDuration> = text.parse().ok();
        parsed
            .and_then(|it| Self::try_from(it).ok())
            .filter(|it| !it.is_zero() && *it <= Self::from_secs(24 * 3600))
            .ok_or_else(|| format!("`{text}` is not such a time"))
    }
}

impl Readable for PathBuf {
    const WANTED: &str = "a path";
    fn read(node: &Node, around: &Surroundings<'_>) -> Result<Self, String> {
        match text_of(node)? {
            "" => Err("the path is empty".to_owned()),
            text => Ok(around.path(text, &node.origin)),
        }
    }
}

macro_rules! readable_from_str {
    ($($type:ty: $wanted:literal;)*) => {$(
        impl Readable for $type {
            const WANTED: &str = $wanted;
            fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
                let text = text_of(node)?;
                text.trim().parse().map_err(|error| format!("`{text}`: {error}"))
            }
        }
    )*};
}

readable_from_str! {
    SocketAddr: "an address and a port, such as \"127.0.0.1:8411\"";
    Currency: "an ISO 4217 code, such as \"EUR\"";
}

impl<T: Readable> Readable for Vec<T> {
    const WANTED: &str = T::WANTED;
    fn read(node: &Node, around: &Surroundings<'_>) -> Result<Self, String> {
        match (&node.data, &node.origin) {
            (Data::List(items), _) => items.iter().map(|item| T::read(item, around)).collect(),
            (Data::Text(text), Origin::Env(_)) if text.trim_start().starts_with('[') => {
                let line = format!("it = {text}");
                let parsed = parse(&line, |_| node.origin.clone());
                let list = parsed.ok().and_then(|it| match it.data {
                    Data::Table(mut table) => table.remove("it"),
                    _ => None,
                });
                match list {
                    Some(list @ Node { data: Data::List(_), .. }) => Self::read(&list, around),
                    _ => Err("this begins like a list and is none".to_owned()),
                }
            }
            // One is a list of one.
            _ => Ok(vec![T::read(node, around)?]),
        }
    }
    fn shown(node: &Node) -> String {
        match &node.data {
            Data::List(items) => format!("[{}]", items.iter().map(T::shown).collect::<Vec<_>>().join(", ")),
            _ => T::shown(node),
        }
    }
}

impl Readable for Secret {
    const WANTED: &str = "a secret: \"env:NAME\", \"file:PATH\" or the secret itself, and never an empty one";
    fn read(node: &Node, around: &Surroundings<'_>) -> Result<Self, String> {
        // The value itself must not get into an error.
        let text = text_of(node).map_err(|_| "this is not a text".to_owned())?;
        if around.resolve == Resolve::NoSecrets {
            return Ok(Self::new(""));
        }
        let found = if let Some(name) = text.strip_prefix("env:") {
            around.variables.get(name).cloned().ok_or_else(|| format!("the variable {name} is not set"))?
        } else if let Some(path) = text.strip_prefix("file:") {
            read_secret_file(&around.path(path, &node.origin))?
        } else {
            text.to_owned()
        };
        if found.trim().is_empty() { Err("the secret is empty".to_owned()) } else { Ok(Self::new(found)) }
    }
    fn shown(node: &Node) -> String {
        match &node.data {
            Data::Text(text) if text.starts_with("env:") || text.starts_with("file:") => format!("••• ({text})"),
            _ => "•••".to_owned(),
        }
    }
}

fn read_secret_file(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(MOST_SECRET_BYTES).read_to_string(&mut text).map_err(cannot)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

impl Readable for Json {
    const WANTED: &str = "a text, a number, true or false, or a list of them";
    /// A number with a point stays a text: no amount goes through a float.
    fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
        as_json(node).ok_or_else(|| "there is a table in this".to_owned())
    }
}

fn as_json(node: &Node) -> Option<Json> {
    Some(match &node.data {
        Data::Text(text) | Data::Other(text) => text.as_str().into(),
        Data::Int(number) => (*number).into(),
        Data::Bool(flag) => (*flag).into(),
        Data::List(items) => items.iter().map(as_json).collect::<Option<_>>()?,
        Data::Table(_) => return None,
    })
}

macro_rules! readable_words {
    ($($type:ident: $wanted:literal, $($word:literal => $variant:ident),*;)*) => {$(
        impl Readable for $type {
            const WANTED: &str = $wanted;
            fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
                match text_of(node)? {
                    $($word => Ok(Self::$variant),)*
                    other => Err(format!("`{other}` is none of the words")),
                }
            }
        }
    )*};
}

readable_words! {
    Enabled: "\"auto\", \"on\" or \"off\"", "auto" => Auto, "on" => On, "off" => Off;
    Operators: "\"own\" or \"library\"", "own" => Own, "library" => Library;
    Security: "\"starttls\", \"tls\" or \"none\"", "starttls" => Starttls, "tls" => Tls, "none" => None;
}

/// How often at the most, or `off`.
#[derive(Default)]
pub(super) struct OrOff(pub(super) Option<Rate>);

impl Readable for OrOff {
    const WANTED: &str = "a count and a time such as \"200/h\" or \"2/7d\", or \"off\"";
    fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
        match text_of(node)?.trim() {
            "off" => Ok(Self(None)),
            text => text.parse().map(|rate| Self(Some(rate))).map_err(|error: ParseRateError| error.to_string()),
        }
    }
}

/// How long something is kept, or `forever`.
#[derive(Default)]
pub(super) struct Keep(pub(super) Option<SignedDuration>);

impl Readable for Keep {
    const WANTED: &str = "a length of time such as \"90d\" or \"2w\", or \"forever\"";
    fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
        let text = text_of(node)?.trim();
        if text == "forever" {
            return Ok(Self(None));
        }
        let keep = parse_duration(text)?;
        if keep < Duration::from_secs(86_400) {
            return Err("write at least a day (`1d`)".to_owned());
        }
        SignedDuration::try_from(keep).map(|keep| Self(Some(keep))).map_err(|error| error.to_string())
    }
}

/// How often something is done, or `off`.
#[derive(Default)]
pub(super) struct Often(pub(super) Option<Duration>);

impl Readable for Often {
    const WANTED: &str = "a time such as \"15m\", at least a minute and at most a day, or \"off\"";
    fn read(node: &Node, around: &Surroundings<'_>) -> Result<Self, String> {
        if text_of(node)?.trim() == "off" {
            return Ok(Self(None));
        }
        let often = Duration::read(node, around)?;
        let enough = often >= Duration::from_secs(60);
        if enough { Ok(Self(Some(often))) } else { Err("less than a minute is too often".to_owned()) }
    }
}

/// How much money at the most, or `off`.
#[derive(Default)]
pub(super) struct MoneyFuse(pub(super) Option<Amount>);

/// Money in a currency, or in whatever a shop's own is.
pub(super) enum Amount {
    In(MoneyRate),
    InOwn(MoneyRate),
}

impl Amount {
    /// The same, in the shop's currency where it says none.
    pub(super) fn in_own(self, own: Currency) -> MoneyRate {
        match self {
            Self::In(rate) => rate,
            Self::InOwn(rate) => MoneyRate { most: Money::new(rate.most.amount, own), ..rate },
        }
    }
}

impl Readable for MoneyFuse {
    const WANTED: &str =
        "an amount and a time such as \"2000/d\" (in the shop's currency) or \"500 EUR/d\", or \"off\"";
    fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
        let text = text_of(node)?.trim();
        if text == "off" {
            return Ok(Self(None));
        }
        let error = match text.parse() {
            Ok(rate) => return Ok(Self(Some(Amount::In(rate)))),
            Err(error) => error,
        };
        let bare = matches!(error, ParseRateError::Money(ParseMoneyError::Bare(_)));
        // XXX is how ISO 4217 writes that there is no currency.
        let own = text.split_once('/').filter(|_| bare).map(|(amount, time)| format!("{amount} XXX/{time}"));
        match own.map(|text| text.parse()) {
            Some(Ok(rate)) => Ok(Self(Some(Amount::InOwn(rate)))),
            _ => Err(error.to_string()),
        }
    }
}

/// A path that may be empty.
pub(super) struct MaybePath(pub(super) Option<PathBuf>);

impl Readable for MaybePath {
    const WANTED: &str = "a path, or empty";
    fn read(node: &Node, around: &Surroundings<'_>) -> Result<Self, String> {
        let text = text_of(node)?;
        Ok(Self((!text.is_empty()).then(|| around.path(text, &node.origin))))
    }
}

/// Where everything is kept.
#[derive(Default)]
pub(super) struct StoreUrl(pub(super) PathBuf);

impl Readable for StoreUrl {
    const WANTED: &str = "\"sqlite://PATH\"";
    fn read(node: &Node, around: &Surroundings<'_>) -> Result<Self, String> {
        let text = text_of(node)?;
        match text.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() && !path.contains('?') => {
                Ok(Self(around.path(path, &node.origin)))
            }
            Some((scheme, _)) if scheme != "sqlite" => Err(format!("`{scheme}` is not a store that is known")),
            _ => Err(format!("`{text}` names no file")),
        }
    }
}

/// A time zone that this machine knows.
#[derive(Default)]
pub(super) struct TimeZone(pub(super) String);

impl Readable for TimeZone {
    const WANTED: &str = "an IANA time zone such as \"Europe/Berlin\" (known through the system's tzdata)";
    fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
        let text = text_of(node)?;
        jiff::tz::TimeZone::get(text).map_err(|_| format!("`{text}` is not known on this machine"))?;
        Ok(Self(text.to_owned()))
    }
}

/// A mail server.
#[derive(Default)]
pub(super) struct MailUrl {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) tls: bool,
}

impl MailUrl {
    /// Whether it is this machine itself.
    pub(super) fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

impl Readable for MailUrl {
    const WANTED: &str = "\"smtp://USER@HOST:PORT\" or \"smtps://…\", where USER and PORT may be left out";
    fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
        Self::parse(text_of(node)?, &[("smtp", false, 587), ("smtps", true, 465)], "send")
    }
}

/// A mail server to read from.
#[derive(Default)]
pub(super) struct InboxUrl(pub(super) MailUrl);

impl Readable for InboxUrl {
    const WANTED: &str = "\"imaps://USER@HOST:PORT\" or \"imap://…\", where PORT may be left out";
    fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
        MailUrl::parse(text_of(node)?, &[("imap", false, 143), ("imaps", true, 993)], "read").map(Self)
    }
}

/// Where an upstream's API is.
#[derive(Default)]
pub(super) struct UpstreamUrl(pub(super) String);

impl Readable for UpstreamUrl {
    const WANTED: &str = "where its API is, such as \"https://models.example.com/v1\" or \"http://127.0.0.1:8080/v1\"";
    fn read(node: &Node, _: &Surroundings<'_>) -> Result<Self, String> {
        let text = text_of(node)?;
        let url = reqwest::Url::parse(text).map_err(|error| format!("this is no address: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a password stands in the address; write it as `api_key = \"env:NAME\"`".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it goes on behind its path, where nothing may stand".to_owned());
        }
        match url.scheme() {
            "https" => Ok(Self(text.to_owned())),
            "http" if is_near(url.host_str().unwrap_or_default()) => Ok(Self(text.to_owned())),
            "http" => Err("what customers wrote would cross the internet in the clear; write `https://`".to_owned()),
            other => Err(format!("`{other}` is not a way to ask a model")),
        }
    }
}

/// Whether a host is this machine or on a network of one's own: a private address, or a name without a point.
fn is_near(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private() || address.is_link_local(),
        Ok(IpAddr::V6(it)) => it.is_loopback() || it.is_unique_local() || it.is_unicast_link_local(),
        Err(_) => !host.is_empty() && !host.contains('.'),
    }
}

impl MailUrl {
    /// An address with one of these schemes, each with whether it means TLS and with its port. A password in it is
    /// refused without being repeated.
    fn parse(text: &str, schemes: &[(&str, bool, u16)], verb: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("this is no address of a mail server")?;
        let known = schemes.iter().find(|(known, ..)| *known == scheme);
        let &(_, tls, own_port) = known.ok_or_else(|| format!("`{scheme}` is not a way to {verb} mail"))?;
        let (user, server) = rest.rsplit_once('@').map_or((None, rest), |(user, server)| (Some(user), server));
        if user.is_some_and(|user| user.contains(':')) {
            return Err("a password stands in the address; write it as `password = \"env:NAME\"`".to_owned());
        }
        let (host, port) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            None => own_port,
            Some(port) => port.parse().map_err(|_| format!("`{port}` is not a port"))?,
        };
        if host.is_empty() || host.contains(|c: char| !(c.is_ascii_alphanumeric() || ".-:_".contains(c))) {
            return Err(format!("`{host}` is not a host"));
        }
        // In addresses `@` is written `%40`, since many users are called like their mail address.
        let user = user.filter(|user| !user.is_empty()).map(|user| user.replace("%40", "@"));
        Ok(Self { host: host.to_owned(), port, user, tls })
    }
}
