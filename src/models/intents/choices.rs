//! Telling what a message is about without training: by which description or example it is nearest to.

use super::super::encoder::{Encoder, MOST_TEXTS, cosine};
use super::super::error::ModelError;
use super::head::{Judged, Ranked};

/// By how much nearer a description must be to be e (2.7) times as likely: the temperature that E5 was trained with. On
/// the examples that ship it makes confidences that are about the share of right answers.
const NEARER: f64 = 0.01;

/// Something that a message may be about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What it is called.
    pub name: String,
    /// What it means: descriptions, examples. Where there are none, its name is what it means.
    pub means: Vec<String>,
}

/// The choice that `text` is nearest to, where that is at least `at_least` likely among them; and whether the text was
/// too long and only its beginning counted. It cannot tell a message that is about none of the choices from others.
///
/// # Errors
/// [`ModelError::Request`] where there is no choice or too much of everything; what the encoder says.
pub async fn choose(
    encoder: &Encoder,
    text: &str,
    choices: &[Choice],
    at_least: f64,
) -> Result<(Judged, bool), ModelError> {
    let mut texts = vec![text.to_owned()];
    let mut of = Vec::new();
    for (place, choice) in choices.iter().enumerate() {
        if choice.means.is_empty() {
            texts.push(choice.name.replace(['-', '_'], " "));
            of.push(place);
        }
        texts.extend(choice.means.iter().cloned());
        of.extend(choice.means.iter().map(|_| place));
    }
    if choices.is_empty() || texts.len() > MOST_TEXTS {
        let why = format!("{} texts to compare; there must be a choice, and {MOST_TEXTS} are the most", texts.len());
        return Err(ModelError::Request(why));
    }
    let embedded = encoder.embed(&texts).await?;
    let Some((message, meanings)) = embedded.split_first() else {
        return Err(ModelError::Failed("the encoder gave no vectors".into()));
    };
    let mut nearest = vec![f64::NEG_INFINITY; choices.len()];
    for (place, meaning) in of.into_iter().zip(meanings) {
        nearest[place] = nearest[place].max(cosine(&message.vector, &meaning.vector));
    }
    let names: Vec<&str> = choices.iter().map(|choice| choice.name.as_str()).collect();
    Ok((judged(&names, &nearest, at_least), message.truncated))
}

fn judged(names: &[&str], nearest: &[f64], at_least: f64) -> Judged {
    let largest = nearest.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = nearest.iter().map(|near| ((near - largest) / NEARER).exp()).collect();
    let total: f64 = weights.iter().sum();
    let ranked = |(name, weight): (&&str, &f64)| Ranked { intent: (*name).to_owned(), score: weight / total };
    let mut ranking: Vec<Ranked> = names.iter().zip(&weights).map(ranked).collect();
    ranking.sort_by(|a, b| b.score.total_cmp(&a.score));
    let confidence = ranking.first().map_or(0.0, |first| first.score);
    let intent = ranking.first().filter(|_| confidence >= at_least).map(|first| first.intent.clone());
    Judged { intent, confidence, ranking }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_taken_where_it_is_clearly_the_nearest() {
        let clear = judged(&["a", "b", "c"], &[0.80, 0.88, 0.79], 0.6);
        assert_eq!(clear.intent.as_deref(), Some("b"));
        assert!(clear.confidence > 0.9 && clear.ranking[2].intent == "c");
        let doubtful = judged(&["a", "b", "c"], &[0.801, 0.8, 0.79], 0.6);
        assert_eq!(doubtful.intent, None);
        let total: f64 = doubtful.ranking.iter().map(|it| it.score).sum();
        assert!((total - 1.0).abs() < 1e-9);
    }
}
