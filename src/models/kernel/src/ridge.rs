//! Kernel ridge regression: of vectors with labels, scores that say how much a new vector is like those of each label.
//!
//! Two vectors are alike by `exp(-sharpness · distance²)`. What is far from everything scores near nothing for every
//! label, so a score tells what is known from what is not. The solution is exact and always the same, whatever the
//! number of threads; and what each vector would score had it not been there follows from the same factors
//! (`y - α / diag(K⁻¹)`), so nothing has to be trained several times to be judged.
//!
//! Memory is 4 bytes for each pair of vectors and work 2/3 of a multiplication for each triple: fifteen thousand took half
//! a minute and 1 GB on two busy cores.

use ndarray::{Array2, ArrayView2, Axis};

use super::cholesky;

/// Vectors, one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Points<'a> {
    rows: ArrayView2<'a, f32>,
}

impl<'a> Points<'a> {
    /// Of `numbers`, `width` to a vector; nothing where they do not come out even.
    pub fn new(numbers: &'a [f32], width: usize) -> Option<Self> {
        let count = numbers.len().checked_div(width).filter(|count| count * width == numbers.len())?;
        ArrayView2::from_shape((count, width), numbers).ok().map(|rows| Self { rows })
    }

    /// How many there are.
    pub fn count(self) -> usize {
        self.rows.nrows()
    }

    /// How alike each of these is to each of `others`: a row each of these.
    fn alike(self, others: Points<'_>, sharpness: f32) -> Array2<f32> {
        let squares =
            |rows: ArrayView2<'_, f32>| -> Vec<f32> { rows.rows().into_iter().map(|row| row.dot(&row)).collect() };
        let (ours, theirs) = (squares(self.rows), squares(others.rows));
        let mut alike = self.rows.dot(&others.rows.t());
        for (mut row, ours) in alike.axis_iter_mut(Axis(0)).zip(&ours) {
            for (product, theirs) in row.iter_mut().zip(&theirs) {
                *product = (-sharpness * (ours + theirs - 2.0 * *product).max(0.0)).exp();
            }
        }
        alike
    }
}

/// How the regression is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How fast likeness falls off with distance.
    pub sharpness: f32,
    /// How much a single vector is mistrusted; above 0.
    pub ridge: f32,
    /// Threads that compute, at least one.
    pub threads: usize,
}

/// What was learnt.
#[derive(Clone, Debug, PartialEq)]
pub struct Learnt {
    /// What each vector weighs for each label: vector by vector.
    pub weights: Vec<f32>,
    /// What each vector would score for each label had it not been learnt from: vector by vector.
    pub left_out: Vec<f32>,
}

/// Learns from `points`, each of the label that `labels` names, or of none. Nothing where there is a label for another
/// number of vectors, one that is not below `count`, or the numbers do not allow a solution (one is not finite).
pub fn learn(points: Points<'_>, labels: &[Option<usize>], count: usize, settings: Settings) -> Option<Learnt> {
    let size = points.count();
    if labels.len() != size
        || labels.iter().flatten().any(|label| *label >= count)
        || settings.ridge.is_nan()
        || settings.ridge <= 0.0
    {
        return None;
    }
    if points.rows.iter().any(|number| !number.is_finite()) {
        return None;
    }
    let mut targets = Array2::<f32>::zeros((size, count));
    for (mut row, label) in targets.axis_iter_mut(Axis(0)).zip(labels) {
        label.iter().for_each(|label| row[*label] = 1.0);
    }
    let mut factor = points.alike(points, settings.sharpness);
    factor.diag_mut().iter_mut().for_each(|own| *own += settings.ridge);
    cholesky::factorise(&mut factor, settings.threads)?;
    cholesky::invert(&mut factor, settings.threads);
    // K = L·Lᵀ, so K⁻¹ = L⁻ᵀ·L⁻¹.
    let inverse = factor.view();
    let weights = inverse.t().dot(&inverse.dot(&targets));
    let mut left_out = targets;
    for ((mut row, weights), own) in left_out.axis_iter_mut(Axis(0)).zip(weights.rows()).zip(diagonal(inverse)) {
        row.iter_mut().zip(weights).for_each(|(target, weight)| *target -= weight / own);
    }
    let learnt = Learnt { weights: weights.iter().copied().collect(), left_out: left_out.iter().copied().collect() };
    learnt.weights.iter().chain(&learnt.left_out).all(|number| number.is_finite()).then_some(learnt)
}

