//! Every capability of Storehand with a type for its input and one for its answer: `typed::order::tag(&Tag::new(["vip"]))`.
//! It can do no more than [`ask`](crate::ask), which takes any JSON and reaches the capabilities of other plugins too.
//!
//! Made from the capabilities' declarations, as `REFERENCE.md` is; a test keeps it current. Money and decimals are texts
//! or numbers (`"120.00 EUR"`, `3`), lengths of time are texts (`14d`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Failure, Question};

/// `approval.*`
pub mod approval {
    use super::*;

    /// Lists what waits for a person in this shop: approvals, calls of which nobody can tell whether they
    /// happened, and runs that failed.
    ///
    /// The manifest wants `approval.list`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn list(question: &List) -> Result<ListAnswer, Failure> {
        question.ask()
    }

    /// What `approval.list` is asked.
    #[derive(Clone, Debug, Default, PartialEq, Serialize)]
    pub struct List {
        /// How many are told one by one, the oldest first. Default: 50.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub most: Option<i64>,
    }

    impl Question for List {
        const CAPABILITY: &'static str = "approval.list";
        type Answer = ListAnswer;
    }

    /// An approval, a call of which nobody can tell whether it happened, or a run that failed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
    pub enum ListAnswerItemWhat {
        /// `approval`
        #[serde(rename = "approval")]
        Approval,
        /// `unknown`
        #[serde(rename = "unknown")]
        Unknown,
        /// `failed`
        #[serde(rename = "failed")]
        Failed,
        /// A word that this SDK does not know.
        #[serde(other)]
        Other,
    }

    /// One of the `ListAnswer`'s.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct ListAnswerItem {
        /// An approval, a call of which nobody can tell whether it happened, or a run that failed.
        pub what: ListAnswerItemWhat,
        /// As the command line names it: run_…/ok; run_… where the run failed.
        pub id: String,
        /// The rule.
        pub rule: String,
        /// What the run's event is about: order/1042.
        pub subject: String,
        /// Since when it waits.
        pub since: Option<String>,
        /// Until when an approval may be decided; nothing for others.
        pub until: Option<String>,
        /// What is asked, or what went wrong: its first 200 characters in one line.
        pub text: String,
    }

    /// What `approval.list` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct ListAnswer {
        /// How many there are in all.
        pub total: i64,
        /// Approvals that nobody has decided.
        pub approvals: i64,
        /// Calls of which nobody can tell whether they happened.
        pub unknown: i64,
        /// Runs that failed and that nobody has retried or dropped.
        pub failed: i64,
        /// Those that have waited longest, the oldest first.
        pub items: Vec<ListAnswerItem>,
    }

    /// Asks a person, and goes on once they have approved. Where they say no the run ends as declined, unless the
    /// rule handles it.
    ///
    /// The manifest wants `approval.request`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn request(question: &Request) -> Result<RequestAnswer, Failure> {
        question.ask()
    }

    /// What it comes to when nobody has decided in time. Default: `reject`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    pub enum RequestOnTimeout {
        /// `approve`
        #[serde(rename = "approve")]
        Approve,
        /// `reject`
        #[serde(rename = "reject")]
        Reject,
        /// `fail`
        #[serde(rename = "fail")]
        Fail,
    }

    /// What is taken for the answer where nobody is asked: in tests, in backtests and in the shadow. Default:
    /// `approved`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    pub enum RequestAssume {
        /// `approved`
        #[serde(rename = "approved")]
        Approved,
        /// `rejected`
        #[serde(rename = "rejected")]
        Rejected,
    }

    /// What `approval.request` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Request {
        /// Who is asked, in your own words, such as `support`. Whoever has a token may decide.
        pub to: String,
        /// What they are shown: what would be done, or the text that would be sent.
        pub show: String,
        /// What they should know about it. It is shown, and is not part of the text.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub why: Option<String>,
        /// How long they have, such as `24h`; a year at most.
        pub timeout: String,
        /// What it comes to when nobody has decided in time. Default: `reject`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub on_timeout: Option<RequestOnTimeout>,
        /// What is taken for the answer where nobody is asked: in tests, in backtests and in the shadow. Default:
        /// `approved`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub assume: Option<RequestAssume>,
    }

    impl Request {
        /// With what must be given; the rest is left out.
        pub fn new(to: impl Into<String>, show: impl Into<String>, timeout: impl Into<String>) -> Self {
            Self { to: to.into(), show: show.into(), why: None, timeout: timeout.into(), on_timeout: None, assume: None }
        }
    }

    impl Question for Request {
        const CAPABILITY: &'static str = "approval.request";
        type Answer = RequestAnswer;
    }

    /// A rejection is no answer but the error `declined`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
    pub enum RequestAnswerDecision {
        /// `approved`
        #[serde(rename = "approved")]
        Approved,
        /// A word that this SDK does not know.
        #[serde(other)]
        Other,
    }

    /// What `approval.request` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct RequestAnswer {
        /// A rejection is no answer but the error `declined`.
        pub decision: RequestAnswerDecision,
        /// What was shown, or what they wrote in its place.
        pub text: String,
        /// Whether they wrote something else.
        pub edited: Option<bool>,
        /// Who approved; nothing where nobody was asked, or nobody came in time.
        pub by: Option<String>,
        /// When they did.
        pub at: Option<String>,
    }
}

/// `customer.*`
pub mod customer {
    use super::*;

