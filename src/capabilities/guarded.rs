//! HTTP out of the house to addresses that rules name: public ones only, unless the shop allows another.
//!
//! *Architecture Invariant*: the address is checked as it is written and again as it resolves; no redirects, no proxy,
//! 10 s.

use std::error::Error;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, Url};

use super::public_address::{NotPublic, PublicResolver, is_public};
use crate::domain::{Shop, Verdict};
use crate::outgoing;

pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Ways out, made at the first use: reading the system's authorities takes longer than starting the rest.
#[derive(Default)]
pub(super) struct Guarded(OnceLock<Result<Clients, String>>);

/// One for the public internet, one for what shops allow beyond it.
struct Clients {
    public: Client,
    private: Client,
}

impl Guarded {
    /// The client for an address that the shop allows beyond the public internet, or for any other.
    pub(super) fn client(&self, private: bool) -> Result<&Client, Verdict> {
        let made = self.0.get_or_init(|| {
            let build = |builder: reqwest::ClientBuilder| builder.build().map_err(|error| outgoing::plain(&error));
            let public = build(outgoing::builder(TIMEOUT).dns_resolver(PublicResolver))?;
            Ok(Clients { public, private: build(outgoing::builder(TIMEOUT))? })
        });
        let failed = |problem: &String| Verdict::refused("no_tls", format!("TLS could not be set up: {problem}"));
        let clients = made.as_ref().map_err(failed)?;
        Ok(if private { &clients.private } else { &clients.public })
    }

    /// No answer: whether something happened depends on how far the request came, and matters where a repeat does harm.
    pub(super) fn not_answered(error: &reqwest::Error, repeats_are_harmless: bool) -> Verdict {
        let mut cause: Option<&(dyn Error + 'static)> = error.source();
        while let Some(inner) = cause {
            if let Some(error) = inner.downcast_ref::<NotPublic>() {
                return not_public(error);
            }
            cause = inner.source();
        }
        let said = outgoing::plain(error);
        if error.is_builder() {
            Verdict::refused("invalid_input", said)
        } else if repeats_are_harmless || error.is_connect() {
            Verdict::RetryAfter(None, said)
        } else {
            Verdict::Unknown(said)
        }
    }
}

/// Reads the address and checks what can be checked before a name is looked up. Also says whether the shop allows
/// this host beyond the public internet.
pub(super) fn destination(text: &str, shop: &Shop) -> Result<(Url, bool), Verdict> {
    let wrong = |problem: &str| Verdict::refused("invalid_input", format!("`url` {problem}"));
    let mut url = Url::parse(text).map_err(|error| wrong(&format!("is not an address: {error}")))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(wrong("must begin with `https://` or `http://`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not hold a user or password: name one of the shop's secrets in `secret`"));
    }
    url.set_fragment(None);
    let host = url.host_str().ok_or_else(|| wrong("has no host"))?;
    let port = url.port_or_known_default().unwrap_or_default();
    let named = format!("{host}:{port}");
    if shop.private_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&named)) {
        return Ok((url, true));
    }
    // The parser has turned every spelling of an IPv4 address into four decimal numbers.
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>()
        && !is_public(address)
    {
        return Err(not_public(&NotPublic { host: host.to_owned(), address }));
    }
    Ok((url, false))
}

fn not_public(error: &NotPublic) -> Verdict {
    let hint = "to reach it all the same, add `host:port` to the shop's `private_hosts`";
    Verdict::refused("address_refused", format!("{error}; {hint}"))
}
