//! Somebody who asks the running server, with a token of their own.

use serde_json::Value as Json;
use storehand::app::StoreTokens;
use storehand::domain::Secret;
use storehand::http::{NewToken, Tokens};

use crate::support::TestApp;

/// A person at the API. The token outlives a restart.
pub(crate) struct Person {
    token: Secret,
    client: reqwest::Client,
}

impl Person {
    /// Somebody of this name; names are taken once a store.
    pub(crate) async fn named(name: &str, it: &TestApp) -> Self {
        let made = NewToken::make(name, it.now()).expect("a token");
        StoreTokens(it.app.store.clone()).add(made.kept).await.expect("the name is free");
        Self { token: made.secret, client: reqwest::Client::new() }
    }

    /// Asks for a page that there is.
    pub(crate) async fn ask(&self, it: &TestApp, path: &str) -> Json {
        let request = self.client.get(format!("http://{}{path}", it.app.address)).bearer_auth(self.token.reveal());
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        answer.json().await.expect("json")
    }

    /// Has something done; the status and what came of it.
    pub(crate) async fn tell(&self, it: &TestApp, path: &str, body: &Json) -> (u16, Json) {
        let request = self.client.post(format!("http://{}{path}", it.app.address)).bearer_auth(self.token.reveal());
        let answer = request.json(body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("json"))
    }

    /// The same, where it must be done.
    pub(crate) async fn does(&self, it: &TestApp, path: &str, body: &Json) -> Json {
        let (status, answer) = self.tell(it, path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}