    /// Reads a customer from the shop's platform, as they are now. The answer is the customer, with the same
    /// fields as the event's, and how often they have ordered by now.
    ///
    /// The manifest wants `customer.get`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn get(question: &Get) -> Result<GetAnswer, Failure> {
        question.ask()
    }

    /// What `customer.get` is asked.
    #[derive(Clone, Debug, Default, PartialEq, Serialize)]
    pub struct Get {
        /// The platform's id of the customer. Default: the event's customer.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub customer_id: Option<String>,
    }

    impl Question for Get {
        const CAPABILITY: &'static str = "customer.get";
        type Answer = GetAnswer;
    }

    /// What `customer.get` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct GetAnswer {
        /// The platform's id.
        pub id: Option<String>,
        /// E-mail address.
        pub email: Option<String>,
        /// Telephone number.
        pub phone: Option<String>,
        /// First and last name.
        pub name: Option<String>,
        /// First name.
        pub first_name: Option<String>,
        /// BCP 47, such as `en` or `zh-CN`.
        pub locale: Option<String>,
        /// The shop's own labels.
        pub tags: Option<Vec<String>>,
        /// How many orders this customer has placed.
        pub orders_count: Option<i64>,
        /// When the platform last changed it.
        pub updated_at: Option<String>,
    }

    /// Adds a line to the shop's own note about a customer, with a short mark at its end by which Storehand knows
    /// it again. A change that a person makes to the note in the same instant can be lost.
    ///
    /// The manifest wants `customer.note`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn note(question: &Note) -> Result<NoteAnswer, Failure> {
        question.ask()
    }

    /// What `customer.note` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Note {
        /// What to note, in one line.
        pub text: String,
        /// The platform's id of the customer. Default: the event's customer.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub customer_id: Option<String>,
    }

    impl Note {
        /// With what must be given; the rest is left out.
        pub fn new(text: impl Into<String>) -> Self {
            Self { text: text.into(), customer_id: None }
        }
    }

    impl Question for Note {
        const CAPABILITY: &'static str = "customer.note";
        type Answer = NoteAnswer;
    }

    /// What `customer.note` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct NoteAnswer {
        /// The whole note now.
        pub note: String,
    }

    /// Adds tags to a customer. Tags that they have already stay as they are.
    ///
    /// The manifest wants `customer.tag`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn tag(question: &Tag) -> Result<TagAnswer, Failure> {
        question.ask()
    }

    /// What `customer.tag` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Tag {
        /// The labels, 40 characters each at most, without commas.
        pub tags: Vec<String>,
        /// The platform's id of the customer. Default: the event's customer.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub customer_id: Option<String>,
    }

    impl Tag {
        /// With what must be given; the rest is left out.
        pub fn new(tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
            Self { tags: tags.into_iter().map(Into::into).collect(), customer_id: None }
        }
    }

    impl Question for Tag {
        const CAPABILITY: &'static str = "customer.tag";
        type Answer = TagAnswer;
    }

    /// What `customer.tag` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct TagAnswer {
        /// All tags that it has now.
        pub tags: Vec<String>,
    }

    /// Takes tags off a customer. Tags that they do not have are passed over.
    ///
    /// The manifest wants `customer.untag`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn untag(question: &Untag) -> Result<UntagAnswer, Failure> {
        question.ask()
    }

    /// What `customer.untag` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Untag {
        /// The labels, 40 characters each at most, without commas.
        pub tags: Vec<String>,
        /// The platform's id of the customer. Default: the event's customer.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub customer_id: Option<String>,
    }

    impl Untag {
        /// With what must be given; the rest is left out.
        pub fn new(tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
            Self { tags: tags.into_iter().map(Into::into).collect(), customer_id: None }
        }
    }

    impl Question for Untag {
        const CAPABILITY: &'static str = "customer.untag";
        type Answer = UntagAnswer;
    }

    /// What `customer.untag` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct UntagAnswer {
        /// All tags that it has now.
        pub tags: Vec<String>,
    }
}

/// `email.*`
pub mod email {
    use super::*;

    /// Sends a mail to an address of your choice. For an answer to the event's customer there is `message.send`.
    ///
    /// The manifest wants `email.send`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn send(question: &Send) -> Result<SendAnswer, Failure> {
        question.ask()
    }

    /// What `email.send` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Send {
        /// An e-mail address.
        pub to: String,
        /// The subject line.
        pub subject: String,
        /// What to write, plain text.
        pub text: String,
    }

    impl Send {
        /// With what must be given; the rest is left out.
        pub fn new(to: impl Into<String>, subject: impl Into<String>, text: impl Into<String>) -> Self {
            Self { to: to.into(), subject: subject.into(), text: text.into() }
        }
    }

    impl Question for Send {
        const CAPABILITY: &'static str = "email.send";
        type Answer = SendAnswer;
    }

    /// What `email.send` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct SendAnswer {
        /// The mail's Message-ID.
        pub message_id: String,
    }
}

/// `http.*`
pub mod http {
    use super::*;

    /// Sends a request to a web service on the public internet. An answer of 200 to 299 is the call's answer; any
    /// other is an error. Redirects are not followed.
    ///
    /// The manifest wants `http.request`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn request(question: &Request) -> Result<RequestAnswer, Failure> {
        question.ask()
    }

    /// Default: GET.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    pub enum RequestMethod {
        /// `GET`
        #[serde(rename = "GET")]
        Get,
        /// `POST`
        #[serde(rename = "POST")]
        Post,
        /// `PUT`
        #[serde(rename = "PUT")]
        Put,
        /// `PATCH`
        #[serde(rename = "PATCH")]
        Patch,
        /// `DELETE`
        #[serde(rename = "DELETE")]
        Delete,
    }

    /// What `http.request` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Request {
        /// Default: GET.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub method: Option<RequestMethod>,
        /// Where to, with `https://`.
        pub url: String,
        /// Further headers.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub headers: Option<BTreeMap<String, String>>,
        /// What to send: a text as it is, anything else as JSON; up to 64 KiB.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub body: Option<Value>,
        /// The name of one of the shop's secrets: sent as `Authorization: Bearer`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub secret: Option<String>,
    }

    impl Request {
        /// With what must be given; the rest is left out.
        pub fn new(url: impl Into<String>) -> Self {
            Self { method: None, url: url.into(), headers: None, body: None, secret: None }
        }
    }

    impl Question for Request {
        const CAPABILITY: &'static str = "http.request";
        type Answer = RequestAnswer;
    }

    /// What `http.request` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct RequestAnswer {
        /// The HTTP status.
        pub status: i64,
        /// What came back, as text; up to 256 KiB.
        pub body: Option<Value>,
        /// What came back, read as JSON where it is JSON.
        pub json: Option<Value>,
        /// Whether what came back was longer, or broke off, and is left out.
        pub cut: Option<bool>,
    }
}

/// `inventory.*`
pub mod inventory {
    use super::*;

