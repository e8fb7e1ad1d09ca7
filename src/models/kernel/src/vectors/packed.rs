//! Matrices of 8-bit numbers, to multiply rows of floats with.
//!
//! A weight is a byte from 0 to 255 of which 128 stands for zero, and 32 neighbours of a row share a scale; what they are
//! multiplied with is rounded to 8 bits in the same blocks. So a block is a sum of 32 small products, exact in whole
//! numbers, times two scales. The weights of 16 rows of the matrix are interleaved by four, as `vpdpbusd` takes them, with
//! their scales before them: a product reads memory once, from its beginning to its end.
//!
//! *Architecture Invariant*: what comes out for a row does not depend on the other rows, nor on the number of parts, bit by
//! bit.

#![expect(unsafe_code, reason = "vector instructions read and write through pointers")]

use std::arch::x86_64::*;

use memmap2::MmapMut;

use super::{Places, Spread, suits};

/// Numbers that share a scale.
pub const BLOCK: usize = 32;

/// Rows of the matrix that are worked on together: as many as a register has 32-bit numbers.
const PANEL: usize = 16;

/// Lines of a panel's block: one of scales, eight of four weights each of 16 rows.
const LINES: usize = 9;

/// Lines that are asked of memory before they are needed.
const AHEAD: usize = 48;

/// Bytes of a line.
const LINE: usize = 64;

/// What a matrix is packed from: weights by row, the scales of their blocks by row (32-bit floats), and numbers in a row.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    /// A byte a weight.
    pub weights: &'a [u8],
    /// Four bytes a scale, as this processor has them.
    pub scales: &'a [u8],
    /// A multiple of [`BLOCK`].
    pub columns: usize,
}

impl Plain<'_> {
    /// Its rows, where its parts fit each other.
    fn rows(&self) -> Option<usize> {
        let rows = self.weights.len().checked_div(self.columns).filter(|rows| *rows > 0)?;
        let scales = rows * (self.columns / BLOCK) * size_of::<f32>();
        let fits = self.columns.is_multiple_of(BLOCK) && rows * self.columns == self.weights.len();
        (fits && self.scales.len() == scales).then_some(rows)
    }

    fn lines(&self, rows: usize) -> usize {
        rows.div_ceil(PANEL) * (self.columns / BLOCK) * LINES
    }
}

/// The matrices of a model, to multiply with. They lie in one piece of memory: it is read from end to end for every token,
/// and in large pages that takes a tenth less time.
pub struct Matrices {
    memory: MmapMut,
    matrices: Vec<Packed>,
}

/// One of them.
#[derive(Clone, Copy)]
struct Packed {
    /// Its first line.
    first: usize,
    rows: usize,
    columns: usize,
}

impl Matrices {
    /// Packs matrices.
    ///
    /// # Errors
    /// Where one's parts do not fit each other, the processor lacks the instructions ([`suits`]) or there is no memory.
    pub fn pack(plain: &[Plain<'_>]) -> Result<Self, String> {
        if !suits() {
            return Err("this processor has no AVX-512 VNNI".into());
        }
        let (mut matrices, mut lines) = (Vec::new(), 0);
        for (at, plain) in plain.iter().enumerate() {
            let rows = plain.rows().ok_or_else(|| format!("the parts of the matrix {at} do not fit each other"))?;
            matrices.push(Packed { first: lines, rows, columns: plain.columns });
            lines += plain.lines(rows);
        }
        let no_memory = |error| format!("there is no memory for its weights: {error}");
        let mut memory = MmapMut::map_anon((lines * LINE).max(1)).map_err(no_memory)?;
        // Where there are none, it goes without.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        for (plain, packed) in plain.iter().zip(&matrices) {
            let blocks = packed.columns / BLOCK;
            let scales = plain.scales.as_chunks::<4>().0;
            for row in 0..packed.rows {
                let (panel, lane) = (row / PANEL, row % PANEL * 4);
                for block in 0..blocks {
                    let mut put = |line: usize, four: &[u8; 4]| {
                        let at = (packed.first + (panel * blocks + block) * LINES + line) * LINE + lane;
                        memory[at..at + 4].copy_from_slice(four);
                    };
                    let place = row * blocks + block;
                    put(0, &scales[place]);
                    let weights = plain.weights[place * BLOCK..(place + 1) * BLOCK].as_chunks::<4>().0;
                    weights.iter().enumerate().for_each(|(line, four)| put(1 + line, four));
                }
            }
        }
        Ok(Self { memory, matrices })
    }

