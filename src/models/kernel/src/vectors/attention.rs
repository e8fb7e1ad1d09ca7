//! Attention over a cache of keys and values that is written in place, several query heads to a cached one
//! (Ainslie et al., *GQA*, 2023), positions rotated in halves (Su et al., *RoFormer*, 2021).
//!
//! Keys and values are cached as 16-bit floats, so that half as much of them is read for each token; a cached head is read
//! once for all queries that look at it. Sixteen keys at a time are turned so that a register holds
//! the same number of each, and a query's likeness to all sixteen needs no sum across a register.
//!
//! *Architecture Invariant*: what comes out for a token depends on its row's tokens up to itself alone, bit by bit, and what
//! lies behind them in the cache does not count.

#![expect(unsafe_code, reason = "vector instructions read and write through pointers")]

use std::arch::x86_64::*;

use super::{Places, Spread, suits};

/// Numbers that are cached in the place of one.
const HALVES: usize = 2;

/// The largest 16-bit float.
const LARGEST: f32 = 65504.0;

/// Numbers in a register.
const LANES: usize = 16;

/// Heads of a layer: more than any model has.
const MOST_HEADS: usize = 4096;

/// Queries whose likenesses are kept at a time.
const QUERIES: usize = 24;

/// The heads of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads: a multiple of the cached ones.
    pub queries: usize,
    /// Heads that are cached.
    pub cached: usize,
    /// Numbers in a head: a multiple of 32, at most 256.
    pub width: usize,
}

impl Heads {
    /// Whether [`attend`] takes them, on this processor.
    pub fn suit(&self) -> bool {
        let whole = self.cached > 0 && self.queries.is_multiple_of(self.cached) && self.queries > 0;
        whole
            && self.queries <= MOST_HEADS
            && self.width > 0
            && self.width.is_multiple_of(2 * LANES)
            && self.width <= 256
            && suits()
    }

    /// Numbers of a token, queries, keys and values one after another.
    pub fn packed(&self) -> usize {
        (self.queries + 2 * self.cached) * self.width
    }
}

/// What is attended to.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// The layer's heads.
    pub heads: Heads,
    /// Of each new token of each row, queries, keys and values: as many tokens for each row.
    pub packed: &'a [f32],
    /// By row, the tokens that it had before.
    pub before: &'a [usize],
    /// Tokens for which each row of the cache has places.
    pub places: usize,
    /// By position, the cosines of a head's angles: half as many as the head is wide.
    pub cosines: &'a [f32],
    /// The sines.
    pub sines: &'a [f32],
}

/// Writes the new tokens into the cache (rows, heads, places, width) and what each of them attends to into `out` (rows,
/// tokens, query heads, width), in so many parts at most. False, with nothing done, where the sizes do not fit.
///
/// The cache's numbers are 16-bit floats, two in the place of one: whoever keeps it moves it about and reads nothing in it.
pub fn attend(
    what: Attention<'_>,
    keys: &mut [f32],
    values: &mut [f32],
    out: &mut [f32],
    parts: usize,
    spread: Spread<'_>,
) -> bool {
    let Attention { heads, packed, before, places, cosines, sines } = what;
    let rows = before.len();
    if rows == 0 || !heads.suit() {
        return false;
    }
    let tokens = packed.len() / heads.packed() / rows;
    let longest = before.iter().max().map_or(0, |before| before + tokens);
    let cache = rows * heads.cached * places * heads.width / HALVES;
    let fits = tokens > 0
        && packed.len() == rows * tokens * heads.packed()
        && longest <= places
        && longest * heads.width / 2 <= cosines.len().min(sines.len())
        && keys.len() == cache
        && values.len() == cache
        && out.len() == rows * tokens * heads.queries * heads.width;
    if !fits {
        return false;
    }
    let (keys, values) = (Places(keys.as_mut_ptr()), Places(values.as_mut_ptr()));
    let (all, out) = (rows * heads.cached, Places(out.as_mut_ptr()));
    let parts = parts.clamp(1, all);
    let work = |part: usize| {
        let (keys, values, out) = (&keys, &values, &out);
        let mut room = Room::default();
        for at in part * all / parts..(part + 1) * all / parts {
            // SAFETY: the processor has the instructions, and the sizes fit. Each cached head of each row has its own places
            // in the cache and in what comes out.
            unsafe { head(&what, tokens, (at / heads.cached, at % heads.cached), (keys, values, out), &mut room) };
        }
    };
    if parts == 1 {
        work(0)
    } else {
        spread(parts, &work)
    }
    true
}