    /// Adds to how many of a stock level can be sold, or takes from it.
    ///
    /// The manifest wants `inventory.adjust`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn adjust(question: &Adjust) -> Result<AdjustAnswer, Failure> {
        question.ask()
    }

    /// Why, for the shop's own records. Default: correction.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    pub enum AdjustReason {
        /// `correction`
        #[serde(rename = "correction")]
        Correction,
        /// `received`
        #[serde(rename = "received")]
        Received,
        /// `restock`
        #[serde(rename = "restock")]
        Restock,
        /// `damaged`
        #[serde(rename = "damaged")]
        Damaged,
        /// `shrinkage`
        #[serde(rename = "shrinkage")]
        Shrinkage,
    }

    /// What `inventory.adjust` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Adjust {
        /// How many come in; below 0, how many go out.
        pub by: i64,
        /// Why, for the shop's own records. Default: correction.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub reason: Option<AdjustReason>,
        /// The platform's id of the level, `item:place`. Default: the event's level.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub inventory_id: Option<String>,
    }

    impl Adjust {
        /// With what must be given; the rest is left out.
        pub fn new(by: i64) -> Self {
            Self { by, reason: None, inventory_id: None }
        }
    }

    impl Question for Adjust {
        const CAPABILITY: &'static str = "inventory.adjust";
        type Answer = AdjustAnswer;
    }

    /// What `inventory.adjust` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct AdjustAnswer {
        /// How many came in; below 0, how many went out.
        pub by: i64,
        /// How many can be sold now, where it is said.
        pub available: Option<i64>,
    }
}

/// `memory.*`
pub mod memory {
    use super::*;

    /// Adds to a number that is remembered; it begins at 0. Many runs may add at once and none is lost.
    ///
    /// The manifest wants `memory.add`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn add(question: &Add) -> Result<AddAnswer, Failure> {
        question.ask()
    }

    /// What `memory.add` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Add {
        /// The name of the value, such as `customer/115/coupons`.
        pub key: String,
        /// How much to add; below 0 takes away. Default: 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub by: Option<Value>,
    }

    impl Add {
        /// With what must be given; the rest is left out.
        pub fn new(key: impl Into<String>) -> Self {
            Self { key: key.into(), by: None }
        }
    }

    impl Question for Add {
        const CAPABILITY: &'static str = "memory.add";
        type Answer = AddAnswer;
    }

    /// What `memory.add` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct AddAnswer {
        /// The sum.
        pub value: Value,
    }

    /// Reads a value that a rule of this shop has remembered; nothing where there is none.
    ///
    /// The manifest wants `memory.get`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn get(question: &Get) -> Result<GetAnswer, Failure> {
        question.ask()
    }

    /// What `memory.get` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Get {
        /// The name of the value, such as `customer/115/coupons`.
        pub key: String,
    }

    impl Get {
        /// With what must be given; the rest is left out.
        pub fn new(key: impl Into<String>) -> Self {
            Self { key: key.into() }
        }
    }

    impl Question for Get {
        const CAPABILITY: &'static str = "memory.get";
        type Answer = GetAnswer;
    }

    /// What `memory.get` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct GetAnswer {
        /// What is remembered, or null.
        pub value: Value,
    }

    /// Remembers a value for later runs of this shop's rules; null forgets it.
    ///
    /// The manifest wants `memory.set`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn set(question: &Set) -> Result<SetAnswer, Failure> {
        question.ask()
    }

    /// What `memory.set` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Set {
        /// The name of the value, such as `customer/115/coupons`.
        pub key: String,
        /// What to remember: up to 16 KiB.
        pub value: Value,
        /// Remember only where this is the value so far; null: where there is none yet.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub only_if: Option<Value>,
    }

    impl Set {
        /// With what must be given; the rest is left out.
        pub fn new(key: impl Into<String>, value: impl Into<Value>) -> Self {
            Self { key: key.into(), value: value.into(), only_if: None }
        }
    }

    impl Question for Set {
        const CAPABILITY: &'static str = "memory.set";
        type Answer = SetAnswer;
    }

    /// What `memory.set` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct SetAnswer {
        /// Whether it was remembered: `only_if` held.
        pub stored: bool,
        /// What is remembered now.
        pub value: Value,
    }
}

/// `message.*`
pub mod message {
    use super::*;

    /// Writes to the event's customer by e-mail: an answer within the conversation, where the event is their
    /// e-mail. What a machine wrote is not answered.
    ///
    /// The manifest wants `message.send`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn send(question: &Send) -> Result<SendAnswer, Failure> {
        question.ask()
    }

    /// What `message.send` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Send {
        /// What to write, plain text.
        pub text: String,
        /// The subject line. Default: `Re:` and theirs, else the shop's name and the order's.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub subject: Option<String>,
        /// An e-mail address. Default: the event's customer's.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub to: Option<String>,
        /// What text and subject are held to before they go out, whoever wrote or edited them last:
        /// `given_facts_only`, `no_refund_promise`, `china_advertising_law` (no absolute terms), `max_chars: 600`,
        /// `never_say: [lifetime, 终身]`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub policy: Option<Vec<Value>>,
    }

    impl Send {
        /// With what must be given; the rest is left out.
        pub fn new(text: impl Into<String>) -> Self {
            Self { text: text.into(), subject: None, to: None, policy: None }
        }
    }

    impl Question for Send {
        const CAPABILITY: &'static str = "message.send";
        type Answer = SendAnswer;
    }

    /// What `message.send` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct SendAnswer {
        /// The mail's Message-ID.
        pub message_id: String,
    }
}

/// `model.*`
pub mod model {
    use super::*;

