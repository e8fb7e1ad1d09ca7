//! Forgetting people: which events speak of them, and blanking what these hold and all that hangs on them.
//!
//! Looking goes through the readers, a stretch of events at a time. Blanking is written a few events at a time, so that
//! the writer is never held for long. Each step may be done again: what is blank stays blank.

use jiff::Timestamp;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult, Statement, Value};
use serde_json::Value as Json;

use super::events::json;
use super::{Store, StoreError};
use crate::domain::redact::{self, REDACTED, Who, Whose};
use crate::domain::{Answer, Context, Customer, End, EventId, Failure, LogLine, Order, Records, RunId, ShopId};

/// Events that are looked at in one go.
const LOOKED_AT: i64 = 5_000;
/// Events that are blanked in one transaction.
const BLANKED: usize = 20;

#[derive(FromQueryResult)]
struct Id {
    id: i64,
}

#[derive(FromQueryResult)]
struct Kept {
    id: String,
    record: String,
}

#[derive(FromQueryResult)]
struct Found {
    id: i64,
    records: String,
    mentions: String,
    context: Option<String>,
    body: Option<String>,
}

#[derive(FromQueryResult)]
struct EventRow {
    records: String,
    context: Option<String>,
}

#[derive(FromQueryResult)]
struct RunRow {
    id: i64,
    outcome: Option<String>,
}

#[derive(FromQueryResult)]
struct CallRow {
    path: String,
    capability: String,
    input: String,
    state: i32,
    answer: Option<String>,
    log: String,
}

#[derive(FromQueryResult)]
struct AskedRow {
    run: i64,
    event: i64,
    input: String,
    answer: Option<String>,
}

#[derive(FromQueryResult)]
struct Remembered {
    key: String,
    value: String,
}

/// As a call's state is written once it is answered.
const ANSWERED: i32 = 4;

impl Store {
    fn asks(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
        Statement::from_sql_and_values(self.readers.get_database_backend(), sql, values)
    }