/// What is needed on the way, kept from head to head.
#[derive(Default)]
struct Room {
    /// The rotated queries, one after another.
    queries: Vec<f32>,
    /// A row a query: how much each key counts.
    weights: Vec<f32>,
    /// A key or value on its way into the cache.
    whole: Vec<f32>,
    /// Sixteen keys: the first number of each, the second of each, and so on.
    turned: Vec<Lane>,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Lane([f32; LANES]);

/// One cached head of one row, and the queries that look at it.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn head(
    what: &Attention<'_>,
    tokens: usize,
    (row, cached): (usize, usize),
    (keys, values, out): (&Places, &Places, &Places),
    room: &mut Room,
) {
    let Heads { queries, cached: all, width } = what.heads;
    let (group, before) = (queries / all, what.before[row]);
    let there = before + tokens;
    let first = (row * all + cached) * what.places * width / HALVES;
    // SAFETY: this head's places, as many as the row has, of which no other part reads or writes any.
    let (keys, values) = unsafe {
        let places = there * width;
        let of = |cache: &Places| std::slice::from_raw_parts_mut(cache.0.add(first).cast::<u16>(), places);
        (of(keys), of(values))
    };
    let new = |token: usize, head: usize| {
        &what.packed[(row * tokens + token) * what.heads.packed() + head * width..][..width]
    };
    room.queries.resize(tokens * group * width, 0.0);
    room.whole.resize(width, 0.0);
    for token in 0..tokens {
        let angles = (before + token) * width / 2..(before + token + 1) * width / 2;
        let angles = (&what.cosines[angles.clone()], &what.sines[angles]);
        let place = (before + token) * width..(before + token + 1) * width;
        rotate(new(token, queries + cached), angles, 1.0, &mut room.whole);
        halve(&room.whole, &mut keys[place.clone()]);
        halve(new(token, queries + all + cached), &mut values[place]);
        for member in 0..group {
            let into = &mut room.queries[(token * group + member) * width..][..width];
            rotate(new(token, cached * group + member), angles, 1.0 / (width as f32).sqrt(), into);
        }
    }
    for from in (0..tokens * group).step_by(QUERIES) {
        let to = (from + QUERIES).min(tokens * group);
        let seen = |query: usize| before + query / group + 1;
        let stride = seen(to - 1).next_multiple_of(LANES);
        room.weights.resize(QUERIES * stride, 0.0);
        room.turned.resize(width, Lane([0.0; LANES]));
        let Room { queries: rotated, weights, turned, .. } = room;
        // SAFETY: the processor has the instructions; there are so many keys, values, queries and weights.
        unsafe {
            for at in (0..seen(to - 1)).step_by(LANES) {
                turn(&keys[at * width..], there - at, turned);
                for query in (from..to).step_by(4) {
                    let (count, weights) = ((to - query).min(4), &mut weights[(query - from) * stride + at..]);
                    let rotated = &rotated[query * width..];
                    match count {
                        1 => likeness::<1>(turned, rotated, weights, stride),
                        2 => likeness::<2>(turned, rotated, weights, stride),
                        3 => likeness::<3>(turned, rotated, weights, stride),
                        _ => likeness::<4>(turned, rotated, weights, stride),
                    }
                }
            }
            for query in from..to {
                weigh(&mut weights[(query - from) * stride..][..stride], seen(query));
            }
            for query in (from..to).step_by(4) {
                let count = (to - query).min(4);
                let weights = &weights[(query - from) * stride..];
                let into = |member: usize| {
                    let (token, head) = ((query + member) / group, cached * group + (query + member) % group);
                    out.0.add(((row * tokens + token) * queries + head) * width)
                };
                let keys = seen(query + count - 1);
                let mut part = 0;
                while part < width {
                    let (values, into) = (&values[part..], |member| into(member).add(part));
                    part += match (count, width - part >= 4 * LANES) {
                        (1, true) => mix::<1, 4>(values, width, keys, weights, stride, into),
                        (2, true) => mix::<2, 4>(values, width, keys, weights, stride, into),
                        (3, true) => mix::<3, 4>(values, width, keys, weights, stride, into),
                        (_, true) => mix::<4, 4>(values, width, keys, weights, stride, into),
                        (1, false) => mix::<1, 2>(values, width, keys, weights, stride, into),
                        (2, false) => mix::<2, 2>(values, width, keys, weights, stride, into),
                        (3, false) => mix::<3, 2>(values, width, keys, weights, stride, into),
                        (_, false) => mix::<4, 2>(values, width, keys, weights, stride, into),
                    };
                }
            }
        }
    }
}