    /// Numbers that come out for a row multiplied with the matrix at `place`, and numbers that it must have.
    pub fn size(&self, place: usize) -> Option<(usize, usize)> {
        self.matrices.get(place).map(|packed| (packed.rows, packed.columns))
    }

    /// Multiplies rows with the matrix at `place`, in so many parts at most; `out` has as many numbers for each as
    /// [`size`](Self::size) says.
    ///
    /// # Panics
    /// Where there is no such matrix, or the sizes do not fit each other.
    pub fn multiply(&self, place: usize, rows: &Rounded, out: &mut [f32], parts: usize, spread: Spread<'_>) {
        let packed = self.matrices[place];
        assert!(rows.columns == packed.columns && out.len() == rows.rows * packed.rows, "sizes of a product");
        // SAFETY: its lines lie in the memory, which begins with a page.
        let lines = unsafe { self.memory.as_ptr().add(packed.first * LINE) };
        let work = Work { lines, matrix: packed, rows, out: Places(out.as_mut_ptr()) };
        let panels = packed.rows.div_ceil(PANEL);
        let parts = parts.clamp(1, panels);
        let work = |part: usize| {
            let work = &work;
            // SAFETY: there are no matrices where the processor lacks the instructions. Parts have different panels, and
            // panels different places.
            unsafe { work.panels(part * panels / parts..(part + 1) * panels / parts) }
        };
        if parts == 1 { work(0) } else { spread(parts, &work) }
    }
}

/// A product that is being computed.
struct Work<'a> {
    lines: *const u8,
    matrix: Packed,
    rows: &'a Rounded,
    out: Places,
}

// SAFETY: the lines are only read, and outlive the work; of the places each part writes its own.
unsafe impl Sync for Work<'_> {}

impl Work<'_> {
    /// Multiplies with some panels.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn panels(&self, panels: std::ops::Range<usize>) {
        for panel in panels {
            let mut row = 0;
            while row < self.rows.rows {
                // SAFETY: as for this function; so many rows are there.
                unsafe {
                    row += match self.rows.rows - row {
                        1 => self.tile::<1>(row, panel),
                        2 => self.tile::<2>(row, panel),
                        3 => self.tile::<3>(row, panel),
                        4 => self.tile::<4>(row, panel),
                        5 => self.tile::<5>(row, panel),
                        6 => self.tile::<6>(row, panel),
                        7 => self.tile::<7>(row, panel),
                        _ => self.tile::<8>(row, panel),
                    };
                }
            }
        }
    }

    /// Multiplies `M` rows with a panel; `M`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn tile<const M: usize>(&self, row: usize, panel: usize) -> usize {
        let (rows, blocks) = (self.rows, self.matrix.columns / BLOCK);
        let mut sums = [_mm512_setzero_ps(); M];
        for block in 0..blocks {
            let lines = self.lines.wrapping_add((panel * blocks + block) * LINES * LINE);
            let place = |m: usize| (row + m) * blocks + block;
            // As many times what stands for zero as there are, less: the sums are then as if that were taken off.
            let mut dots = [_mm512_setzero_si512(); M];
            for (m, dot) in dots.iter_mut().enumerate() {
                // SAFETY (all reads): the panel and the rows are there, with so many blocks each.
                *dot = _mm512_set1_epi32(unsafe { *rows.zeros.as_ptr().add(place(m)) });
            }
            for four in 0..BLOCK / 4 {
                let line = lines.wrapping_add((1 + four) * LINE);
                _mm_prefetch::<_MM_HINT_T0>(line.wrapping_add(AHEAD * LINE).cast());
                let weights = unsafe { _mm512_load_si512(line.cast()) };
                for (m, dot) in dots.iter_mut().enumerate() {
                    let numbers = unsafe { rows.numbers.as_ptr().add(place(m) * BLOCK + four * 4).cast::<i32>() };
                    *dot = _mm512_dpbusd_epi32(*dot, weights, _mm512_set1_epi32(unsafe { numbers.read_unaligned() }));
                }
            }
            let scales = unsafe { _mm512_load_ps(lines.cast()) };
            for (m, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                let scale = _mm512_mul_ps(scales, _mm512_set1_ps(unsafe { *rows.scales.as_ptr().add(place(m)) }));
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, *sum);
            }
        }
        let there = (self.matrix.rows - panel * PANEL).min(PANEL);
        let mask = if there == PANEL { u16::MAX } else { (1 << there) - 1 };
        for (m, sum) in sums.into_iter().enumerate() {
            // SAFETY: the places of this row and panel, of which no other part writes any.
            unsafe { _mm512_mask_storeu_ps(self.out.0.add((row + m) * self.matrix.rows + panel * PANEL), mask, sum) };
        }
        M
    }
}

