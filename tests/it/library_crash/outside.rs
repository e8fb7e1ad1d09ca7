//! The outside world: a shop with its orders, customers and products, and a mail box. The test holds it; the lives that are killed ask it over a socket,
//! a line of JSON to and fro, and what they asked for is done whether or not they hear the answer.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value as Json, json};
use storehand::domain::{
    Cancellation, Customer, Hold, Mailer, Order, Outgoing, Platform, Product, ProductChange, RecordKey, RefundOrder,
    Text, Verdict,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

/// What there is outside. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Outside(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) orders: BTreeMap<String, Order>,
    pub(crate) customers: BTreeMap<String, Customer>,
    /// By customer: what the shop has noted about them.
    pub(crate) notes: BTreeMap<String, String>,
    pub(crate) products: BTreeMap<String, Product>,
    /// By order: what holds it, by the hold's handle, with the note that says why.
    pub(crate) holds: BTreeMap<String, BTreeMap<String, String>>,
    /// By key: for which order, and how much.
    pub(crate) refunds: BTreeMap<String, [String; 2]>,
    pub(crate) mails: Vec<Outgoing>,
    /// Calls that were left unknown, each with whether it had happened.
    pub(crate) unknown: Vec<(String, bool)>,
}

impl Outside {
    /// A shop with these records and an empty mail box. Of those with the same id the last counts.
    pub(crate) fn of(orders: Vec<Order>, customers: Vec<Customer>, products: Vec<Product>) -> Self {
        fn named<T>(all: Vec<T>, id: impl Fn(&T) -> Option<&Text>) -> BTreeMap<String, T> {
            all.into_iter().filter_map(|one| Some((id(&one)?.to_string(), one))).collect()
        }
        Self(Arc::new(Mutex::new(State {
            orders: named(orders, |order| order.id.as_ref()),
            customers: named(customers, |customer| customer.id.as_ref()),
            products: named(products, |product| product.id.as_ref()),
            ..State::default()
        })))
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
        let mut state = self.state();
        match text("op").as_str() {
            "mail" => {
                let message_id = text("message_id");
                state.mails.push(Outgoing {
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
            "arrived" => {
                let arrived = state.mails.iter().any(|mail| mail.message_id == text("message_id"));
                state.unknown.push((text("call"), arrived));
                json!(arrived)
            }
            op => match text("of").as_str() {
                "customer" => state.about_customer(op, &text("id"), asked),
                "product" => state.about_product(op, &text("id"), asked),
                _ => state.about_order(op, &text("id"), asked),
            }
            .unwrap_or_default(),
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

impl State {
    /// `None` where there is no such order.
    fn about_order(&mut self, op: &str, id: &str, asked: &Json) -> Option<Json> {
        let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
        let order = self.orders.get_mut(id)?;
        let holds = self.holds.entry(id.to_owned()).or_default();
        Some(match op {
            "read" => json!(order),
            "tag" => add(&mut order.tags, asked),
            "untag" => remove(&mut order.tags, asked),
            "cancel" => {
                order.status = Some("cancelled".into());
                json!({ "status": "cancelled" })
            }
            "note" => {
                order.note = Some(text("note").into());
                json!({ "note": order.note })
            }
            "hold" => {
                holds.insert(text("handle"), text("note"));
                json!({ "held": 1, "handle": text("handle") })
            }
            "release" => {
                let before = holds.len();
                holds.retain(|handle, _| !asked["handle"].is_null() && *handle != text("handle"));
                json!({ "released": before - holds.len() })
            }
            // The same key gives back once.
            "refund" => {
                self.refunds.entry(text("key")).or_insert_with(|| [id.to_owned(), text("amount")]);
                json!({ "refund_id": text("key"), "amount": text("amount") })
            }
            _ => return None,
        })
    }

    /// `None` where there is no such customer.
    fn about_customer(&mut self, op: &str, id: &str, asked: &Json) -> Option<Json> {
        let customer = self.customers.get_mut(id)?;
        let note = self.notes.entry(id.to_owned()).or_default();
        Some(match op {
            "read" => json!(customer),
            "tag" => add(&mut customer.tags, asked),
            "untag" => remove(&mut customer.tags, asked),
            "note" => {
                asked["note"].as_str().unwrap_or_default().clone_into(note);
                json!({ "note": note })
            }
            "read_note" => json!(note),
            _ => return None,
        })
    }

    /// `None` where there is no such product.
    fn about_product(&mut self, op: &str, id: &str, asked: &Json) -> Option<Json> {
        let product = self.products.get_mut(id)?;
        Some(match op {
            "read" => json!(product),
            "tag" => add(&mut product.tags, asked),
            "untag" => remove(&mut product.tags, asked),
            "update" => {
                let mut whole = json!(product);
                for (field, value) in asked["change"].as_object()? {
                    whole[field.as_str()] = value.clone();
                }
                *product = serde_json::from_value(whole).ok()?;
                json!(product)
            }
            _ => return None,
        })
    }
}

fn add(to: &mut Vec<Text>, asked: &Json) -> Json {
    for tag in tags(asked) {
        if !to.iter().any(|known| **known == *tag) {
            to.push(tag.into());
        }
    }
    json!({ "tags": to })
}

fn remove(from: &mut Vec<Text>, asked: &Json) -> Json {
    let gone = tags(asked);
    from.retain(|tag| !gone.iter().any(|gone| **gone == **tag));
    json!({ "tags": from })
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
            Ok(Json::Null) => Verdict::refused("not_found", format!("there is no such thing: {what}")),
            Ok(answer) => Verdict::Done(answer),
            Err(verdict) => verdict,
        }
    }
}

fn not_understood(error: serde_json::Error) -> Verdict {
    Verdict::refused("not_understood", error.to_string())
}

#[async_trait]
impl Platform for Line {
    fn name(&self) -> &'static str {
        "outside"
    }

    async fn order(&self, id: &str) -> Result<Option<Order>, Verdict> {
        let order = self.ask(&json!({ "op": "read", "id": id })).await?;
        serde_json::from_value(order).map_err(not_understood)
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

    async fn hold_order(&self, id: &str, hold: &Hold) -> Verdict {
        self.change(&json!({ "op": "hold", "id": id, "handle": hold.handle, "note": hold.note })).await
    }

    async fn release_order(&self, id: &str, handle: Option<&str>) -> Verdict {
        self.change(&json!({ "op": "release", "id": id, "handle": handle })).await
    }

    async fn refund_order(&self, refund: &RefundOrder, key: &str) -> Verdict {
        let RefundOrder { order_id, amount, .. } = refund;
        self.change(&json!({ "op": "refund", "id": order_id, "amount": amount.to_string(), "key": key })).await
    }

    async fn customer(&self, id: &str) -> Result<Option<Customer>, Verdict> {
        let customer = self.ask(&json!({ "op": "read", "of": "customer", "id": id })).await?;
        serde_json::from_value(customer).map_err(not_understood)
    }

    async fn customer_note(&self, id: &str) -> Result<Option<String>, Verdict> {
        let note = self.ask(&json!({ "op": "read_note", "of": "customer", "id": id })).await?;
        serde_json::from_value(note).map_err(not_understood)
    }

    async fn write_customer_note(&self, id: &str, note: &str) -> Verdict {
        self.change(&json!({ "op": "note", "of": "customer", "id": id, "note": note })).await
    }

    async fn product(&self, id: &str) -> Result<Option<Product>, Verdict> {
        let product = self.ask(&json!({ "op": "read", "of": "product", "id": id })).await?;
        serde_json::from_value(product).map_err(not_understood)
    }

    async fn update_product(&self, id: &str, change: &ProductChange) -> Verdict {
        self.change(&json!({ "op": "update", "of": "product", "id": id, "change": change })).await
    }

    async fn add_tags(&self, to: &RecordKey, tags: &[String]) -> Verdict {
        self.change(&json!({ "op": "tag", "of": to.kind.as_str(), "id": to.id, "tags": tags })).await
    }

    async fn remove_tags(&self, from: &RecordKey, tags: &[String]) -> Verdict {
        self.change(&json!({ "op": "untag", "of": from.kind.as_str(), "id": from.id, "tags": tags })).await
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