/// A head turned to its position, times `scale`.
fn rotate(head: &[f32], (cosines, sines): (&[f32], &[f32]), scale: f32, into: &mut [f32]) {
    let half = head.len() / 2;
    let ((first, second), (into_first, into_second)) = (head.split_at(half), into.split_at_mut(half));
    for at in 0..half {
        into_first[at] = (first[at] * cosines[at] - second[at] * sines[at]) * scale;
        into_second[at] = (second[at] * cosines[at] + first[at] * sines[at]) * scale;
    }
}

/// Rounds numbers to 16 bits; what is larger than those can be is the largest of them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn halve(numbers: &[f32], into: &mut [u16]) {
    let (least, most) = (_mm512_set1_ps(-LARGEST), _mm512_set1_ps(LARGEST));
    for (line, into) in numbers.as_chunks::<LANES>().0.iter().zip(into.as_chunks_mut::<LANES>().0) {
        // SAFETY (both): a line is sixteen numbers.
        let line = unsafe { _mm512_loadu_ps(line.as_ptr()) };
        let line = _mm512_max_ps(_mm512_min_ps(line, most), least);
        let halves = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(line);
        unsafe { _mm256_storeu_si256(into.as_mut_ptr().cast(), halves) };
    }
}

/// Sixteen numbers that were rounded to 16 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn whole(halves: *const u16) -> __m512 {
    // SAFETY: who calls has sixteen there.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(halves.cast()) })
}

/// Turns sixteen keys; zeros where there are fewer.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn turn(keys: &[u16], there: usize, turned: &mut [Lane]) {
    let width = turned.len();
    for (part, turned) in turned.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let mut lines = [_mm512_setzero_ps(); LANES];
        for (key, line) in lines.iter_mut().enumerate().take(there) {
            // SAFETY (all reads and writes): so many keys are there, and a lane is a register's.
            *line = unsafe { whole(keys.as_ptr().add(key * width + part * LANES)) };
        }
        for (lane, line) in turned.iter_mut().zip(transposed(lines)) {
            unsafe { _mm512_store_ps(lane.0.as_mut_ptr(), line) };
        }
    }
}

/// Sixteen registers of sixteen numbers, columns for rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn transposed(lines: [__m512; LANES]) -> [__m512; LANES] {
    let mut pairs = lines;
    for at in (0..LANES).step_by(2) {
        pairs[at] = _mm512_unpacklo_ps(lines[at], lines[at + 1]);
        pairs[at + 1] = _mm512_unpackhi_ps(lines[at], lines[at + 1]);
    }
    let pair = |at: usize| _mm512_castps_pd(pairs[at]);
    let mut fours = pairs;
    for at in (0..LANES).step_by(4) {
        fours[at] = _mm512_castpd_ps(_mm512_unpacklo_pd(pair(at), pair(at + 2)));
        fours[at + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pair(at), pair(at + 2)));
        fours[at + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pair(at + 1), pair(at + 3)));
        fours[at + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pair(at + 1), pair(at + 3)));
    }
    let mut out = fours;
    for at in 0..4 {
        let [a, b, c, d] = [fours[at], fours[at + 4], fours[at + 8], fours[at + 12]];
        let (even_low, odd_low) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b));
        let (even_high, odd_high) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xDD>(c, d));
        out[at] = _mm512_shuffle_f32x4::<0x88>(even_low, even_high);
        out[at + 4] = _mm512_shuffle_f32x4::<0x88>(odd_low, odd_high);
        out[at + 8] = _mm512_shuffle_f32x4::<0xDD>(even_low, even_high);
        out[at + 12] = _mm512_shuffle_f32x4::<0xDD>(odd_low, odd_high);
    }
    out
}

