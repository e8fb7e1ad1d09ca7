//! How well a head does: what became of messages whose intents are known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Confusions that a report names.
const MOST_CONFUSIONS: usize = 12;

/// Of in-scope messages, the share that is turned away where reports compare how well others are recognised.
const TURNED_AWAY: f64 = 0.05;

/// What became of one message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome<'a> {
    pub(super) language: &'a str,
    pub(super) text: &'a str,
    /// The place of its intent; `None` where it has none.
    pub(super) intent: Option<usize>,
    /// The place of the intent that it was given, if one was.
    pub(super) best: usize,
    /// How sure that is, 0 to 1.
    pub(super) confidence: f64,
}

impl Outcome<'_> {
    pub(super) fn right(&self) -> bool {
        self.intent == Some(self.best)
    }

    /// How many messages it stands for, where one without an intent stands for as many as `others`.
    fn weight(&self, others: f64) -> f64 {
        if self.intent.is_some() { 1.0 } else { others }
    }
}

/// How well a head does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// All messages that have an intent.
    pub all: Tally,
    /// The same by language.
    pub languages: BTreeMap<String, Tally>,
    /// Messages that have none: each that was answered was answered wrongly.
    pub out_of_scope: Tally,
    /// Of those that have none, the share that gets no intent where 5 % of the others get none either; nothing where
    /// there are none.
    pub recognised_at_5_percent: Option<f64>,
    /// Intents that were taken for others, the most frequent first.
    pub confusions: Vec<Confusion>,
}

/// Messages counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All of them.
    pub messages: usize,
    /// Those whose likeliest intent is the right one, however doubtful.
    pub right: usize,
    /// Those that got an intent.
    pub answered: usize,
    /// Those that got a wrong one.
    pub wrong: usize,
}

impl Tally {
    fn add(&mut self, outcome: &Outcome<'_>, threshold: f64) {
        self.messages += 1;
        self.right += usize::from(outcome.right());
        let answered = outcome.confidence >= threshold;
        self.answered += usize::from(answered);
        self.wrong += usize::from(answered && !outcome.right());
    }
}

/// An intent that was taken for another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// What the messages were.
    pub intent: String,
    /// What they were taken for.
    pub taken_for: String,
    /// How many.
    pub messages: usize,
    /// One of them.
    pub example: String,
}