    /// Tells what a text is about: by a head trained on the shop's own examples (`storehand model train`), or by
    /// which of some descriptions it is nearest to. With both, the descriptions serve until the head is trained:
    /// then the language model says which name is the likeliest, as it does where there is no encoder. Where it
    /// is in doubt there is no intent.
    ///
    /// The manifest wants `model.classify`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn classify(question: &Classify) -> Result<ClassifyAnswer, Failure> {
        question.ask()
    }

    /// One of the `Classify`'s.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct ClassifyAmong {
        /// What the answer calls it.
        pub name: String,
        /// What it means. Default: its name.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub description: Option<String>,
        /// Messages that are about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub examples: Option<Vec<String>>,
    }

    impl ClassifyAmong {
        /// With what must be given; the rest is left out.
        pub fn new(name: impl Into<String>) -> Self {
            Self { name: name.into(), description: None, examples: None }
        }
    }

    /// What `model.classify` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Classify {
        /// What somebody wrote: `{{ message.text }}`.
        pub text: String,
        /// The head, as `storehand model train` named it.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub head: Option<String>,
        /// What the text may be about: without a head, or until it is trained.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub among: Option<Vec<ClassifyAmong>>,
        /// Below this confidence there is no intent. Default: with a head what follows from its `accept_errors`, else
        /// 0.5.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub at_least: Option<f64>,
    }

    impl Classify {
        /// With what must be given; the rest is left out.
        pub fn new(text: impl Into<String>) -> Self {
            Self { text: text.into(), head: None, among: None, at_least: None }
        }
    }

    impl Question for Classify {
        const CAPABILITY: &'static str = "model.classify";
        type Answer = ClassifyAnswer;
    }

    /// One of the `ClassifyAnswer`'s.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct ClassifyAnswerRanking {
        /// The intent.
        pub intent: String,
        /// How much the text is like it.
        pub score: f64,
    }

    /// What told it: the head, the descriptions it is nearest to, or the language model.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
    pub enum ClassifyAnswerBy {
        /// `head`
        #[serde(rename = "head")]
        Head,
        /// `descriptions`
        #[serde(rename = "descriptions")]
        Descriptions,
        /// `decoder`
        #[serde(rename = "decoder")]
        Decoder,
        /// A word that this SDK does not know.
        #[serde(other)]
        Other,
    }

    /// What `model.classify` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct ClassifyAnswer {
        /// The intent; none where it is in doubt.
        pub intent: Option<String>,
        /// How likely the likeliest intent is the right one.
        pub confidence: f64,
        /// Whether it was in doubt.
        pub abstained: bool,
        /// The likeliest intents.
        pub ranking: Option<Vec<ClassifyAnswerRanking>>,
        /// What told it: the head, the descriptions it is nearest to, or the language model.
        pub by: Option<ClassifyAnswerBy>,
        /// The model that was asked: `NAME@DIGEST`, of its files.
        pub model: Option<String>,
        /// The head, with its version.
        pub head: Option<String>,
        /// Whether the text was too long and only its beginning counted.
        pub truncated: Option<bool>,
    }

    /// Has the language model read a text and answer with JSON that keeps to a schema, token by token. What it
    /// finds is what the text says, not a fact: check it before anything rests on it.
    ///
    /// The manifest wants `model.extract`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn extract(question: &Extract) -> Result<ExtractAnswer, Failure> {
        question.ask()
    }

    /// What `model.extract` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Extract {
        /// What to read: a customer's message, for example.
        pub text: String,
        /// The JSON Schema that the answer keeps to. Give `enum` for what may be chosen, and `maxLength` for texts.
        pub schema: Value,
        /// What to look for. The schema is shown to the model in any case.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub prompt: Option<String>,
        /// Tokens to write at most. JSON that is not complete by then is the error `length`. Default: 256.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_tokens: Option<i64>,
        /// The model: the one in this process, or one of `model.upstreams`, by its name. `NAME@DIGEST`, with at least
        /// 8 digits of the digest that answers record, asks that very model and no other. Default: the one in this
        /// process.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub model: Option<String>,
    }

    impl Extract {
        /// With what must be given; the rest is left out.
        pub fn new(text: impl Into<String>, schema: impl Into<Value>) -> Self {
            Self { text: text.into(), schema: schema.into(), prompt: None, max_tokens: None, model: None }
        }
    }

    impl Question for Extract {
        const CAPABILITY: &'static str = "model.extract";
        type Answer = ExtractAnswer;
    }

    /// What `model.extract` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct ExtractAnswer {
        /// What was found, in the form that the schema gives.
        pub data: Value,
        /// The model: `NAME@DIGEST`; the digest is of its files, of an upstream of its address and model.
        pub model: Option<String>,
        /// The seed; the likeliest words are taken, whatever it is.
        pub seed: Option<i64>,
        /// The digest of the prompt as the model saw it.
        pub prompt_digest: Option<String>,
        /// Tokens read.
        pub prompt_tokens: Option<i64>,
        /// Tokens written.
        pub completion_tokens: Option<i64>,
    }

    /// Has the language model write a text. One that breaks the policy, or is not in the customer's language, is
    /// written once more, with the reason given to the model; a second one is held back: `on_violation` says what
    /// happens then.
    ///
    /// The manifest wants `model.write`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn write(question: &Write) -> Result<WriteAnswer, Failure> {
        question.ask()
    }

    /// What `model.write` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Write {
        /// What to write, for whom, and what is known.
        pub prompt: String,
        /// What the text is held to: `given_facts_only`, `no_refund_promise`, `china_advertising_law` (no absolute
        /// terms), `max_chars: 600`, `never_say: [lifetime, 终身]`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub policy: Option<Vec<Value>>,
        /// BCP 47. Default: the message's, else the customer's, else the shop's first.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub language: Option<String>,
        /// Tokens to write at most; a word is one or two. Default: 256.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub max_tokens: Option<i64>,
        /// 0 writes the likeliest words, 1 draws them as the model says. Default: 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub temperature: Option<f64>,
        /// The model's adapter to write with. Default: none.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub adapter: Option<String>,
        /// The same seed draws the same words. Default: one of the call's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub seed: Option<i64>,
        /// The model: the one in this process, or one of `model.upstreams`, by its name. `NAME@DIGEST`, with at least
        /// 8 digits of the digest that answers record, asks that very model and no other. Default: the one in this
        /// process.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub model: Option<String>,
    }

    impl Write {
        /// With what must be given; the rest is left out.
        pub fn new(prompt: impl Into<String>) -> Self {
            Self { prompt: prompt.into(), policy: None, language: None, max_tokens: None, temperature: None, adapter: None, seed: None, model: None }
        }
    }

    impl Question for Write {
        const CAPABILITY: &'static str = "model.write";
        type Answer = WriteAnswer;
    }

    /// What `model.write` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct WriteAnswer {
        /// What the model wrote.
        pub text: String,
        /// Whether it reached `max_tokens`; its last, unfinished sentence is left out then.
        pub cut: Option<bool>,
        /// Whether a first text broke the policy, and this one was written in its place.
        pub repaired: Option<bool>,
        /// The model: `NAME@DIGEST`; the digest is of its files, of an upstream of its address and model.
        pub model: Option<String>,
        /// The seed it drew with.
        pub seed: Option<i64>,
        /// The digest of the prompt as the model saw it.
        pub prompt_digest: Option<String>,
        /// The adapter it wrote with: `NAME@DIGEST`, of its file.
        pub adapter: Option<String>,
        /// Tokens read.
        pub prompt_tokens: Option<i64>,
        /// Tokens written.
        pub completion_tokens: Option<i64>,
    }
}

/// `order.*`
pub mod order {
    use super::*;

