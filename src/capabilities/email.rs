//! Whom a mail goes to, what it is called and what it answers, where a rule does not say.

use sha2::{Digest, Sha256};

use crate::domain::{Attempt, Facts, Mailer, Message, RecordName, Verdict};

/// Beginnings of the subject of an answer, in lower case.
const ANSWERS: &[&str] = &["re:", "re：", "回复:", "回复：", "答复:", "答复：", "aw:"];

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
        let start = subject.to_lowercase();
        let answered = ANSWERS.iter().any(|answer| start.starts_with(answer));
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

/// That a mail to this address would answer no machine: the two could go on for ever.
pub(super) fn answers_no_machine(facts: &Facts, to: &str) -> Result<(), Verdict> {
    let Some(message) = facts.context.message.as_deref() else { return Ok(()) };
    let Some(why) = message.automatic.as_deref() else { return Ok(()) };
    let same = |from: &str| RecordName::customer(from).is_none_or(|from| RecordName::customer(to) == Some(from));
    if !message.from.as_deref().is_none_or(same) {
        return Ok(());
    }
    let problem = format!("the message was not written by a person ({why}), so it is not answered");
    Err(Verdict::refused("automatic_message", problem))
}

/// A Message-ID without `<>`. `None` where the id is another: not every mail has one.
pub(super) fn mail_id(id: Option<&str>) -> Option<String> {
    let id = id?.trim_start_matches('<').trim_end_matches('>');
    id.contains('@').then(|| id.to_owned())
}

/// The Message-IDs of the conversation that an answer belongs to: its first mail and the one that is answered. By the
/// first one we know the customer's next mail again, and mail programs put the mails together by either.
pub(super) fn thread(message: &Message) -> Vec<String> {
    let ids = [&message.conversation_id, &message.id];
    let mut thread: Vec<String> = ids.into_iter().filter_map(|id| mail_id(id.as_deref())).collect();
    thread.dedup();
    thread
}
