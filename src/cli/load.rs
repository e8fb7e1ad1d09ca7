//! The load of a benchmark: connections kept alive, on which one delivery after another is sent and waited for.
//!
//! Written on bare sockets, so that the load costs as little as it can beside the server on the same machine.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::domain::Secret;
use crate::shops::signature::sign_shopify;

/// What the bench's shop and its load sign with.
pub(super) const SECRET: &str = "bench-secret";

/// How large an order is at least, in bytes: what a usual one has.
const ORDER_BYTES: usize = 6 * 1024;

/// How long after its end a load waits for the last answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a load came to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    /// Answered with success.
    pub(super) requests: u64,
    /// Answered with 503: come again.
    pub(super) refused: u64,
    pub(super) seconds: f64,
    pub(super) p50_us: u32,
    pub(super) p99_us: u32,
}

impl Measured {
    pub(super) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// A Shopify order of the usual size.
pub(super) fn order() -> Vec<u8> {
    let line = |number: u64| {
        json!({
            "id": 866_550_311_766_439_020_u64 + number, "product_id": 632_910_392_u64, "variant_id": 808_950_810_u64,
            "sku": format!("CUP-{number}"), "title": "Stoneware cup", "name": "Stoneware cup - blue", "quantity": 2,
            "price": "19.90", "total_discount": "0.00", "vendor": "Storehand", "taxable": true, "grams": 420,
            "fulfillment_status": null, "properties": [], "tax_lines": [{ "title": "VAT", "price": "6.35", "rate": 0.19 }],
        })
    };
    let mut lines = vec![line(0)];
    loop {
        let order = json!({
            "id": 820_982_911_946_154_508_u64, "name": "#1042", "order_number": 1042, "currency": "EUR",
            "created_at": "2026-11-23T10:00:00+01:00", "updated_at": "2026-11-23T10:00:00+01:00",
            "financial_status": "paid", "fulfillment_status": null, "total_price": "399.00", "subtotal_price": "389.00",
            "total_tax": "63.70", "total_discounts": "0.00", "email": "ana@example.com", "tags": "", "note": null,
            "customer": { "id": 115_310_627_314_723_954_u64, "email": "ana@example.com", "first_name": "Ana",
                          "last_name": "Silva", "orders_count": 3, "tags": "vip" },
            "line_items": lines,
        });
        let bytes = order.to_string().into_bytes();
        if bytes.len() >= ORDER_BYTES {
            return bytes;
        }
        lines.push(line(lines.len() as u64));
    }
}

/// Digits of a delivery's number in its id.
const DIGITS: usize = 20;

/// A request, and where the number of the delivery stands in it.
fn request(address: SocketAddr) -> (Vec<u8>, usize) {
    let body = order();
    let head = format!(
        "POST /hooks/bench/shopify HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         x-shopify-topic: orders/create\r\nx-shopify-hmac-sha256: {}\r\ncontent-length: {}\r\nx-shopify-webhook-id: ",
        sign_shopify(&Secret::new(SECRET), &body),
        body.len(),
    );
    let at = head.len();
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(&[b'0'; DIGITS]);
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes.extend_from_slice(&body);
    (bytes, at)
}

/// Sends to a server on this machine until the time is over.
pub(super) async fn send(address: SocketAddr, connections: u16, during: Duration) -> anyhow::Result<Measured> {
    ensure!(address.ip().is_loopback(), "load is only sent to this machine");
    let began = Instant::now();
    let end = began + during;
    let sending: Vec<_> =
        (0..connections).map(|number| tokio::spawn(connection(address, u64::from(number), end))).collect();
    let (mut times_us, mut refused) = (Vec::new(), 0);
    let latest = end + PATIENCE;
    for one in sending {
        let one = tokio::time::timeout_at(latest.into(), one).await.context("the server stopped answering")?;
        let (times, some) = one??;
        times_us.extend(times);
        refused += some;
    }
    let seconds = began.elapsed().as_secs_f64();
    times_us.sort_unstable();
    let at = |share: usize| times_us.get(times_us.len() * share / 100).copied().unwrap_or(0);
    Ok(Measured { requests: times_us.len() as u64, refused, seconds, p50_us: at(50), p99_us: at(99) })
}

/// One connection: the times of its deliveries in microseconds, and how many were refused for now.
async fn connection(address: SocketAddr, number: u64, end: Instant) -> anyhow::Result<(Vec<u32>, u64)> {
    let mut stream = TcpStream::connect(address).await.context("no connection")?;
    stream.set_nodelay(true)?;
    let (mut bytes, at) = request(address);
    let (mut times_us, mut refused, mut buffer) = (Vec::new(), 0, Vec::with_capacity(4096));
    for sent in 0_u64.. {
        let began = Instant::now();
        if began >= end {
            break;
        }
        let id = format!("{:0DIGITS$}", number << 40 | sent);
        bytes[at..at + DIGITS].copy_from_slice(id.as_bytes());
        stream.write_all(&bytes).await.context("the server hung up")?;
        match answer(&mut stream, &mut buffer).await? {
            200..=299 => times_us.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX)),
            503 => refused += 1,
            status => bail!("the server answered {status}"),
        }
    }
    Ok((times_us, refused))
}

/// Reads one answer and gives its status.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<u16> {
    buffer.clear();
    loop {
        ensure!(stream.read_buf(buffer).await? > 0, "the server hung up");
        if let Some((status, length)) = parse(buffer)?
            && buffer.len() >= length
        {
            return Ok(status);
        }
        ensure!(buffer.len() < 1 << 20, "the answer is too large");
    }
}

/// Status and whole length of an answer, once its head is there.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).context("the answer's head is not text")?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).context("the answer has no status")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let body = length.context("the answer does not say how long it is")??;
    Ok(Some((status, end + 4 + body)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Delivery, Secrets, Source as _};
    use crate::shops::shopify::Shopify;

    #[test]
    fn what_is_sent_is_a_genuine_order() {
        let (bytes, at) = request("127.0.0.1:1".parse().expect("address"));
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("head");
        assert_eq!(bytes[at..at + DIGITS], [b'0'; DIGITS]);
        let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
        let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        let headers: Vec<_> = head.lines().skip(1).filter_map(pair).collect();
        let body = &bytes[end + 4..];
        let delivery =
            Delivery { headers: &headers, query: &[], method: "POST", body, received: jiff::Timestamp::UNIX_EPOCH };
        let received = Shopify.receive(delivery, &Secrets::new([Secret::new(SECRET)])).expect("genuine");
        assert_eq!(received.events[0].kind.as_deref(), Some("order.created"));
        assert!((ORDER_BYTES..ORDER_BYTES + 1024).contains(&body.len()));
    }

    #[test]
    fn answers_are_read_to_their_end() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(parse(whole).expect("answer"), Some((200, whole.len())));
        assert_eq!(parse(&whole[..20]).expect("answer"), None);
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err() && parse(b"nonsense\r\n\r\n").is_err());
    }
}
