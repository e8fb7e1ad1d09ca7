//! HTTP out of the house: one way to set a client up, one way to read an answer within bounds.
//!
//! *Architecture Invariant*: no redirects, no proxy from the environment, always a deadline, never more of an
//! answer than the caller allows.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{ClientBuilder, Response, redirect};

/// A client builder with the house's rules on it. TLS is rustls with ring, and the system's authorities.
pub(crate) fn builder(timeout: Duration) -> ClientBuilder {
    set_provider();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(timeout)
        .connect_timeout(timeout.min(Duration::from_secs(5)))
        .pool_idle_timeout(Duration::from_secs(30))
        .user_agent(concat!("storehand/", env!("CARGO_PKG_VERSION")))
}

/// Sets the process's provider of cryptography, which reqwest and the verifier of certificates take. Whoever sets one
/// first wins, and ours is the only one built in.
pub(crate) fn set_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// Why an answer's body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// Longer than the caller allows.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The connection broke or took too long.
    #[error("the answer broke off: {0}")]
    Broken(String),
}

/// Reads a body of at most `most` bytes.
pub(crate) async fn read(mut response: Response, most: usize) -> Result<Vec<u8>, ReadError> {
    if response.content_length().is_some_and(|length| length > most as u64) {
        return Err(ReadError::TooLong(most));
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= most => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(ReadError::TooLong(most)),
            Ok(None) => return Ok(body),
            Err(error) => return Err(ReadError::Broken(plain(&error))),
        }
    }
}

/// The seconds of a `Retry-After` header; a date in it is not read, the engine's own pause serves.
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    // Shopify writes `2.0`. Nobody is believed for longer than a day.
    let seconds: f64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds.ceil().min(24.0 * 3600.0)).ok()
}

/// An error with its causes and without the address, which may hold what is not for logs.
pub(crate) fn plain(error: &reqwest::Error) -> String {
    let kind = if error.is_timeout() {
        "it took too long"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the request failed"
    };
    let mut text = kind.to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