    /// Cancels an order, which cannot be taken back. One that is cancelled already stays as it is. Money that was
    /// paid is not given back by it.
    ///
    /// The manifest wants `order.cancel`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn cancel(question: &Cancel) -> Result<CancelAnswer, Failure> {
        question.ask()
    }

    /// Why, for the shop's own records. Default: other.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    pub enum CancelReason {
        /// `customer`
        #[serde(rename = "customer")]
        Customer,
        /// `declined`
        #[serde(rename = "declined")]
        Declined,
        /// `fraud`
        #[serde(rename = "fraud")]
        Fraud,
        /// `inventory`
        #[serde(rename = "inventory")]
        Inventory,
        /// `staff`
        #[serde(rename = "staff")]
        Staff,
        /// `other`
        #[serde(rename = "other")]
        Other,
    }

    /// What `order.cancel` is asked.
    #[derive(Clone, Debug, Default, PartialEq, Serialize)]
    pub struct Cancel {
        /// Why, for the shop's own records. Default: other.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub reason: Option<CancelReason>,
        /// Whether its goods go back into stock. Default: true.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub restock: Option<bool>,
        /// Whether the platform writes to the customer about it. Default: false.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub notify: Option<bool>,
        /// The platform's id of the order. Default: the event's order.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub order_id: Option<String>,
    }

    impl Question for Cancel {
        const CAPABILITY: &'static str = "order.cancel";
        type Answer = CancelAnswer;
    }

    /// `cancelling` where the platform has taken it and does it within some seconds.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
    pub enum CancelAnswerStatus {
        /// `cancelled`
        #[serde(rename = "cancelled")]
        Cancelled,
        /// `cancelling`
        #[serde(rename = "cancelling")]
        Cancelling,
        /// A word that this SDK does not know.
        #[serde(other)]
        Other,
    }

    /// What `order.cancel` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct CancelAnswer {
        /// `cancelling` where the platform has taken it and does it within some seconds.
        pub status: CancelAnswerStatus,
    }

    /// Reads an order from the shop's platform, as it is now. The answer is the order, with the same fields as
    /// the event's, and whether it is cancelled, returned or paid back by now.
    ///
    /// The manifest wants `order.get`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn get(question: &Get) -> Result<GetAnswer, Failure> {
        question.ask()
    }

    /// What `order.get` is asked.
    #[derive(Clone, Debug, Default, PartialEq, Serialize)]
    pub struct Get {
        /// The platform's id of it. Default: the event's order.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub id: Option<String>,
    }

    impl Question for Get {
        const CAPABILITY: &'static str = "order.get";
        type Answer = GetAnswer;
    }

    /// Who ordered.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct GetAnswerCustomer {
        /// The platform's id.
        pub id: Option<String>,
        /// E-mail address.
        pub email: Option<String>,
        /// Telephone number.
        pub phone: Option<String>,
        /// First and last name.
        pub name: Option<String>,
        /// First name.
        pub first_name: Option<String>,
        /// BCP 47, such as `en` or `zh-CN`.
        pub locale: Option<String>,
        /// The shop's own labels.
        pub tags: Option<Vec<String>>,
        /// How many orders this customer has placed.
        pub orders_count: Option<i64>,
        /// When the platform last changed it.
        pub updated_at: Option<String>,
    }

    /// One of the `GetAnswer`'s.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct GetAnswerLine {
        /// The platform's id of the line.
        pub id: Option<String>,
        /// The product.
        pub product_id: Option<String>,
        /// The variant of the product.
        pub variant_id: Option<String>,
        /// The shop's article number.
        pub sku: Option<String>,
        /// As the customer saw it.
        pub name: Option<String>,
        /// How many.
        pub quantity: Option<i64>,
        /// The price of one, before discounts.
        pub unit_price: Option<String>,
        /// The price of all, before discounts on the whole order.
        pub total: Option<String>,
    }

    /// Where it goes.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct GetAnswerShippingAddress {
        /// Who receives it.
        pub name: Option<String>,
        /// A company.
        pub company: Option<String>,
        /// Street and number.
        pub address1: Option<String>,
        /// Flat, floor, building.
        pub address2: Option<String>,
        /// Town.
        pub city: Option<String>,
        /// State or province.
        pub province: Option<String>,
        /// Postal code.
        pub zip: Option<String>,
        /// ISO 3166-1, two letters.
        pub country: Option<String>,
        /// For the carrier.
        pub phone: Option<String>,
    }

    /// What `order.get` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct GetAnswer {
        /// The platform's id.
        pub id: Option<String>,
        /// The number that counts up in the shop, such as `1042`.
        pub number: Option<String>,
        /// What people call it, such as `#1042`.
        pub name: Option<String>,
        /// `open`, `closed` or `cancelled`.
        pub status: Option<String>,
        /// `pending`, `authorized`, `paid`, `partially_paid`, `refunded`, `partially_refunded` or `voided`.
        pub financial_status: Option<String>,
        /// `unfulfilled`, `partial` or `fulfilled`.
        pub fulfillment_status: Option<String>,
        /// ISO 4217.
        pub currency: Option<String>,
        /// What the customer pays, with tax and shipping, after discounts.
        pub total: Option<String>,
        /// The lines' sum after discounts, before shipping.
        pub subtotal: Option<String>,
        /// Tax within or on top of the total.
        pub tax: Option<String>,
        /// Shipping.
        pub shipping: Option<String>,
        /// All discounts together.
        pub discount: Option<String>,
        /// Who ordered.
        pub customer: Option<GetAnswerCustomer>,
        /// What was ordered.
        pub lines: Option<Vec<GetAnswerLine>>,
        /// Where it goes.
        pub shipping_address: Option<GetAnswerShippingAddress>,
        /// The shop's own labels.
        pub tags: Option<Vec<String>>,
        /// What the customer wrote with the order.
        pub note: Option<String>,
        /// `none`, `requested`, `in_progress`, `inspected`, `returned` or `failed`. Known where the order was read
        /// from the platform.
        pub return_status: Option<String>,
        /// How much was given back so far. Known where the order was read from the platform.
        pub refunded: Option<String>,
        /// When it was placed.
        pub created_at: Option<String>,
        /// When it was cancelled.
        pub cancelled_at: Option<String>,
        /// When the platform last changed it.
        pub updated_at: Option<String>,
    }

    /// Keeps what is left to send of an order from being sent, until `order.release` or a person lets it go.
    ///
    /// The manifest wants `order.hold`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn hold(question: &Hold) -> Result<HoldAnswer, Failure> {
        question.ask()
    }

    /// Why, for the shop's own records. Default: other.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    pub enum HoldReason {
        /// `payment`
        #[serde(rename = "payment")]
        Payment,
        /// `fraud`
        #[serde(rename = "fraud")]
        Fraud,
        /// `address`
        #[serde(rename = "address")]
        Address,
        /// `inventory`
        #[serde(rename = "inventory")]
        Inventory,
        /// `other`
        #[serde(rename = "other")]
        Other,
    }

    /// What `order.hold` is asked.
    #[derive(Clone, Debug, Default, PartialEq, Serialize)]
    pub struct Hold {
        /// Why, for the shop's own records. Default: other.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub reason: Option<HoldReason>,
        /// Why, for people in the shop.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub note: Option<String>,
        /// The platform's id of the order. Default: the event's order.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub order_id: Option<String>,
    }

    impl Question for Hold {
        const CAPABILITY: &'static str = "order.hold";
        type Answer = HoldAnswer;
    }

    /// What `order.hold` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct HoldAnswer {
        /// How many parts of the order are held.
        pub held: i64,
        /// The name of this hold: `order.release` takes it off by it.
        pub handle: String,
    }

    /// Adds a line to an order's note, with a short mark at its end by which Storehand knows it again. A change
    /// that a person makes to the note in the same instant can be lost.
    ///
    /// The manifest wants `order.note`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn note(question: &Note) -> Result<NoteAnswer, Failure> {
        question.ask()
    }

    /// What `order.note` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Note {
        /// What to note, in one line.
        pub text: String,
        /// The platform's id of the order. Default: the event's order.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub order_id: Option<String>,
    }

    impl Note {
        /// With what must be given; the rest is left out.
        pub fn new(text: impl Into<String>) -> Self {
            Self { text: text.into(), order_id: None }
        }
    }

    impl Question for Note {
        const CAPABILITY: &'static str = "order.note";
        type Answer = NoteAnswer;
    }

    /// What `order.note` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct NoteAnswer {
        /// The whole note now.
        pub note: String,
    }

    /// Lets an order be sent that Storehand holds. Holds of people and of other programs stay.
    ///
    /// The manifest wants `order.release`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn release(question: &Release) -> Result<ReleaseAnswer, Failure> {
        question.ask()
    }

    /// What `order.release` is asked.
    #[derive(Clone, Debug, Default, PartialEq, Serialize)]
    pub struct Release {
        /// Which hold, as `order.hold` named it. Default: all of Storehand's.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub handle: Option<String>,
        /// The platform's id of the order. Default: the event's order.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub order_id: Option<String>,
    }

    impl Question for Release {
        const CAPABILITY: &'static str = "order.release";
        type Answer = ReleaseAnswer;
    }

    /// What `order.release` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct ReleaseAnswer {
        /// How many holds were taken off; 0 where there was none.
        pub released: i64,
    }

    /// Adds tags to an order. Tags that it has already stay as they are.
    ///
    /// The manifest wants `order.tag`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn tag(question: &Tag) -> Result<TagAnswer, Failure> {
        question.ask()
    }

    /// What `order.tag` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Tag {
        /// The labels to add, 40 characters each at most, without commas.
        pub tags: Vec<String>,
        /// The platform's id of the order. Default: the event's order.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub order_id: Option<String>,
    }

    impl Tag {
        /// With what must be given; the rest is left out.
        pub fn new(tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
            Self { tags: tags.into_iter().map(Into::into).collect(), order_id: None }
        }
    }

    impl Question for Tag {
        const CAPABILITY: &'static str = "order.tag";
        type Answer = TagAnswer;
    }

    /// What `order.tag` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct TagAnswer {
        /// All tags that it has now.
        pub tags: Vec<String>,
    }

    /// Takes tags off an order. Tags that it does not have are passed over.
    ///
    /// The manifest wants `order.untag`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn untag(question: &Untag) -> Result<UntagAnswer, Failure> {
        question.ask()
    }

    /// What `order.untag` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Untag {
        /// The labels to take off, 40 characters each at most, without commas.
        pub tags: Vec<String>,
        /// The platform's id of the order. Default: the event's order.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub order_id: Option<String>,
    }

    impl Untag {
        /// With what must be given; the rest is left out.
        pub fn new(tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
            Self { tags: tags.into_iter().map(Into::into).collect(), order_id: None }
        }
    }

    impl Question for Untag {
        const CAPABILITY: &'static str = "order.untag";
        type Answer = UntagAnswer;
    }

    /// What `order.untag` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct UntagAnswer {
        /// All tags that it has now.
        pub tags: Vec<String>,
    }
}