    /// All that is known of a customer by which they are found: their orders, addresses and names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn known_as(&self, shop: &ShopId, mut who: Who) -> Result<Who, StoreError> {
        let sql = "SELECT id, record FROM records WHERE shop = ? AND kind = 'customer' AND id = ?";
        if let Some(id) = who.id.clone() {
            for row in Kept::find_by_statement(self.asks(sql, [shop.as_str().into(), (&*id).into()]))
                .all(&self.readers)
                .await?
            {
                who.learn(&serde_json::from_str::<Customer>(&row.record)?);
            }
        }
        let sql = "SELECT id, record FROM records WHERE shop = ? AND kind = 'order' AND id > ? ORDER BY id LIMIT 1000";
        let mut after = String::new();
        loop {
            let some = Kept::find_by_statement(self.asks(sql, [shop.as_str().into(), after.as_str().into()]));
            let some = some.all(&self.readers).await?;
            let Some(last) = some.last() else { return Ok(who) };
            after.clone_from(&last.id);
            for row in &some {
                let order: Order = serde_json::from_str(&row.record)?;
                let named = who.orders.iter().any(|id| **id == *row.id);
                let Some(buyer) = order.customer.filter(|buyer| named || who.is(buyer)) else { continue };
                who.learn(&buyer);
                if !named {
                    who.orders.push(row.id.as_str().into());
                }
            }
        }
    }

    /// Events before this one that hold personal data of these people, or whose runs asked or were told of them; oldest
    /// first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn events_of(&self, shop: &ShopId, whose: &Whose, before: EventId) -> Result<Vec<EventId>, StoreError> {
        let (mut found, mut after) = (Vec::new(), 0_i64);
        loop {
            let sql = "SELECT coalesce(max(id), 0) AS id FROM (SELECT id FROM events WHERE id > ? AND id < ? ORDER BY id LIMIT ?)";
            let end = self.asks(sql, [after.into(), before.0.into(), LOOKED_AT.into()]);
            let end = Id::find_by_statement(end).one(&self.readers).await?.map_or(0, |row| row.id);
            if end == 0 {
                break;
            }
            match whose {
                Whose::Everybody => {
                    let sql = "SELECT id FROM events WHERE shop = ? AND id > ? AND id <= ?";
                    let rows = Id::find_by_statement(self.asks(sql, [shop.as_str().into(), after.into(), end.into()]));
                    found.extend(rows.all(&self.readers).await?.into_iter().map(|row| row.id));
                }
                Whose::Customer(who) => self.events_within(shop, who, (after, end), &mut found).await?,
            }
            after = end;
        }
        if let Whose::Customer(who) = whose {
            self.asked_of(shop, who, before, &mut found).await?;
        }
        found.sort_unstable();
        found.dedup();
        Ok(found.into_iter().map(EventId).collect())
    }

    async fn events_within(
        &self,
        shop: &ShopId,
        who: &Who,
        (after, end): (i64, i64),
        found: &mut Vec<i64>,
    ) -> Result<(), StoreError> {
        let needles = needles(who);
        if needles.is_empty() {
            return Ok(());
        }
        let texts = "lower(e.records || e.mentions || e.subject || coalesce(c.context, '') || coalesce(p.body, ''))";
        let any = vec![format!("instr({texts}, ?) > 0"); needles.len()].join(" OR ");
        let sql = format!(
            "SELECT e.id AS id, e.records AS records, e.mentions AS mentions, c.context AS context, p.body AS body \
             FROM events e LEFT JOIN contexts c ON c.event = e.id LEFT JOIN payloads p ON p.event = e.id \
             WHERE e.shop = ? AND e.id > ? AND e.id <= ? AND ({any})"
        );
        let bounds: [Value; 3] = [shop.as_str().into(), after.into(), end.into()];
        let values = bounds.into_iter().chain(needles.iter().map(|needle| needle.as_str().into()));
        for row in Found::find_by_statement(self.asks(&sql, values)).all(&self.readers).await? {
            let Found { id, records, mentions, context, body } = row;
            let in_records =
                [&records, &mentions, &context.unwrap_or_default()].iter().any(|text| who.is_in_record(text));
            if in_records || body.is_some_and(|body| who.is_in(&body.to_lowercase())) {
                found.push(id);
            }
        }
        Ok(())
    }

    /// Events whose runs asked something of these people or were told something, whatever the events themselves say.
    async fn asked_of(
        &self,
        shop: &ShopId,
        who: &Who,
        before: EventId,
        found: &mut Vec<i64>,
    ) -> Result<(), StoreError> {
        let needles = needles(who);
        let mut after = 0_i64;
        loop {
            let sql = "SELECT coalesce(max(id), 0) AS id FROM (SELECT id FROM runs WHERE id > ? ORDER BY id LIMIT ?)";
            let end =
                Id::find_by_statement(self.asks(sql, [after.into(), LOOKED_AT.into()])).one(&self.readers).await?;
            let end = end.map_or(0, |row| row.id);
            if end == 0 {
                return Ok(());
            }
            if !needles.is_empty() {
                let any = vec!["instr(lower(c.input || coalesce(c.answer, '')), ?) > 0"; needles.len()].join(" OR ");
                let sql = format!(
                    "SELECT c.run AS run, r.event AS event, c.input AS input, c.answer AS answer FROM calls c \
                     JOIN runs r ON r.id = c.run WHERE c.shop = ? AND c.run > ? AND c.run <= ? AND r.event < ? AND ({any})"
                );
                let bounds: [Value; 4] = [shop.as_str().into(), after.into(), end.into(), before.0.into()];
                let values = bounds.into_iter().chain(needles.iter().map(|needle| needle.as_str().into()));
                for row in AskedRow::find_by_statement(self.asks(&sql, values)).all(&self.readers).await? {
                    tracing::trace!(run = %RunId(row.run), "a run asked of somebody who is to be forgotten");
                    let texts = [row.input, row.answer.unwrap_or_default()];
                    if texts.iter().any(|text| who.is_in(&text.to_lowercase())) {
                        found.push(row.event);
                    }
                }
            }
            after = end;
        }
    }

    /// Runs on these events that are not over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_runs_on(&self, shop: &ShopId, events: &[EventId]) -> Result<Vec<RunId>, StoreError> {
        let mut open = Vec::new();
        for some in events.chunks(500) {
            let marks = vec!["?"; some.len()].join(",");
            let sql = format!("SELECT id FROM runs WHERE event IN ({marks}) AND shop = ? AND state < 3");
            let values = some.iter().map(|id| id.0.into()).chain([shop.as_str().into()]);
            let rows = Id::find_by_statement(self.asks(&sql, values)).all(&self.readers).await?;
            open.extend(rows.into_iter().map(|row| RunId(row.id)));
        }
        Ok(open)
    }

    /// Blanks these events, their runs and calls, and all else that holds these people's data. `digests` are those by
    /// which limits know them.
    ///
    /// # Errors
    /// [`StoreError`]; what was done by then stays done.
    pub async fn redact(
        &self,
        shop: &ShopId,
        whose: &Whose,
        events: &[EventId],
        digests: Vec<String>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        for some in events.chunks(BLANKED) {
            let (shop, some) = (shop.clone(), some.to_vec());
            self.writer.write(move |tx| Box::pin(async move { blank_events(tx, &shop, &some, at).await })).await?;
        }
        let (shop, whose) = (shop.clone(), whose.clone());
        self.writer.write(move |tx| Box::pin(async move { forget_beside(tx, &shop, &whose, digests).await })).await
    }

    /// Those of these events whose personal data is gone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn redacted_among(&self, shop: &ShopId, events: &[EventId]) -> Result<Vec<EventId>, StoreError> {
        let mut found = Vec::new();
        for some in events.chunks(500) {
            let marks = vec!["?"; some.len()].join(",");
            let sql = format!("SELECT event AS id FROM redacted WHERE event IN ({marks}) AND shop = ?");
            let values = some.iter().map(|id| id.0.into()).chain([shop.as_str().into()]);
            let rows = Id::find_by_statement(self.asks(&sql, values)).all(&self.readers).await?;
            found.extend(rows.into_iter().map(|row| EventId(row.id)));
        }
        Ok(found)
    }
}