/// The diagonal of K⁻¹, from L⁻¹.
fn diagonal(inverse: ArrayView2<'_, f32>) -> Vec<f32> {
    let mut diagonal = vec![0.0; inverse.ncols()];
    for row in inverse.rows() {
        diagonal.iter_mut().zip(row).for_each(|(sum, number)| *sum += number * number);
    }
    diagonal
}

/// The scores of `others` for each of `count` labels, vector by vector; nothing where there are not as many weights as
/// `points` and labels, or vectors of different widths.
pub fn scores(
    points: Points<'_>,
    weights: &[f32],
    count: usize,
    sharpness: f32,
    others: Points<'_>,
) -> Option<Vec<f32>> {
    let weights = ArrayView2::from_shape((points.count(), count), weights).ok()?;
    let same = points.rows.ncols() == others.rows.ncols();
    same.then(|| others.alike(points, sharpness).dot(&weights).iter().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random and are always the same, from -1 to 1.
    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    fn settings(threads: usize) -> Settings {
        Settings { sharpness: 0.7, ridge: 0.1, threads }
    }

    fn labels(count: usize) -> Vec<Option<usize>> {
        (0..count).map(|at| (!at.is_multiple_of(7)).then_some(at % 3)).collect()
    }

    fn points(numbers: &[f32]) -> Points<'_> {
        Points::new(numbers, 4).expect("even")
    }

    /// The weights solve (K + ridge·I)·W = Y, at a size that takes several blocks.
    #[test]
    fn the_weights_solve_the_equations() {
        let (numbers, labels) = (numbers(5, 700 * 4), labels(700));
        let learnt = learn(points(&numbers), &labels, 3, settings(2)).expect("learnt");
        let mut alike = points(&numbers).alike(points(&numbers), 0.7);
        alike.diag_mut().iter_mut().for_each(|own| *own += 0.1);
        let products = alike.dot(&ArrayView2::from_shape((700, 3), &learnt.weights).expect("a row a vector"));
        for (row, label) in products.rows().into_iter().zip(&labels) {
            for (at, product) in row.iter().enumerate() {
                let target = f32::from(u8::from(*label == Some(at)));
                assert!((product - target).abs() < 2e-3, "{product} {target}");
            }
        }
    }

    /// What is said to be the score without a vector is the score without it.
    #[test]
    fn left_out_is_what_training_without_it_gives() {
        let (numbers, labels) = (numbers(5, 60 * 4), labels(60));
        let learnt = learn(points(&numbers), &labels, 3, settings(1)).expect("learnt");
        for out in [0, 13, 59] {
            let rest = [&numbers[..out * 4], &numbers[out * 4 + 4..]].concat();
            let rest_labels = [&labels[..out], &labels[out + 1..]].concat();
            let without = learn(points(&rest), &rest_labels, 3, settings(1)).expect("learnt");
            let alone = points(&numbers[out * 4..out * 4 + 4]);
            let scored = scores(points(&rest), &without.weights, 3, 0.7, alone).expect("scores");
            for (ours, theirs) in learnt.left_out[out * 3..out * 3 + 3].iter().zip(scored) {
                assert!((ours - theirs).abs() < 1e-3, "{ours} {theirs}");
            }
        }
    }

    #[test]
    fn threads_change_nothing() {
        let (numbers, labels) = (numbers(5, 650 * 4), labels(650));
        let one = learn(points(&numbers), &labels, 3, settings(1)).expect("learnt");
        assert_eq!(one, learn(points(&numbers), &labels, 3, settings(3)).expect("learnt"));
    }

    #[test]
    fn what_cannot_be_learnt_is_not() {
        let (numbers, labels) = (numbers(5, 40), labels(10));
        assert!(learn(points(&numbers), &labels[1..], 3, settings(1)).is_none());
        assert!(learn(points(&numbers), &labels, 2, settings(1)).is_none());
        assert!(learn(points(&[f32::NAN; 40]), &labels, 3, settings(1)).is_none());
        assert!(Points::new(&[0.0; 5], 4).is_none());
        assert!(Points::new(&[], 0).is_none());
        assert!(scores(points(&numbers), &[0.0; 29], 3, 0.7, points(&numbers)).is_none());
    }

    #[test]
    fn far_away_is_like_nothing() {
        let (numbers, labels) = (numbers(5, 60 * 4), labels(60));
        let learnt = learn(points(&numbers), &labels, 3, settings(1)).expect("learnt");
        let far = scores(points(&numbers), &learnt.weights, 3, 0.7, points(&[50.0; 4])).expect("scores");
        assert!(far.iter().all(|score| score.abs() < 1e-6));
    }
}
