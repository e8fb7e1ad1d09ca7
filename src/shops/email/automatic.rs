//! Whether a person wrote a mail. What a machine wrote is never answered: two machines would answer each other for
//! ever (RFC 3834).

use super::{Came, Mail, OUR_MARK, bare};

/// Beginnings of subject lines that out-of-office replies have, in lower case.
const SUBJECTS: &[&str] = &[
    "自动回复",
    "自動回覆",
    "automatic reply:",
    "auto reply:",
    "auto-reply:",
    "autoreply:",
    "out of office:",
    "automatische antwort:",
    "abwesenheitsnotiz:",
    "réponse automatique",
    "respuesta automática",
];

/// Local parts that nobody reads, without `-`, `_` and `.`.
const NOBODY: &[&str] = &["noreply", "donotreply", "nepasrepondre", "keineantwort"];
/// Local parts of mail servers that report on a mail.
const SERVERS: &[&str] = &["mailerdaemon", "postmaster"];

/// Why the mail was not written by a person, where it was not.
pub(super) fn why(mail: &Mail, came: &Came<'_>) -> Option<&'static str> {
    let says = |name, meant: &[&str]| mail.header(name).any(|value| has_word(value, meant));
    let has = |name| mail.header(name).next().is_some();
    if is_ours(mail, came) {
        return Some("own_mail");
    }
    let return_path = || came.envelope_sender.or_else(|| mail.header("return-path").next());
    let no_way_back = return_path().is_some_and(|path| path.trim().trim_matches(['<', '>']).trim().is_empty());
    let server = |address: &str| local_part(address).is_some_and(|local| SERVERS.contains(&local.as_str()));
    let by_server = mail.from.as_deref().is_some_and(server) || return_path().is_some_and(server);
    if no_way_back || by_server || mail.is_report || has("x-failed-recipients") {
        return Some("bounce");
    }
    let submitted = |value: &str| !value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("no");
    let subject = mail.subject.as_deref().unwrap_or_default().to_lowercase();
    if mail.header("auto-submitted").any(submitted)
        || says("x-auto-response-suppress", &["all", "oof", "autoreply"])
        || ["x-autoreply", "x-autorespond", "x-autoresponse", "x-mail-autoreply"].into_iter().any(has)
        || says("precedence", &["auto_reply"])
        || SUBJECTS.iter().any(|begin| subject.starts_with(begin))
    {
        return Some("auto_reply");
    }
    if says("precedence", &["bulk", "list", "junk"]) || has("list-id") || has("list-unsubscribe") {
        return Some("bulk");
    }
    // Contact forms send as `noreply@…` and have the customer in `Reply-To`: what counts is whom an answer would reach.
    let reached = mail.reply_to.as_deref().or(mail.from.as_deref());
    let nobody = |address: &str| {
        let local = local_part(address).unwrap_or_default();
        NOBODY.iter().chain(SERVERS).any(|name| local.starts_with(name))
    };
    if reached.is_none_or(nobody) {
        return Some("no_reply");
    }
    None
}

/// Whether the mail is one of the shop's own: sent by us, or from one of its own addresses.
fn is_ours(mail: &Mail, came: &Came<'_>) -> bool {
    let recipient = came.recipient.and_then(bare);
    let own = |address: &String| {
        came.own.iter().filter_map(|own| bare(own)).chain(recipient.clone()).any(|own| own == *address)
    };
    let reached = mail.reply_to.as_ref().or(mail.from.as_ref());
    mail.header(&OUR_MARK.to_lowercase()).next().is_some() || reached.is_some_and(own)
}

fn has_word(value: &str, meant: &[&str]) -> bool {
    value.split([',', ';', ' ']).any(|word| meant.iter().any(|meant| word.trim().eq_ignore_ascii_case(meant)))
}

/// The part before the `@`, as these are compared.
fn local_part(address: &str) -> Option<String> {
    let local = bare(address.trim()).or_else(|| bare(address.trim().trim_matches(['<', '>'])))?;
    let local = local.split_once('@')?.0.replace(['-', '_', '.'], "");
    Some(local)
}
