//! The outside world: a shop's orders and a mail box. The test holds it; the lives that are killed ask it over a socket,
//! a line of JSON to and fro, and what they asked for is done whether or not they hear the answer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value as Json, json};
use storehand::domain::{Cancellation, Mailer, Order, Outgoing, Platform, Verdict};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

/// What there is outside. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Outside(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) orders: BTreeMap<String, Order>,
    pub(crate) mails: Vec<Outgoing>,
    /// Calls that were left unknown, each with whether it had happened.
    pub(crate) unknown: Vec<(String, bool)>,
}

impl Outside {
    /// A shop with these orders and an empty mail box.
    pub(crate) fn of(orders: impl IntoIterator<Item = Order>) -> Self {
        let named = orders.into_iter().filter_map(|order| Some((order.id.as_deref()?.to_owned(), order)));
        Self(Arc::new(Mutex::new(State { orders: named.collect(), ..State::default() })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers, one after another, until it is told to end. Returns the port.
    pub(crate) fn serve(&self) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let outside = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Who was killed before it had asked has asked for nothing.
                if outside.serve_one(&stream).is_ok_and(|asked| asked["op"] == "end") {
                    return;
                }
            }
        });
        port
    }

    fn serve_one(&self, mut stream: &TcpStream) -> std::io::Result<Json> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let asked: Json = serde_json::from_str(&line)?;
        let answer = self.answer(&asked);
        // Whether it is heard is not this side's to know.
        let _ = writeln!(stream, "{answer}");
        Ok(asked)
    }

    fn answer(&self, asked: &Json) -> Json {
        let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
        let State { orders, mails, unknown } = &mut *self.state();
        let order = orders.get_mut(&text("id"));
        match (text("op").as_str(), order) {
            ("order", order) => json!(order),
            ("tag", Some(order)) => {
                for tag in tags(asked) {
                    if !order.tags.iter().any(|known| **known == *tag) {
                        order.tags.push(tag.into());
                    }
                }
                json!({ "tags": order.tags })
            }
            ("untag", Some(order)) => {
                let gone = tags(asked);
                order.tags.retain(|tag| !gone.iter().any(|gone| **gone == **tag));
                json!({ "tags": order.tags })
            }
            ("cancel", Some(order)) => {
                order.status = Some("cancelled".into());
                json!({ "status": "cancelled" })
            }
            ("note", Some(order)) => {
                order.note = Some(text("note").into());
                json!({ "note": order.note })
            }
            ("mail", _) => {
                let message_id = text("message_id");
                mails.push(Outgoing {
                    to: text("to"),
                    subject: text("subject"),
                    text: text("text"),
                    message_id: message_id.clone(),
                    in_reply_to: None,
                    references: Vec::new(),
                });
                json!({ "message_id": format!("{message_id}@acme.example") })
            }
            // A person looks into the mail box.
            ("arrived", _) => {
                let arrived = mails.iter().any(|mail| mail.message_id == text("message_id"));
                unknown.push((text("call"), arrived));
                json!(arrived)
            }
            (_, _) => Json::Null,
        }
    }

    /// Returns when all is done that was asked before.
    pub(crate) fn catch_up(port: u16) {
        tell(port, &json!({ "op": "wait" }));
    }

    /// It is over.
    pub(crate) fn end(port: u16) {
        tell(port, &json!({ "op": "end" }));
    }
}

fn tags(asked: &Json) -> Vec<String> {
    asked["tags"].as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

fn tell(port: u16, what: &Json) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the outside world");
    writeln!(stream, "{what}").expect("told");
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).expect("an answer");
}

/// The way out of a life.
pub(crate) struct Line(pub(crate) u16);

impl Line {
    pub(crate) async fn ask(&self, what: &Json) -> Result<Json, Verdict> {
        let asking = async {
            let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.0)).await?;
            stream.write_all(format!("{what}\n").as_bytes()).await?;
            let mut line = String::new();
            tokio::io::BufReader::new(stream).read_line(&mut line).await?;
            Ok::<_, std::io::Error>(serde_json::from_str(&line)?)
        };
        asking.await.map_err(|error| Verdict::Unknown(error.to_string()))
    }

    async fn change(&self, what: &Json) -> Verdict {
        match self.ask(what).await {
            Ok(Json::Null) => Verdict::refused("not_found", format!("there is no such order: {what}")),
            Ok(answer) => Verdict::Done(answer),
            Err(verdict) => verdict,
        }
    }
}

#[async_trait]
impl Platform for Line {
    fn name(&self) -> &'static str {
        "outside"
    }

    async fn order(&self, id: &str) -> Result<Option<Order>, Verdict> {
        let order = self.ask(&json!({ "op": "order", "id": id })).await?;
        serde_json::from_value(order).map_err(|error| Verdict::refused("not_understood", error.to_string()))
    }

    async fn tag_order(&self, id: &str, tags: &[String]) -> Verdict {
        self.change(&json!({ "op": "tag", "id": id, "tags": tags })).await
    }

    async fn untag_order(&self, id: &str, tags: &[String]) -> Verdict {
        self.change(&json!({ "op": "untag", "id": id, "tags": tags })).await
    }

    async fn cancel_order(&self, id: &str, _how: &Cancellation) -> Verdict {
        self.change(&json!({ "op": "cancel", "id": id })).await
    }

    async fn write_note(&self, id: &str, note: &str) -> Verdict {
        self.change(&json!({ "op": "note", "id": id, "note": note })).await
    }
}

#[async_trait]
impl Mailer for Line {
    async fn send(&self, mail: &Outgoing) -> Verdict {
        let Outgoing { to, subject, text, message_id, .. } = mail;
        let mail = json!({ "op": "mail", "to": to, "subject": subject, "text": text, "message_id": message_id });
        self.change(&mail).await
    }
}