/// How alike `Q` queries are to sixteen keys.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn likeness<const Q: usize>(turned: &[Lane], queries: &[f32], weights: &mut [f32], stride: usize) {
    // Two sums each: they need not wait for each other.
    let (mut sums, width) = ([[_mm512_setzero_ps(); 2]; Q], turned.len());
    for (at, lanes) in turned.as_chunks::<2>().0.iter().enumerate() {
        for (odd, lane) in lanes.iter().enumerate() {
            // SAFETY (both reads): a lane is a register's; so many queries of that width are there.
            let lane = unsafe { _mm512_load_ps(lane.0.as_ptr()) };
            for (query, sums) in sums.iter_mut().enumerate() {
                let number = _mm512_set1_ps(unsafe { *queries.as_ptr().add(query * width + 2 * at + odd) });
                sums[odd] = _mm512_fmadd_ps(number, lane, sums[odd]);
            }
        }
    }
    for (query, sums) in sums.iter().enumerate() {
        let place = &mut weights[query * stride..][..LANES];
        // SAFETY: sixteen places.
        unsafe { _mm512_storeu_ps(place.as_mut_ptr(), _mm512_add_ps(sums[0], sums[1])) };
    }
}

/// Makes likenesses weights: exponentials that add up to one. Only the first `seen` count; the others weigh nothing.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn weigh(likenesses: &mut [f32], seen: usize) {
    let lines = likenesses.as_chunks_mut::<LANES>().0;
    let mask = |line: usize| -> u16 {
        match seen.saturating_sub(line * LANES) {
            LANES.. => u16::MAX,
            some => (1 << some) - 1,
        }
    };
    let mut largest = _mm512_set1_ps(f32::NEG_INFINITY);
    for (at, line) in lines.iter().enumerate() {
        // SAFETY (all reads and writes): a line is sixteen numbers.
        largest = _mm512_mask_max_ps(largest, mask(at), largest, unsafe { _mm512_loadu_ps(line.as_ptr()) });
    }
    let largest = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
    let mut sum = _mm512_setzero_ps();
    for (at, line) in lines.iter_mut().enumerate() {
        let weight = exponential(_mm512_sub_ps(unsafe { _mm512_loadu_ps(line.as_ptr()) }, largest));
        let weight = _mm512_maskz_mov_ps(mask(at), weight);
        sum = _mm512_add_ps(sum, weight);
        unsafe { _mm512_storeu_ps(line.as_mut_ptr(), weight) };
    }
    let share = _mm512_set1_ps(1.0 / _mm512_reduce_add_ps(sum));
    for line in lines {
        unsafe { _mm512_storeu_ps(line.as_mut_ptr(), _mm512_mul_ps(_mm512_loadu_ps(line.as_ptr()), share)) };
    }
}

/// e to the power of what is at most 0, to within two units of the last place: 2ⁿ times a polynomial over what is left, as in
/// Moshier's Cephes (expf.c).
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn exponential(power: __m512) -> __m512 {
    // Below, the result is zero whatever the power.
    let power = _mm512_max_ps(power, _mm512_set1_ps(-110.0));
    let twos = _mm512_roundscale_ps::<8>(_mm512_mul_ps(power, _mm512_set1_ps(std::f32::consts::LOG2_E)));
    let rest = _mm512_fnmadd_ps(twos, _mm512_set1_ps(0.693_359_4), power);
    let rest = _mm512_fnmadd_ps(twos, _mm512_set1_ps(-2.121_944_4e-4), rest);
    let terms = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5, 1.0, 1.0];
    let mut sum = _mm512_set1_ps(1.987_569_1e-4);
    for term in terms {
        sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(term));
    }
    _mm512_scalef_ps(sum, twos)
}

