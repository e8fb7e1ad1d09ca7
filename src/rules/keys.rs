//! The keys of a rule file, each with its sentence: the checker and the editor's schema both read these.

/// A key of a rule file.
#[derive(Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// A table of keys for one place in the file.
pub type Keys = &'static [Key];

macro_rules! keys {
    ($($(#[doc = $about:literal])+ $table:ident { $($name:literal $doc:literal)* })*) => {$(
        $(#[doc = $about])+
        pub(super) const $table: Keys = &[$(Key { name: $name, doc: $doc }),*];
    )*};
}

keys! {
    /// The file itself.
    RULE {
        "id" "Unique in the shop: lower-case letters, digits and `-`."
        "name" "For people: one text, or one by language."
        "status" "Whether it runs: `draft`, `shadow`, `live` or `paused`."
        "inputs" "What may be tuned without reading the rule. Expressions write `inputs.name`."
        "triggers" "What it listens to."
        "conditions" "Expressions; all must hold. `all:`, `any:` and `not:` nest."
        "key" "An expression that names the lane: runs with the same key go one after another. Default: the event's subject."
        "overlap" "What happens to a new run when its lane is busy: `queue`, `parallel`, `restart` or `skip`."
        "on_change" "What happens to waiting runs when a new version goes live: `finish_old`, `migrate` or `cancel`."
        "limits" "How often, and for how much, it may act: all of its runs together."
        "allow" "The writes that this rule may make."
        "steps" "What it does, one after another."
        "script" "What it does, as a Rhai script in a file beside this one, in place of `steps`."
        "tests" "The rule's own tests, run by `storehand rules test`."
    }
    /// A rule's `limits`.
    LIMITS {
        "calls" "The most writes within a time, such as `200/h`."
        "money" "The most money that it moves within a time, such as `500 EUR/d`."
        "per_customer" "The most messages that one customer gets from it within a time, such as `2/7d`."
    }
    /// One of `inputs`.
    INPUT {
        "type" "What it holds: `text`, `integer`, `number`, `money`, `duration`, `boolean` or `list`."
        "default" "Its value until the shop sets another."
        "label" "For people: one text, or one by language."
    }
    /// One of `triggers`.
    TRIGGER {
        "event" "An event type such as `order.created`, or all of a kind: `order.*`."
        "schedule" "Times, as cron writes them: minute, hour, day, month, weekday. `0 9 * * 1` is Mondays at 9:00."
        "time_zone" "Whose clocks the schedule means, such as `Europe/Berlin`. Default: the shop's."
        "missed" "What becomes of times that passed while Storehand was not running: `once` makes up for them together, `skip` leaves them out."
    }
    /// A condition that is not an expression.
    CONDITION {
        "all" "All of these must hold."
        "any" "One of these must hold."
        "not" "This must not hold."
    }
    /// One of `steps`.
    STEP {
        "id" "A name for its answer, which later steps write as `steps.name`."
        "uses" "The capability."
        "with" "What it is asked. Texts may hold expressions in `{{ }}`."
        "for_each" "A list, such as `order.lines`: once for each item of it, which is `item` in the step."
        "if" "An expression: the step, or the item, is left out where it does not hold."
        "retry" "How often and how patiently to try again when it fails."
        "on_error" "What to do when it fails for good: `continue`, `stop`, or `use:` an answer of your own."
        "on_violation" "What to do when a written text breaks its policy: `fail`, `fallback:` to a text of your own, or `approval:` to a person."
    }
    /// A step's `retry`.
    RETRY {
        "attempts" "How often in all, 1 to 20."
        "first" "The pause after the first failure, such as `30s`; it doubles each time."
        "max" "The longest pause, such as `1h`."
    }
    /// A step's `on_error`.
    ON_ERROR {
        "use" "Go on with this as the step's answer."
    }
    /// A step's `on_violation`.
    ON_VIOLATION {
        "fallback" "Go on with this text."
        "approval" "Show the text to a person, named in your own words such as `support`; they may let it out, or write another."
        "timeout" "How long they have. Default: `24h`; then the run ends as declined."
    }
    /// One of `tests`.
    TEST {
        "name" "What it shows."
        "event" "The event: a JSON file beside the rule, or written out here."
        "mocks" "Answers: by step id, by step and item (`draft/2`), or by capability."
        "advance" "How far the clock is moved once the run rests, such as `10m`."
        "expect" "What must come of it."
    }
    /// A test's `expect`.
    EXPECT {
        "calls" "The writes that are made, in this order."
        "never" "Capabilities that are not used."
        "matched" "`false` where the rule must not run."
        "why_not" "A part of the condition that must not hold, or of what it saw: `order.total`. The rule must not run."
        "outcome" "How the run ends: `done`, `failed`, `declined` or `waiting`."
    }
    /// One of `expect.calls`.
    EXPECTED_CALL {
        "uses" "The capability."
        "with" "A part of its input."
    }
    /// A test's `event`.
    EVENT {
        "type" "The event type."
        "subject" "What it is about, such as `order/1042`."
        "time" "When it happened, such as `2026-11-23T09:00:00Z`."
        "source" "Where it came from, such as `/shopify/acme`."
        "data" "The records, by the names that expressions use."
        "id" "Not looked at."
        "specversion" "`1.0`; not looked at."
        "datacontenttype" "Not looked at."
        "shop" "Not looked at."
        "deliverykey" "Not looked at."
        "origintopic" "The platform's own word: `event.topic`."
    }
}

/// Every table, with the place in the file that it is for.
pub const KEYS: &[(&str, Keys)] = &[
    ("The file", RULE),
    ("Words of `status`", STATUS),
    ("`inputs`, each", INPUT),
    ("`triggers`, each", TRIGGER),
    ("`conditions`, where one is no expression", CONDITION),
    ("`limits`", LIMITS),
    ("`steps`, each", STEP),
    ("A step's `retry`", RETRY),
    ("A step's `on_error`, where it is no word", ON_ERROR),
    ("A step's `on_violation`, where it is no word", ON_VIOLATION),
    ("`tests`, each", TEST),
    ("A test's `event`, written out", EVENT),
    ("A test's `expect`", EXPECT),
    ("`expect.calls`, each", EXPECTED_CALL),
];

/// The words of `status`, with what they mean.
pub(super) const STATUS: Keys = &[
    Key { name: "draft", doc: "Being written: checked and tested, does not run." },
    Key { name: "shadow", doc: "Runs beside the live version; its writes are recorded, not made." },
    Key { name: "live", doc: "Runs." },
    Key { name: "paused", doc: "Starts no new runs; those under way go on." },
];
