//! Who answers a backtest's calls: what is on record, else the model where it is asked to, else nobody, so that the
//! capability's stand-in does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::happened::Happened;
use crate::domain::{Answer, Attempt, Awaits, Call, Facts, Failure, Kind, Mode, RunId, Shop, Verdict};
use crate::engine::registry::Registry;
use crate::engine::rehearse::Answerer;

/// What an event's runs of a rule asked the world, and were answered.
///
/// By what was asked rather than by version and path: the answer to a question about an event does not depend on
/// which version asked it, and a changed rule that was denied the answers of the old one would differ everywhere.
#[derive(Debug, Default)]
pub(super) struct Past(HashMap<String, Vec<(String, Answer)>>);

/// Answers that a run gets because it is over, or its process ended: they say nothing of the world.
const NOT_OF_THE_WORLD: [&str; 4] = ["cancelled", "interrupted", "internal", "limited"];

impl Past {
    pub(super) fn new(runs: impl Iterator<Item = (Mode, Vec<Call>)>, registry: &Registry) -> Self {
        let mut by_digest: HashMap<String, Vec<(String, Answer)>> = HashMap::new();
        for (mode, calls) in runs {
            for call in calls {
                let Some(kind) = registry.get(&call.capability).map(|capability| capability.spec().kind) else {
                    continue;
                };
                // A shadow's writes were never made: their answers are stand-ins.
                let asked_the_world = kind == Kind::Read || kind == Kind::Write && mode == Mode::Live;
                let Some(answer) = call.answer.filter(|_| asked_the_world) else { continue };
                if !matches!(&answer, Answer::Failed(it) if NOT_OF_THE_WORLD.contains(&it.code.as_str())) {
                    by_digest.entry(call.digest).or_default().push((call.path, answer));
                }
            }
        }
        Self(by_digest)
    }

    /// What the same question was answered: at the same place, else wherever it was asked.
    fn answer(&self, call: &Call) -> Option<&Answer> {
        let answers = self.0.get(&call.digest)?;
        let here = answers.iter().find(|(path, _)| *path == call.path);
        here.or(answers.first()).map(|(_, answer)| answer)
    }
}

/// Where an answer came from that no stand-in gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Record,
    Model,
}

/// Answers one run's calls.
pub(super) struct Answers<'a> {
    pub(super) past: &'a Past,
    pub(super) registry: &'a Registry,
    pub(super) facts: &'a Facts,
    pub(super) model: Option<&'a Arc<Shop>>,
    /// What has happened that a call may wait for.
    pub(super) happened: &'a Happened,
    /// By path.
    pub(super) sources: &'a mut BTreeMap<String, Source>,
}

impl Answerer for Answers<'_> {
    fn answer(&mut self, call: &Call) -> Option<Answer> {
        let recorded = self.past.answer(call).map(|answer| (answer.clone(), Source::Record));
        let (answer, source) = recorded.or_else(|| Some((self.ask_model(call)?, Source::Model)))?;
        self.sources.insert(call.path.clone(), source);
        Some(answer)
    }

    fn awaited(
        &mut self,
        _call: &Call,
        awaits: &Awaits,
        now: Timestamp,
        _until: Timestamp,
    ) -> Option<(Timestamp, Answer)> {
        self.happened.first(awaits, &self.facts.event).map(|answer| (now, answer))
    }
}

impl Answers<'_> {
    fn ask_model(&self, call: &Call) -> Option<Answer> {
        let shop = self.model.filter(|_| call.capability.starts_with("model."))?;
        let capability = self.registry.get(&call.capability)?;
        let attempt = Attempt {
            shop: shop.clone(),
            facts: self.facts.clone(),
            run: RunId(0),
            path: call.path.clone(),
            key: format!("backtest/{}/{}", self.facts.event.id, call.path),
            approved_by: None,
            number: 1,
            now: self.facts.now,
            cancelled: CancellationToken::new(),
            watch: None,
            on_record: None,
        };
        let performing = tokio::time::timeout(capability.spec().deadline, capability.perform(&attempt, &call.input));
        // Runs are tried on a thread of their own, which may wait.
        Some(match tokio::runtime::Handle::current().block_on(performing) {
            Ok(Verdict::Done(answer)) => Answer::Done(answer),
            Ok(Verdict::Refused(failure)) => Answer::Failed(failure),
            Ok(Verdict::RetryAfter(_, why) | Verdict::Unknown(why)) => Answer::Failed(Failure::new("refused", why)),
            Ok(Verdict::Until(_) | Verdict::Await(..) | Verdict::Memory(_)) => return None,
            Err(_) => Answer::Failed(Failure::new("refused", "the model did not answer in time")),
        })
    }
}