/// `product.*`
pub mod product {
    use super::*;

    /// Reads a product from the shop's platform, as it is now. The answer is the product, with the same fields as
    /// the event's, and the price of its first variant.
    ///
    /// The manifest wants `product.get`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn get(question: &Get) -> Result<GetAnswer, Failure> {
        question.ask()
    }

    /// What `product.get` is asked.
    #[derive(Clone, Debug, Default, PartialEq, Serialize)]
    pub struct Get {
        /// The platform's id of the product. Default: the event's product.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub product_id: Option<String>,
    }

    impl Question for Get {
        const CAPABILITY: &'static str = "product.get";
        type Answer = GetAnswer;
    }

    /// What `product.get` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct GetAnswer {
        /// The platform's id.
        pub id: Option<String>,
        /// What people call it.
        pub title: Option<String>,
        /// The shop's text about it.
        pub description: Option<String>,
        /// Who makes it.
        pub vendor: Option<String>,
        /// What kind of thing it is.
        pub kind: Option<String>,
        /// `active`, `draft` or `archived`.
        pub status: Option<String>,
        /// The shop's own labels.
        pub tags: Option<Vec<String>>,
        /// The shop's article numbers of its variants.
        pub skus: Option<Vec<String>>,
        /// The first variant's price.
        pub price: Option<String>,
        /// When the platform last changed it.
        pub updated_at: Option<String>,
    }

    /// Adds tags to a product. Tags that it has already stay as they are.
    ///
    /// The manifest wants `product.tag`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn tag(question: &Tag) -> Result<TagAnswer, Failure> {
        question.ask()
    }

    /// What `product.tag` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Tag {
        /// The labels, 40 characters each at most, without commas.
        pub tags: Vec<String>,
        /// The platform's id of the product. Default: the event's product.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub product_id: Option<String>,
    }

    impl Tag {
        /// With what must be given; the rest is left out.
        pub fn new(tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
            Self { tags: tags.into_iter().map(Into::into).collect(), product_id: None }
        }
    }

    impl Question for Tag {
        const CAPABILITY: &'static str = "product.tag";
        type Answer = TagAnswer;
    }

    /// What `product.tag` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct TagAnswer {
        /// All tags that it has now.
        pub tags: Vec<String>,
    }

    /// Takes tags off a product. Tags that it does not have are passed over.
    ///
    /// The manifest wants `product.untag`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn untag(question: &Untag) -> Result<UntagAnswer, Failure> {
        question.ask()
    }

    /// What `product.untag` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Untag {
        /// The labels, 40 characters each at most, without commas.
        pub tags: Vec<String>,
        /// The platform's id of the product. Default: the event's product.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub product_id: Option<String>,
    }

    impl Untag {
        /// With what must be given; the rest is left out.
        pub fn new(tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
            Self { tags: tags.into_iter().map(Into::into).collect(), product_id: None }
        }
    }

    impl Question for Untag {
        const CAPABILITY: &'static str = "product.untag";
        type Answer = UntagAnswer;
    }

    /// What `product.untag` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct UntagAnswer {
        /// All tags that it has now.
        pub tags: Vec<String>,
    }

    /// Writes the fields that are given of a product, in the place of what is there. The others stay.
    ///
    /// The manifest wants `product.update`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn update(question: &Update) -> Result<UpdateAnswer, Failure> {
        question.ask()
    }

    /// Whether customers see it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    pub enum UpdateStatus {
        /// `active`
        #[serde(rename = "active")]
        Active,
        /// `draft`
        #[serde(rename = "draft")]
        Draft,
        /// `archived`
        #[serde(rename = "archived")]
        Archived,
    }

    /// What `product.update` is asked.
    #[derive(Clone, Debug, Default, PartialEq, Serialize)]
    pub struct Update {
        /// What people call it.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub title: Option<String>,
        /// The shop's text about it, as HTML.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub description: Option<String>,
        /// Who makes it.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub vendor: Option<String>,
        /// What kind of thing it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub kind: Option<String>,
        /// Whether customers see it.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub status: Option<UpdateStatus>,
        /// The platform's id of the product. Default: the event's product.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub product_id: Option<String>,
    }

    impl Question for Update {
        const CAPABILITY: &'static str = "product.update";
        type Answer = UpdateAnswer;
    }

    /// What `product.update` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct UpdateAnswer {
        /// The platform's id.
        pub id: Option<String>,
        /// What people call it.
        pub title: Option<String>,
        /// The shop's text about it.
        pub description: Option<String>,
        /// Who makes it.
        pub vendor: Option<String>,
        /// What kind of thing it is.
        pub kind: Option<String>,
        /// `active`, `draft` or `archived`.
        pub status: Option<String>,
        /// The shop's own labels.
        pub tags: Option<Vec<String>>,
        /// The shop's article numbers of its variants.
        pub skus: Option<Vec<String>>,
        /// The first variant's price.
        pub price: Option<String>,
        /// When the platform last changed it.
        pub updated_at: Option<String>,
    }
}

