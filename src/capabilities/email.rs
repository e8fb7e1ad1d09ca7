//! Whom a mail goes to, what it is called and what it answers, where a rule does not say.

use sha2::{Digest, Sha256};

use crate::domain::{Attempt, Facts, Mailer, Message, Verdict};

/// The message that the event is, where it came by e-mail.
pub(super) fn received(facts: &Facts) -> Option<&Message> {
    let message = facts.context.message.as_deref()?;
    (message.channel.as_deref() == Some("email")).then_some(message)
}

/// The event's customer's address: where they wrote from, else the one that the shop has of them.
pub(super) fn customers_address(facts: &Facts) -> Option<String> {
    let context = &facts.context;
    let of_order = || context.order.as_ref()?.customer.as_ref()?.email.clone();
    received(facts)
        .and_then(|message| message.from.clone())
        .or_else(|| context.customer.as_ref().and_then(|customer| customer.email.clone()))
        .or_else(of_order)
        .map(|address| address.to_string())
}

/// `Re: …` where a message is answered, else the order's name after the shop's.
pub(super) fn subject(attempt: &Attempt) -> String {
    if let Some(subject) = received(&attempt.facts).and_then(|message| message.subject.as_deref()) {
        let answered = subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:"));
        return if answered { subject.to_owned() } else { format!("Re: {subject}") };
    }
    let shop = &attempt.shop.display_name;
    match attempt.facts.context.order.as_ref().and_then(|order| order.name.as_deref()) {
        Some(order) => format!("{shop} {order}"),
        None => shop.clone(),
    }
}

/// The Message-ID's part before the `@`: the same for every attempt of this call. It tells nothing about the run.
pub(super) fn message_id(key: &str) -> String {
    hex::encode(&Sha256::digest(key.as_bytes())[..16])
}

/// The shop's way to send mail.
pub(super) fn mailer(attempt: &Attempt) -> Result<&dyn Mailer, Verdict> {
    attempt.shop.mailer.as_deref().ok_or_else(|| {
        let shop = &attempt.shop.id;
        let said = format!("the shop `{shop}` cannot send mail; set `shop.{shop}.mail` in the configuration");
        Verdict::refused("no_mail", said)
    })
}