impl Report {
    pub(super) fn new(outcomes: &[Outcome<'_>], threshold: f64, names: &[String]) -> Self {
        let mut report = Self::default();
        let mut confusions: BTreeMap<(usize, usize), (usize, &str)> = BTreeMap::new();
        for outcome in outcomes {
            let Some(intent) = outcome.intent else {
                report.out_of_scope.add(outcome, threshold);
                continue;
            };
            report.all.add(outcome, threshold);
            report.languages.entry(outcome.language.to_owned()).or_default().add(outcome, threshold);
            if !outcome.right() {
                confusions.entry((intent, outcome.best)).or_insert((0, outcome.text)).0 += 1;
            }
        }
        report.recognised_at_5_percent = recognised(outcomes);
        let name = |place: usize| names.get(place).cloned().unwrap_or_default();
        report.confusions = confusions
            .into_iter()
            .map(|((intent, best), (messages, example))| Confusion {
                intent: name(intent),
                taken_for: name(best),
                messages,
                example: example.to_owned(),
            })
            .collect();
        report.confusions.sort_by_key(|confusion| std::cmp::Reverse(confusion.messages));
        report.confusions.truncate(MOST_CONFUSIONS);
        report
    }
}

/// Of the messages without an intent, the share below the confidence that 5 % of the others do not reach.
fn recognised(outcomes: &[Outcome<'_>]) -> Option<f64> {
    let of = |in_scope: bool| -> Vec<f64> {
        let wanted = outcomes.iter().filter(|outcome| outcome.intent.is_some() == in_scope);
        wanted.map(|outcome| outcome.confidence).collect()
    };
    let (mut known, others) = (of(true), of(false));
    known.sort_by(f64::total_cmp);
    let edge = known.get((known.len() as f64 * TURNED_AWAY) as usize)?;
    let below = others.iter().filter(|confidence| *confidence < edge).count();
    (!others.is_empty()).then(|| below as f64 / others.len() as f64)
}

/// The confidence from which on answers are given, so that of messages like these no more than the share `accept` of
/// those that get an answer get a wrong one; above 1 where no answer may be given. A message without an intent counts as
/// many as `others`: how many of them a file holds says nothing about how many customers write.
///
/// One more wrong answer is counted than there was: that is what makes the share hold for the next message and not only
/// for these (conformal risk control).
pub(super) fn threshold(outcomes: &[Outcome<'_>], accept: f64, others: f64) -> f64 {
    let mut sorted: Vec<&Outcome<'_>> = outcomes.iter().collect();
    sorted.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let (mut wrong, mut answered, mut threshold) = (0.0, 0.0, 2.0);
    for (at, outcome) in sorted.iter().enumerate() {
        let weight = outcome.weight(others);
        answered += weight;
        wrong += if outcome.right() { 0.0 } else { weight };
        // Of those that are equally sure, all or none are answered.
        let last_of_equals = sorted.get(at + 1).is_none_or(|next| next.confidence < outcome.confidence);
        if last_of_equals && wrong + 1.0 <= accept * (answered + 1.0) {
            threshold = outcome.confidence;
        }
    }
    threshold
}

/// The slope and intercept that make a probability of being right of a margin: logistic regression, a little held back,
/// so that messages that are all told apart give no infinite slope. Of each message: its margin, whether it is right, and
/// how many messages it stands for.
pub(super) fn calibrate(margins: &[(f64, bool, f64)]) -> [f64; 2] {
    const HOLD_BACK: f64 = 0.01;
    const STEPS: usize = 50;
    let [mut slope, mut intercept] = [1.0_f64, 0.0_f64];
    for _ in 0..STEPS {
        let (mut gradient, mut curvature) =
            ([HOLD_BACK * slope, HOLD_BACK * intercept], [[HOLD_BACK, 0.0], [0.0, HOLD_BACK]]);
        for (margin, right, stands_for) in margins {
            let chance = probability([slope, intercept], *margin);
            let error = stands_for * (chance - f64::from(u8::from(*right)));
            let weight = stands_for * chance * (1.0 - chance);
            gradient[0] += error * margin;
            gradient[1] += error;
            curvature[0][0] += weight * margin * margin;
            curvature[0][1] += weight * margin;
            curvature[1][1] += weight;
        }
        let determinant = curvature[0][0] * curvature[1][1] - curvature[0][1] * curvature[0][1];
        if determinant.is_nan() || determinant <= 0.0 {
            break;
        }
        let step = [
            (gradient[0] * curvature[1][1] - gradient[1] * curvature[0][1]) / determinant,
            (gradient[1] * curvature[0][0] - gradient[0] * curvature[0][1]) / determinant,
        ];
        // Newton's steps may overshoot where nearly all are right; none of these numbers is ever larger than this.
        slope = (slope - step[0]).clamp(-50.0, 50.0);
        intercept = (intercept - step[1]).clamp(-50.0, 50.0);
        if step[0].abs() + step[1].abs() < 1e-9 {
            break;
        }
    }
    // A larger margin is never the more doubtful one.
    [slope.max(0.1), intercept]
}

/// The probability that an answer of this margin is right.
pub(super) fn probability([slope, intercept]: [f64; 2], margin: f64) -> f64 {
    1.0 / (1.0 + (-(slope * margin + intercept)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(intent: Option<usize>, best: usize, confidence: f64) -> Outcome<'static> {
        Outcome { language: "en", text: "a message", intent, best, confidence }
    }

    #[test]
    fn the_threshold_keeps_what_is_accepted() {
        // The surest 60 are right, then every third is wrong.
        let outcomes: Vec<Outcome<'_>> = (0..120)
            .map(|at| outcome(Some(usize::from(at >= 60 && at % 3 == 0)), 0, 1.0 - f64::from(at) / 200.0))
            .collect();
        for accept in [0.02, 0.05, 0.1] {
            let edge = threshold(&outcomes, accept, 1.0);
            let report = Report::new(&outcomes, edge, &["a".into(), "b".into()]);
            assert!(report.all.wrong as f64 <= accept * report.all.answered as f64, "{accept}: {report:?}");
            assert!(report.all.answered >= 60, "{accept}: {report:?}");
        }
        assert!(threshold(&outcomes, 0.1, 1.0) < threshold(&outcomes, 0.02, 1.0));
        // Where nothing may be wrong, nothing is answered.
        assert!(threshold(&outcomes[..10], 0.01, 1.0) > 1.0);
        assert!(threshold(&[], 0.5, 1.0) > 1.0);
        // Four without an intent, in the middle: they shut it where each of them stands for many.
        let middle = (0..4).map(|_| outcome(None, 0, 0.85));
        let with_others: Vec<Outcome<'_>> = outcomes[..60].iter().cloned().chain(middle).collect();
        assert!(threshold(&with_others, 0.1, 1.0) < 0.8);
        assert!(threshold(&with_others, 0.1, 10.0) > 0.85);
    }

    #[test]
    fn equals_are_answered_together_or_not_at_all() {
        let outcomes: Vec<Outcome<'_>> =
            (0..40).map(|at| outcome(Some(usize::from(at >= 20)), 0, if at < 10 { 0.9 } else { 0.5 })).collect();
        assert_eq!(threshold(&outcomes, 0.2, 1.0), 0.9);
    }

    #[test]
    fn calibration_gives_shares_that_are_right() {
        // Of margins about 0.3 half are right, of margins about 0.8 nine in ten.
        let margins: Vec<(f64, bool, f64)> =
            (0..400).map(|at| if at < 200 { (0.3, at % 2 == 0, 1.0) } else { (0.8, at % 10 != 0, 1.0) }).collect();
        let fitted = calibrate(&margins);
        assert!((probability(fitted, 0.3) - 0.5).abs() < 0.02 && (probability(fitted, 0.8) - 0.9).abs() < 0.02);
        for all in [true, false] {
            let [slope, intercept] = calibrate(&[(0.5, all, 1.0), (0.7, all, 1.0)]);
            assert!(slope.is_finite() && intercept.is_finite() && slope > 0.0);
        }
    }

    #[test]
    fn a_report_counts_by_language_and_names_confusions() {
        let mut outcomes = vec![outcome(Some(0), 1, 0.9), outcome(Some(0), 1, 0.4), outcome(Some(1), 1, 0.8)];
        outcomes.push(Outcome { language: "zh", ..outcome(Some(1), 0, 0.2) });
        outcomes.push(outcome(None, 0, 0.1));
        outcomes.push(outcome(None, 0, 0.95));
        let report = Report::new(&outcomes, 0.5, &["a".into(), "b".into()]);
        assert_eq!(report.all, Tally { messages: 4, right: 1, answered: 2, wrong: 1 });
        assert_eq!(report.languages["zh"], Tally { messages: 1, right: 0, answered: 0, wrong: 0 });
        assert_eq!(report.out_of_scope, Tally { messages: 2, right: 0, answered: 1, wrong: 1 });
        assert_eq!(report.recognised_at_5_percent, Some(0.5));
        assert_eq!((report.confusions[0].intent.as_str(), report.confusions[0].messages), ("a", 2));
    }
}