/// The values, mixed by the weights of `Q` queries: `L` registers of each; how many numbers that are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn mix<const Q: usize, const L: usize>(
    values: &[u16],
    width: usize,
    keys: usize,
    weights: &[f32],
    stride: usize,
    into: impl Fn(usize) -> *mut f32,
) -> usize {
    let mut sums = [[_mm512_setzero_ps(); L]; Q];
    for key in 0..keys {
        // SAFETY (all reads and writes): so many values, weights and places are there.
        let mut value = [_mm512_setzero_ps(); L];
        for (lane, value) in value.iter_mut().enumerate() {
            *value = unsafe { whole(values.as_ptr().add(key * width + lane * LANES)) };
        }
        for (query, sums) in sums.iter_mut().enumerate() {
            let weight = _mm512_set1_ps(unsafe { *weights.as_ptr().add(query * stride + key) });
            for (sum, value) in sums.iter_mut().zip(value) {
                *sum = _mm512_fmadd_ps(weight, value, *sum);
            }
        }
    }
    for (query, sums) in sums.iter().enumerate() {
        for (lane, sum) in sums.iter().enumerate() {
            unsafe { _mm512_storeu_ps(into(query).add(lane * LANES), *sum) };
        }
    }
    L * LANES
}

#[cfg(test)]
mod tests {
    use super::super::tests::numbers;
    use super::*;

    struct Case {
        heads: Heads,
        places: usize,
        cosines: Vec<f32>,
        sines: Vec<f32>,
    }

    impl Case {
        fn new(queries: usize, cached: usize, width: usize, places: usize) -> Self {
            let angle = |at: usize| (at / (width / 2)) as f32 * 0.3_f32.powi((at % (width / 2)) as i32 % 9);
            let of = |turn: fn(f32) -> f32| (0..places * width / 2).map(|at| turn(angle(at))).collect();
            Self { heads: Heads { queries, cached, width }, places, cosines: of(f32::cos), sines: of(f32::sin) }
        }

        fn empty(&self, rows: usize) -> [Vec<f32>; 2] {
            let numbers = rows * self.heads.cached * self.places * self.heads.width / HALVES;
            // What is not written must not count, whatever it is.
            [vec![f32::NAN; numbers], vec![f32::NAN; numbers]]
        }

        fn attend(&self, packed: &[f32], before: &[usize], cache: &mut [Vec<f32>; 2], parts: usize) -> Vec<f32> {
            let [keys, values] = cache;
            let mut out = vec![f32::NAN; packed.len() / self.heads.packed() * self.heads.queries * self.heads.width];
            let what = Attention {
                heads: self.heads,
                packed,
                before,
                places: self.places,
                cosines: &self.cosines,
                sines: &self.sines,
            };
            assert!(attend(what, keys, values, &mut out, parts, &|parts, work| {
                std::thread::scope(|scope| (0..parts).for_each(|part| drop(scope.spawn(move || work(part)))));
            }));
            out
        }

        /// The same, plainly, of one row that has had nothing before.
        fn plain(&self, packed: &[f32]) -> Vec<f32> {
            let Heads { queries, cached, width } = self.heads;
            let tokens = packed.len() / self.heads.packed();
            let turned = |token: usize, head: usize| {
                let angles = token * width / 2..(token + 1) * width / 2;
                let mut into = vec![0.0; width];
                let from = token * self.heads.packed() + head * width;
                rotate(
                    &packed[from..from + width],
                    (&self.cosines[angles.clone()], &self.sines[angles]),
                    1.0,
                    &mut into,
                );
                into
            };
            let mut out = Vec::new();
            for token in 0..tokens {
                for head in 0..queries {
                    let query = turned(token, head);
                    let own = head / (queries / cached);
                    let like = |key: usize| -> f64 {
                        let key = turned(key, queries + own);
                        query.iter().zip(&key).map(|(a, b)| f64::from(a * b)).sum::<f64>() / (width as f64).sqrt()
                    };
                    let weights: Vec<f64> = (0..=token).map(|key| like(key).exp()).collect();
                    let all: f64 = weights.iter().sum();
                    out.extend((0..width).map(|at| {
                        let value = |key: usize| {
                            f64::from(packed[key * self.heads.packed() + (queries + cached + own) * width + at])
                        };
                        (weights.iter().enumerate().map(|(key, it)| it * value(key)).sum::<f64>() / all) as f32
                    }));
                }
            }
            out
        }
    }