/// Rows of floats, rounded to 8 bits in blocks.
#[derive(Default)]
pub struct Rounded {
    numbers: Vec<i8>,
    scales: Vec<f32>,
    /// By block, the sum of its numbers times -128.
    zeros: Vec<i32>,
    rows: usize,
    columns: usize,
}

impl Rounded {
    /// Takes other rows of `columns` numbers each in place of its own; says whether it could.
    pub fn take(&mut self, numbers: &[f32], columns: usize) -> bool {
        if columns == 0 || !columns.is_multiple_of(BLOCK) || !numbers.len().is_multiple_of(columns) || !suits() {
            return false;
        }
        (self.rows, self.columns) = (numbers.len() / columns, columns);
        self.numbers.resize(numbers.len(), 0);
        self.scales.resize(numbers.len() / BLOCK, 0.0);
        self.zeros.resize(numbers.len() / BLOCK, 0);
        // SAFETY: the processor has the instructions.
        unsafe { self.round(numbers) };
        true
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn round(&mut self, numbers: &[f32]) {
        let blocks = numbers.as_chunks::<BLOCK>().0.iter().zip(self.numbers.as_chunks_mut::<BLOCK>().0);
        for ((block, rounded), (scale, zero)) in blocks.zip(self.scales.iter_mut().zip(&mut self.zeros)) {
            // SAFETY (all reads and writes): a block is 32 numbers.
            let halves = unsafe { [_mm512_loadu_ps(block.as_ptr()), _mm512_loadu_ps(block.as_ptr().add(16))] };
            let largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(halves[0]), _mm512_abs_ps(halves[1])));
            let inverse = _mm512_set1_ps(if largest > 0.0 { 127.0 / largest } else { 0.0 });
            let halves = halves.map(|half| _mm512_cvtps_epi32(_mm512_mul_ps(half, inverse)));
            *scale = largest / 127.0;
            *zero = -128 * _mm512_reduce_add_epi32(_mm512_add_epi32(halves[0], halves[1]));
            for (at, half) in halves.into_iter().enumerate() {
                unsafe { _mm_storeu_si128(rounded.as_mut_ptr().add(at * 16).cast(), _mm512_cvtsepi32_epi8(half)) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::numbers;
    use super::*;

    fn packed(weights: &[u8], scales: &[f32], columns: usize) -> Result<Matrices, String> {
        let scales: Vec<u8> = scales.iter().flat_map(|scale| scale.to_ne_bytes()).collect();
        let other = Plain { weights: &[128; 64], scales: &[0; 8], columns: 32 };
        Matrices::pack(&[other, Plain { weights, scales: &scales, columns }])
    }

    /// A matrix, what it is in floats, and rows to multiply it with.
    fn case(rows: usize, columns: usize, count: usize) -> (Matrices, Vec<f32>, Vec<f32>) {
        let weights: Vec<u8> = numbers(3, rows * columns).iter().map(|it| (it * 127.0 + 128.0) as u8).collect();
        let scales: Vec<f32> = numbers(4, rows * columns / BLOCK).iter().map(|it| 0.01 + it.abs() * 0.01).collect();
        let plain = weights.iter().enumerate().map(|(at, it)| (f32::from(*it) - 128.0) * scales[at / BLOCK]).collect();
        (packed(&weights, &scales, columns).expect("packed"), plain, numbers(5, count * columns))
    }

    fn product(matrices: &Matrices, given: &[f32], parts: usize) -> Vec<f32> {
        let (mut rounded, (rows, columns)) = (Rounded::default(), matrices.size(1).expect("a matrix"));
        assert!(rounded.take(given, columns));
        let mut out = vec![f32::NAN; given.len() / columns * rows];
        matrices.multiply(1, &rounded, &mut out, parts, &|parts, work| {
            std::thread::scope(|scope| (0..parts).for_each(|part| drop(scope.spawn(move || work(part)))));
        });
        out
    }

    /// But for the rounding of what is multiplied, it is the product; alone and together, in one part and in several, it
    /// is the same to the last bit.
    #[test]
    fn products_are_products_whatever_is_computed_together() {
        if !suits() {
            return eprintln!(
                "SKIPPED: products_are_products_whatever_is_computed_together: this processor has no AVX-512 VNNI"
            );
        }
        for (rows, columns) in [(48, 64), (7, 32), (130, 96), (16, 320), (33, 32)] {
            let (matrix, plain, given) = case(rows, columns, 19);
            let all = product(&matrix, &given, 1);
            for (row, numbers) in given.chunks_exact(columns).enumerate() {
                let got = &all[row * rows..(row + 1) * rows];
                for (weights, got) in plain.chunks_exact(columns).zip(got) {
                    let products = || weights.iter().zip(numbers).map(|(a, b)| f64::from(a * b));
                    let (sum, size) = (products().sum::<f64>(), products().map(f64::abs).sum::<f64>());
                    assert!((f64::from(*got) - sum).abs() < 0.01 * size, "{got} {sum} of {size}");
                }
                assert_eq!(product(&matrix, numbers, 1), got, "{rows} x {columns}, row {row}");
            }
            for count in 1..19 {
                let some = product(&matrix, &given[..count * columns], 1);
                assert_eq!(some, all[..count * rows], "{rows} x {columns}, {count} rows");
            }
            assert_eq!(product(&matrix, &given, 3), all);
        }
    }

    #[test]
    fn zeros_and_the_largest_numbers_are_themselves() {
        if !suits() {
            return eprintln!(
                "SKIPPED: zeros_and_the_largest_numbers_are_themselves: this processor has no AVX-512 VNNI"
            );
        }
        let (matrix, ..) = case(16, 32, 1);
        assert_eq!(product(&matrix, &[0.0; 32], 1), [0.0; 16]);
        // All bytes at their ends: 255 stands for 127, 0 for -128.
        let matrix = packed(&[[255; 32], [0; 32]].concat(), &[1.0, 1.0], 32).expect("packed");
        assert_eq!(product(&matrix, &[-127.0; 32], 1), [-127.0 * 127.0 * 32.0, 127.0 * 128.0 * 32.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(packed(&[0; 64], &[1.0; 2], 48).is_err() && packed(&[0; 64], &[1.0; 3], 32).is_err());
        assert!(packed(&[], &[], 0).is_err() && packed(&[], &[], 32).is_err());
        assert!(!Rounded::default().take(&[0.0; 40], 40) && !Rounded::default().take(&[0.0; 40], 32));
    }
}