/// What a row must hold, in lower case, to be looked at closely.
fn needles(who: &Who) -> Vec<String> {
    let phones = who.phones.iter().map(|phone| phone.to_lowercase());
    who.emails.iter().cloned().chain(phones).chain(who.ids().map(str::to_lowercase)).collect()
}

async fn say(tx: &DatabaseTransaction, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<(), DbErr> {
    tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await.map(|_| ())
}

fn asked(tx: &DatabaseTransaction, sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(tx.get_database_backend(), sql, values)
}

async fn blank_events(tx: &DatabaseTransaction, shop: &ShopId, events: &[EventId], at: Timestamp) -> Result<(), DbErr> {
    // What a row held is to be gone from its page, too.
    tx.execute_unprepared("PRAGMA secure_delete = ON").await?;
    for event in events {
        blank_event(tx, shop, *event, at).await?;
    }
    tx.execute_unprepared("PRAGMA secure_delete = OFF").await.map(|_| ())
}

async fn blank_event(tx: &DatabaseTransaction, shop: &ShopId, event: EventId, at: Timestamp) -> Result<(), DbErr> {
    let id: Value = event.0.into();
    let sql = "SELECT e.records AS records, c.context AS context FROM events e LEFT JOIN contexts c ON c.event = e.id \
               WHERE e.id = ? AND e.shop = ?";
    let row = EventRow::find_by_statement(asked(tx, sql, [id.clone(), shop.as_str().into()])).one(tx).await?;
    let Some(EventRow { records, context }) = row else { return Ok(()) };
    // What cannot be read cannot be blanked in part.
    let left = serde_json::from_str::<Records>(&records).map(|it| redact::records(&it)).unwrap_or_default();
    say(tx, "UPDATE events SET records = ? WHERE id = ?", [json(&left).into(), id.clone()]).await?;
    // A mail's own id may hold its sender's address.
    let subject = "UPDATE events SET subject = 'message/redacted' WHERE id = ? AND kind LIKE 'message.%'";
    say(tx, subject, [id.clone()]).await?;
    say(tx, "UPDATE payloads SET body = ? WHERE event = ?", [r#"{"redacted":true}"#.into(), id.clone()]).await?;
    if let Some(context) = context.filter(|context| !context.is_empty()) {
        let mut left: Context = serde_json::from_str(&context).unwrap_or_default();
        left.records = redact::records(&left.records).into();
        say(tx, "UPDATE contexts SET context = ? WHERE event = ?", [json(&left).into(), id.clone()]).await?;
    }
    let conversations = "DELETE FROM event_about WHERE shop = ? AND event = ? AND about LIKE 'conversation/%'";
    say(tx, conversations, [shop.as_str().into(), id.clone()]).await?;
    let runs = "SELECT id, outcome FROM runs WHERE event = ?";
    for run in RunRow::find_by_statement(asked(tx, runs, [id.clone()])).all(tx).await? {
        let outcome = run.outcome.map(|outcome| without_words(&outcome));
        // Nobody can do again what nobody knows any more.
        let sql = "UPDATE runs SET lane = ?, outcome = ?, dead = 0 WHERE id = ?";
        say(tx, sql, [REDACTED.into(), outcome.into(), run.id.into()]).await?;
        blank_calls(tx, run.id).await?;
    }
    let done = "INSERT INTO redacted (event, shop, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
    say(tx, done, [id, shop.as_str().into(), at.as_millisecond().into()]).await
}

/// How a run ended, without what the end says in words.
fn without_words(outcome: &str) -> String {
    let end = match serde_json::from_str(outcome) {
        Ok(End::Failed { failure }) => End::Failed { failure: Failure::new(&failure.code, REDACTED) },
        Ok(End::Diverged { path, .. }) => {
            End::Diverged { path, recorded: REDACTED.to_owned(), asked: REDACTED.to_owned() }
        }
        Ok(end) => end,
        Err(_) => End::Cancelled,
    };
    json(&end)
}

async fn blank_calls(tx: &DatabaseTransaction, run: i64) -> Result<(), DbErr> {
    let sql = "SELECT path, capability, input, state, answer, log FROM calls WHERE run = ?";
    for call in CallRow::find_by_statement(asked(tx, sql, [run.into()])).all(tx).await? {
        let mut input: Json = serde_json::from_str(&call.input).unwrap_or_default();
        redact::json(&mut input);
        let answer = match call.answer.as_deref().map(serde_json::from_str) {
            _ if call.state != ANSWERED => {
                // It can be done no more, nor can a person say what became of it.
                tracing::warn!(run = %RunId(run), call.path, call.capability, "a call was forgotten before it was settled");
                let said = "what was to be done was forgotten with the customer";
                Answer::Failed(Failure::new(REDACTED, said))
            }
            Some(Ok(Answer::Done(mut answer))) => {
                redact::json(&mut answer);
                Answer::Done(answer)
            }
            Some(Ok(Answer::Failed(failure))) => Answer::Failed(Failure::new(&failure.code, REDACTED)),
            Some(Err(_)) | None => Answer::Failed(Failure::new(REDACTED, REDACTED)),
        };
        let mut log: Vec<LogLine> = serde_json::from_str(&call.log).unwrap_or_default();
        for line in log.iter_mut().filter(|line| !line.what.starts_with("attempt ")) {
            REDACTED.clone_into(&mut line.what);
        }
        let log = if log.is_empty() { String::new() } else { json(&log) };
        let sql = "UPDATE calls SET input = ?, answer = ?, log = ?, trouble = NULL, state = ?, awaits = NULL \
                   WHERE run = ? AND path = ?";
        let values: [Value; 6] =
            [json(&input).into(), json(&answer).into(), log.into(), ANSWERED.into(), run.into(), call.path.into()];
        say(tx, sql, values).await?;
    }
    Ok(())
}

/// Records, names, memories, and the digests by which limits count messages.
async fn forget_beside(
    tx: &DatabaseTransaction,
    shop: &ShopId,
    whose: &Whose,
    digests: Vec<String>,
) -> Result<(), DbErr> {
    let own = || -> Value { shop.as_str().into() };
    tx.execute_unprepared("PRAGMA secure_delete = ON").await?;
    match whose {
        Whose::Everybody => {
            blank_records(tx, shop, "1 = 1", Vec::new()).await?;
            say(tx, "DELETE FROM record_names WHERE shop = ? AND kind = 'customer'", [own()]).await?;
            say(tx, "DELETE FROM memory WHERE shop = ?", [own()]).await?;
            say(tx, "UPDATE spent SET customer = NULL WHERE shop = ? AND customer IS NOT NULL", [own()]).await?;
        }
        Whose::Customer(who) => {
            if let Some(id) = &who.id {
                blank_records(tx, shop, "kind = 'customer' AND id = ?", vec![(&**id).into()]).await?;
                let names = "DELETE FROM record_names WHERE shop = ? AND kind = 'customer' AND id = ?";
                say(tx, names, [own(), (&**id).into()]).await?;
            }
            for order in &who.orders {
                blank_records(tx, shop, "kind = 'order' AND id = ?", vec![(&**order).into()]).await?;
            }
            for email in &who.emails {
                let names = "DELETE FROM record_names WHERE shop = ? AND kind = 'customer' AND name = ?";
                say(tx, names, [own(), email.as_str().into()]).await?;
            }
            for digest in digests {
                let spent = "UPDATE spent SET customer = NULL WHERE shop = ? AND customer = ?";
                say(tx, spent, [own(), digest.into()]).await?;
            }
            let rows = asked(tx, "SELECT key, value FROM memory WHERE shop = ?", [own()]);
            for Remembered { key, value } in Remembered::find_by_statement(rows).all(tx).await? {
                let text = format!("{key} {value}").to_lowercase();
                if who.is_in(&text) || who.names.iter().any(|name| text.contains(name.as_str())) {
                    say(tx, "DELETE FROM memory WHERE shop = ? AND key = ?", [own(), key.into()]).await?;
                }
            }
        }
    }
    tx.execute_unprepared("PRAGMA secure_delete = OFF").await.map(|_| ())
}

/// Blanks the orders and customers among these records. Their times stay, so that nothing older takes their place.
async fn blank_records(tx: &DatabaseTransaction, shop: &ShopId, which: &str, values: Vec<Value>) -> Result<(), DbErr> {
    for kind in ["customer", "order"] {
        let sql = format!("SELECT id, record FROM records WHERE shop = ? AND kind = '{kind}' AND {which}");
        let all = [shop.as_str().into()].into_iter().chain(values.iter().cloned());
        for Kept { id, record } in Kept::find_by_statement(asked(tx, &sql, all)).all(tx).await? {
            let left = match kind {
                "order" => serde_json::from_str::<Order>(&record).map(|it| json(&redact::order(&it))),
                _ => serde_json::from_str::<Customer>(&record).map(|it| json(&redact::customer(&it))),
            };
            let sql = "UPDATE records SET record = ? WHERE shop = ? AND kind = ? AND id = ?";
            let left = left.unwrap_or_else(|_| "{}".to_owned());
            say(tx, sql, [left.into(), shop.as_str().into(), kind.into(), id.into()]).await?;
        }
    }
    Ok(())
}