    /// It is attention, and the same to the last bit for a row alone or among others, in whatever parts the work is done.
    #[test]
    fn rows_attend_as_if_alone() {
        if !suits() {
            return eprintln!("SKIPPED: rows_attend_as_if_alone: this processor has no AVX-512 VNNI");
        }
        for (queries, cached, width) in [(9, 3, 64), (4, 4, 32), (8, 1, 96), (2, 1, 256)] {
            let case = Case::new(queries, cached, width, 90);
            let packed = case.heads.packed();
            let lengths = [3, 40, 71];
            let rows: Vec<Vec<f32>> =
                lengths.iter().map(|length| numbers(*length as u64, (length + 2) * packed)).collect();
            let mut together = case.empty(3);
            let own = cached * case.places * width / HALVES;
            let mut alone = Vec::new();
            for (row, (given, length)) in rows.iter().zip(lengths).enumerate() {
                let mut cache = case.empty(1);
                let mut read = case.attend(&given[..length * packed], &[0], &mut cache, 1);
                for (all, one) in together.iter_mut().zip(&cache) {
                    all[row * own..(row + 1) * own].copy_from_slice(one);
                }
                read.extend(case.attend(&given[length * packed..(length + 1) * packed], &[length], &mut cache, 1));
                read.extend(case.attend(&given[(length + 1) * packed..], &[length + 1], &mut cache, 2));
                for (got, expected) in read.iter().zip(case.plain(given)) {
                    assert!((got - expected).abs() < 1e-3, "{got} {expected}");
                }
                assert_eq!(read.len(), case.plain(given).len());
                alone.push(read[length * queries * width..].to_vec());
            }
            for (step, parts) in [(0, 1), (1, 4)] {
                let new = rows.iter().zip(lengths).flat_map(|(given, length)| {
                    given[(length + step) * packed..(length + step + 1) * packed].iter().copied()
                });
                let before = lengths.map(|length| length + step);
                let got = case.attend(&new.collect::<Vec<_>>(), &before, &mut together, parts);
                let token = queries * width;
                let expected: Vec<f32> =
                    alone.iter().flat_map(|row| row[step * token..(step + 1) * token].iter().copied()).collect();
                assert_eq!(got, expected, "{queries} {cached} {width}");
            }
        }
    }

    #[test]
    fn exponentials_are_exponentials() {
        if !suits() {
            return eprintln!("SKIPPED: exponentials_are_exponentials: this processor has no AVX-512 VNNI");
        }
        for start in (0..1200).step_by(16) {
            let mut line: [f32; LANES] = std::array::from_fn(|at| -(start as f32 + at as f32) / 10.0);
            let given = line;
            // SAFETY: the processor has the instructions, and a line is sixteen numbers.
            unsafe {
                let got = exponential(_mm512_loadu_ps(line.as_ptr()));
                _mm512_storeu_ps(line.as_mut_ptr(), got);
            }
            for (got, power) in line.iter().zip(given) {
                assert!((got - power.exp()).abs() <= power.exp() * 3e-7 + 1e-38, "{power}: {got} {}", power.exp());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let case = Case::new(2, 1, 32, 4);
        let what = Attention {
            heads: case.heads,
            packed: &[0.0; 128],
            before: &[4],
            places: 4,
            cosines: &case.cosines,
            sines: &case.sines,
        };
        let (mut keys, mut values, mut out) = ([0.0; 64], [0.0; 64], [0.0; 64]);
        let mut tried = |what| attend(what, &mut keys, &mut values, &mut out, 1, &|_, _| {});
        assert!(!tried(what));
        assert!(!tried(Attention { before: &[], ..what }));
        assert!(!tried(Attention { before: &[0], packed: &[0.0; 127], ..what }));
        assert!(!tried(Attention { before: &[0], heads: Heads { width: 24, ..case.heads }, ..what }));
        assert_eq!(tried(Attention { before: &[0], ..what }), suits());
    }
}
