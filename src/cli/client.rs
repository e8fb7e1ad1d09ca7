//! Talking to a running server.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value as Json;

use super::Hinted;

/// The largest answer that is read, in bytes.
const MOST_ANSWER_BYTES: usize = 64 << 20;

/// Which server to ask, and as whom.
#[derive(Debug, Default, Args)]
pub(super) struct Server {
    /// The server [default: $STOREHAND_URL, else http://127.0.0.1:8411]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// What a server answered.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) event_ids: String,
    pub(super) body: Vec<u8>,
}

impl Server {
    /// The address of a page.
    pub(super) fn address(&self, path: &str) -> String {
        let base = self.url.clone().or_else(|| std::env::var("STOREHAND_URL").ok());
        format!("{}{path}", base.as_deref().unwrap_or("http://127.0.0.1:8411").trim_end_matches('/'))
    }

    /// Asks a question, with the token of `$STOREHAND_TOKEN`.
    pub(super) async fn ask(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Json> {
        let mut address = reqwest::Url::parse(&self.address(path)).context("--url is not an address")?;
        address.query_pairs_mut().extend_pairs(query);
        understood(client()?.get(address).bearer_auth(token()?)).await
    }

    /// Has something done, with the token of `$STOREHAND_TOKEN`: `place` is the page's path, part by part.
    pub(super) async fn tell(&self, place: &[&str], query: &[(&str, &str)], what: &Json) -> anyhow::Result<Json> {
        let mut address = reqwest::Url::parse(&self.address("/")).context("--url is not an address")?;
        let parts = address.path_segments_mut();
        parts.map_err(|()| anyhow::anyhow!("--url is not an address"))?.pop_if_empty().extend(place);
        address.query_pairs_mut().extend_pairs(query);
        understood(client()?.post(address).bearer_auth(token()?).json(what)).await
    }
}

fn token() -> Result<String, Hinted> {
    std::env::var("STOREHAND_TOKEN").map_err(|_| {
        Hinted::new(
            "$STOREHAND_TOKEN is not set",
            "`storehand token new NAME` makes a token; put it into STOREHAND_TOKEN",
        )
    })
}

async fn understood(request: RequestBuilder) -> anyhow::Result<Json> {
    let answered = send(request).await?;
    serde_json::from_slice(&answered.body).context("the server's answer is not JSON: is this Storehand?")
}

/// A client without proxies and redirects: what it sends is for that server alone.
pub(super) fn client() -> anyhow::Result<Client> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Who is first has set the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let built = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .build();
    built.context("TLS cannot be set up")
}

/// Sends a request; an answer that is not good becomes an error with the server's own hint.
pub(super) async fn send(request: RequestBuilder) -> anyhow::Result<Answered> {
    let mut response = request.send().await.map_err(|error| {
        let hint = "is the server running (`storehand serve`), and is --url its address?";
        anyhow::Error::from(error.without_url()).context(Hinted::new("no answer from the server", hint))
    })?;
    let status = response.status();
    let event_ids = response.headers().get("storehand-event-ids").and_then(|ids| ids.to_str().ok());
    let event_ids = event_ids.unwrap_or_default().to_owned();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.context("the answer broke off")? {
        anyhow::ensure!(body.len() + chunk.len() <= MOST_ANSWER_BYTES, "the answer is too large");
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(Answered { status, event_ids, body });
    }
    let problem: Json = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    Err(Hinted::new(format!("{status}: {}: {}", text("title"), text("detail")), text("hint")).into())
}
