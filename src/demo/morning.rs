//! A shop's morning: what is delivered, one after the other.

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::deliveries::{Signed, Signer};
use super::orders::{DemoAddress, DemoCustomer, DemoLine, DemoOrder};
use super::shop::DemoShop;

/// Something that happens in the shop, and the news of it.
pub struct Scene {
    /// What happens, for people.
    pub title: &'static str,
    /// What a look behind the scene should see.
    pub watch_for: &'static str,
    /// The deliveries that tell of it.
    pub deliveries: Vec<Signed>,
}

/// Fills the shop and makes the morning's deliveries.
pub fn morning(shop: &DemoShop, signer: &Signer, now: Timestamp) -> Vec<Scene> {
    let ana = customer(1, ("Ana", "Lopez"), "ana@example.com", "en");
    let ben = customer(2, ("Ben", "Okafor"), "ben@example.com", "en");
    let first = order(1042, &ana, &[("CUP-1", "Stoneware cup", 2, 1450)], now);
    let big = order(1043, &ben, &[("TABLE-2", "Oak table", 1, 59_900), ("CHAIR-4", "Oak chair", 2, 12_900)], now);
    // The shop knows this order; Storehand has never heard of it.
    let earlier = order(1007, &ben, &[("LAMP-3", "Desk lamp", 1, 3900), ("CUP-1", "Stoneware cup", 4, 1450)], now);
    for order in [&first, &big, &earlier] {
        shop.put(order.clone());
    }
    let (item, place) = (808_950_810, 655_441_491);
    let level = |available, seconds: i64| {
        let at = now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(now);
        signer.stock_level(item, place, available, at)
    };
    let message = |from, subject, text, language| signer.message(from, subject, text, language, now);
    vec![
        Scene {
            title: "A new customer orders two cups",
            watch_for: "the model writes the thank-you; what it may not say is held back",
            deliveries: vec![
                signer.customer("customers/create", &ana, 1, now),
                signer.order("orders/create", &first, now),
            ],
        },
        Scene {
            title: "A big order comes in",
            watch_for: "the order gets a tag in the shop",
            deliveries: vec![signer.order("orders/create", &big, now)],
        },
        Scene {
            title: "Ben wants to return a lamp from an earlier order",
            watch_for: "the delivery names the order and nothing more: the rest is read from the shop, once",
            deliveries: vec![signer.return_request(&earlier, &[0], "unwanted", "It is too bright for my desk.", now)],
        },
        Scene {
            title: "Stock of an item falls from 8 to 4, and then to 3",
            watch_for: "it crosses its threshold of 5 once, and the team is told once",
            deliveries: vec![level(8, 0), level(4, 1), level(3, 2)],
        },
        Scene {
            title: "A question in English",
            watch_for: "an answer is written; a number or a promise that nobody gave does not leave",
            deliveries: vec![message(
                "ana@example.com",
                "My cups",
                "Hello! Are the stoneware cups safe to put into a dishwasher? Thank you, Ana",
                "en",
            )],
        },
        Scene {
            title: "A question in Chinese",
            watch_for: "the default model writes no Chinese, so the rule's own Chinese text goes out",
            deliveries: vec![message("li@example.com", "咨询", "您好，请问杯子可以放进洗碗机吗？谢谢！", "zh")],
        },
        Scene {
            title: "Shopify repeats its first delivery",
            watch_for: "nothing: an event is accepted once",
            deliveries: vec![signer.order("orders/create", &first, now)],
        },
    ]
}

fn customer(number: u32, name: (&str, &str), email: &str, locale: &str) -> DemoCustomer {
    DemoCustomer {
        number,
        first_name: name.0.into(),
        last_name: name.1.into(),
        email: email.into(),
        locale: locale.into(),
        tags: Vec::new(),
    }
}

/// An order; prices in cents.
fn order(number: u32, customer: &DemoCustomer, lines: &[(&str, &str, i64, i64)], now: Timestamp) -> DemoOrder {
    let line = |&(sku, name, quantity, cents): &(&str, &str, i64, i64)| DemoLine {
        sku: sku.into(),
        name: name.into(),
        quantity,
        price: Decimal::new(cents, 2),
    };
    DemoOrder {
        number,
        customer: customer.clone(),
        lines: lines.iter().map(line).collect(),
        currency: "EUR".into(),
        shipping: Decimal::new(490, 2),
        tags: Vec::new(),
        note: None,
        address: DemoAddress::default(),
        paid: true,
        fulfilled: false,
        created_at: now,
        cancelled_at: None,
        updated_at: now,
    }
}