/// `refund.*`
pub mod refund {
    use super::*;

    /// Gives money back for an order, over the ways by which it was paid. A person must have approved it in this
    /// run (`approval.request`), unless `up_to` names one of the rule's inputs that says up to how much nobody is
    /// asked.
    ///
    /// The manifest wants `refund.create`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn create(question: &Create) -> Result<CreateAnswer, Failure> {
        question.ask()
    }

    /// What `refund.create` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Create {
        /// How much: of a record or an input, such as `{{ returned.total }}`.
        pub amount: String,
        /// Up to how much nobody is asked: one of the rule's inputs, such as `{{ inputs.limit }}`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub up_to: Option<String>,
        /// Why, for people in the shop.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub note: Option<String>,
        /// Whether the platform writes to the customer about it. Default: false.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub notify: Option<bool>,
        /// The platform's id of the order. Default: the event's order.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub order_id: Option<String>,
    }

    impl Create {
        /// With what must be given; the rest is left out.
        pub fn new(amount: impl Into<String>) -> Self {
            Self { amount: amount.into(), up_to: None, note: None, notify: None, order_id: None }
        }
    }

    impl Question for Create {
        const CAPABILITY: &'static str = "refund.create";
        type Answer = CreateAnswer;
    }

    /// What `refund.create` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct CreateAnswer {
        /// The platform's id of the refund.
        pub refund_id: String,
        /// How much was given back.
        pub amount: String,
    }
}

/// `report.*`
pub mod report {
    use super::*;

    /// Adds a line to a report, which a rule with a schedule takes with `report.take` and sends. A report holds
    /// 500 lines at the most.
    ///
    /// The manifest wants `report.add`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn add(question: &Add) -> Result<AddAnswer, Failure> {
        question.ask()
    }

    /// What `report.add` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Add {
        /// The line.
        pub text: String,
        /// Which report. Default: `daily`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub report: Option<String>,
    }

    impl Add {
        /// With what must be given; the rest is left out.
        pub fn new(text: impl Into<String>) -> Self {
            Self { text: text.into(), report: None }
        }
    }

    impl Question for Add {
        const CAPABILITY: &'static str = "report.add";
        type Answer = AddAnswer;
    }

    /// What `report.add` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct AddAnswer {
        /// How many lines wait in it now.
        pub lines: i64,
    }

    /// Takes all lines of a report, the oldest first. From then on it is empty.
    ///
    /// The manifest wants `report.take`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn take(question: &Take) -> Result<TakeAnswer, Failure> {
        question.ask()
    }

    /// What `report.take` is asked.
    #[derive(Clone, Debug, Default, PartialEq, Serialize)]
    pub struct Take {
        /// Which report. Default: `daily`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub report: Option<String>,
    }

    impl Question for Take {
        const CAPABILITY: &'static str = "report.take";
        type Answer = TakeAnswer;
    }

    /// One of the `TakeAnswer`'s.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct TakeAnswerValue {
        /// When it was added.
        pub at: String,
        /// The line.
        pub text: String,
    }

    /// What `report.take` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct TakeAnswer {
        /// The lines.
        pub value: Vec<TakeAnswerValue>,
    }
}

/// Goes on later. Runs of the same lane need not wait for it.
///
/// The manifest wants `wait`.
///
/// # Errors
/// Why it was not done.
pub fn wait(question: &Wait) -> Result<WaitAnswer, Failure> {
    question.ask()
}

/// What `wait` is asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wait {
    /// How long, such as `10m`, `24h`, `7d`; a year at most.
    pub r#for: String,
}

impl Wait {
    /// With what must be given; the rest is left out.
    pub fn new(r#for: impl Into<String>) -> Self {
        Self { r#for: r#for.into() }
    }
}

impl Question for Wait {
    const CAPABILITY: &'static str = "wait";
    type Answer = WaitAnswer;
}

/// What `wait` answers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct WaitAnswer {}

/// Goes on when something happens, at once where it has happened since the run began, or when the time is
/// over.
///
/// The manifest wants `wait_for`.
///
/// # Errors
/// Why it was not done.
pub fn wait_for(question: &WaitFor) -> Result<WaitForAnswer, Failure> {
    question.ask()
}

/// What is waited for, written out: an event type such as `order.fulfilled`, or all of a kind: `order.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum WaitForEvent {
    /// `order.created`
    #[serde(rename = "order.created")]
    OrderCreated,
    /// `order.updated`
    #[serde(rename = "order.updated")]
    OrderUpdated,
    /// `order.paid`
    #[serde(rename = "order.paid")]
    OrderPaid,
    /// `order.fulfilled`
    #[serde(rename = "order.fulfilled")]
    OrderFulfilled,
    /// `order.cancelled`
    #[serde(rename = "order.cancelled")]
    OrderCancelled,
    /// `return.requested`
    #[serde(rename = "return.requested")]
    ReturnRequested,
    /// `return.approved`
    #[serde(rename = "return.approved")]
    ReturnApproved,
    /// `return.declined`
    #[serde(rename = "return.declined")]
    ReturnDeclined,
    /// `return.closed`
    #[serde(rename = "return.closed")]
    ReturnClosed,
    /// `refund.created`
    #[serde(rename = "refund.created")]
    RefundCreated,
    /// `dispute.created`
    #[serde(rename = "dispute.created")]
    DisputeCreated,
    /// `dispute.updated`
    #[serde(rename = "dispute.updated")]
    DisputeUpdated,
    /// `customer.created`
    #[serde(rename = "customer.created")]
    CustomerCreated,
    /// `customer.updated`
    #[serde(rename = "customer.updated")]
    CustomerUpdated,
    /// `customer.redacted`
    #[serde(rename = "customer.redacted")]
    CustomerRedacted,
    /// `customer.data_requested`
    #[serde(rename = "customer.data_requested")]
    CustomerDataRequested,
    /// `message.received`
    #[serde(rename = "message.received")]
    MessageReceived,
    /// `message.automatic`
    #[serde(rename = "message.automatic")]
    MessageAutomatic,
    /// `order.*`
    #[serde(rename = "order.*")]
    OrderAny,
    /// `return.*`
    #[serde(rename = "return.*")]
    ReturnAny,
    /// `refund.*`
    #[serde(rename = "refund.*")]
    RefundAny,
    /// `dispute.*`
    #[serde(rename = "dispute.*")]
    DisputeAny,
    /// `customer.*`
    #[serde(rename = "customer.*")]
    CustomerAny,
    /// `message.*`
    #[serde(rename = "message.*")]
    MessageAny,
}

/// What `wait_for` is asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaitFor {
    /// What is waited for, written out: an event type such as `order.fulfilled`, or all of a kind: `order.*`.
    pub event: WaitForEvent,
    /// How long to wait, such as `7d`; a year at most. Then the answer is `timed_out`.
    pub within: String,
    /// Of which order. Default: the event's own order, else its customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// Of which customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// Of which return.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_id: Option<String>,
    /// In which conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
}

impl WaitFor {
    /// With what must be given; the rest is left out.
    pub fn new(event: WaitForEvent, within: impl Into<String>) -> Self {
        Self { event, within: within.into(), order_id: None, customer_id: None, return_id: None, conversation_id: None }
    }
}

impl Question for WaitFor {
    const CAPABILITY: &'static str = "wait_for";
    type Answer = WaitForAnswer;
}

/// What `wait_for` answers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct WaitForAnswer {
    /// Whether it did not happen in time.
    pub timed_out: bool,
    /// What happened: its `id`, `type`, `subject` and `time`; nothing where nothing did.
    pub event: Option<Value>,
    /// The order that this is about.
    pub order: Option<Value>,
    /// The return that this is about. (`return` is a word of the script language.)
    pub returned: Option<Value>,
    /// The refund that this is about.
    pub refund: Option<Value>,
    /// The stock level that this is about.
    pub inventory: Option<Value>,
    /// The product that this is about.
    pub product: Option<Value>,
    /// The customer that this is about.
    pub customer: Option<Value>,
    /// The message that this is about.
    pub message: Option<Value>,
    /// The dispute that this is about.
    pub dispute: Option<Value>,
}

/// `webhook.*`
pub mod webhook {
    use super::*;

    /// Tells another program on the public internet of something: a POST of `type`, `timestamp` and `data`,
    /// signed as Standard Webhooks (standardwebhooks.com).
    ///
    /// The manifest wants `webhook.send`.
    ///
    /// # Errors
    /// Why it was not done.
    pub fn send(question: &Send) -> Result<SendAnswer, Failure> {
        question.ask()
    }

    /// What `webhook.send` is asked.
    #[derive(Clone, Debug, PartialEq, Serialize)]
    pub struct Send {
        /// Where to, with `https://`.
        pub url: String,
        /// What happened, such as `order.held`.
        pub r#type: String,
        /// What belongs to it; up to 64 KiB as JSON.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub data: Option<Value>,
        /// The name of one of the shop's secrets (`whsec_…`): signs it.
        pub secret: String,
    }

    impl Send {
        /// With what must be given; the rest is left out.
        pub fn new(url: impl Into<String>, r#type: impl Into<String>, secret: impl Into<String>) -> Self {
            Self { url: url.into(), r#type: r#type.into(), data: None, secret: secret.into() }
        }
    }

    impl Question for Send {
        const CAPABILITY: &'static str = "webhook.send";
        type Answer = SendAnswer;
    }

    /// What `webhook.send` answers.
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct SendAnswer {
        /// The HTTP status.
        pub status: i64,
    }
}
