//! The Cholesky factor of a symmetric positive definite matrix, and its inverse, in place.
//!
//! Both work in blocks, so that nearly all of the work is multiplying matrices. Each number is computed by the same
//! operations in the same order whatever the number of threads.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

/// Rows and columns that are factorised at a time.
const BLOCK: usize = 96;

/// Columns that a thread takes at a time.
const STRIP: usize = 384;

/// Makes L of K = L·Lᵀ, of which the lower half is read; the upper half becomes 0. Nothing where K is not positive
/// definite.
pub(super) fn factorise(matrix: &mut Array2<f32>, threads: usize) -> Option<()> {
    let size = matrix.nrows();
    for begin in (0..size).step_by(BLOCK) {
        let end = (begin + BLOCK).min(size);
        factorise_block(matrix.slice_mut(s![begin..end, begin..end]))?;
        if end == size {
            break;
        }
        let inverse = inverted_block(matrix.slice(s![begin..end, begin..end]));
        let below = matrix.slice(s![end.., begin..end]).dot(&inverse.t());
        matrix.slice_mut(s![end.., begin..end]).assign(&below);
        let mut rest = matrix.slice_mut(s![end.., end..]);
        let strips = rest.axis_chunks_iter_mut(Axis(1), STRIP).enumerate().collect();
        share_out(strips, threads, |(number, mut strip): (usize, ArrayViewMut2<'_, f32>)| {
            let first = number * STRIP;
            let columns = below.slice(s![first..first + strip.ncols(), ..]);
            let mut strip = strip.slice_mut(s![first.., ..]);
            general_mat_mul(-1.0, &below.slice(s![first.., ..]), &columns.t(), 1.0, &mut strip);
        });
    }
    for (at, mut row) in matrix.axis_iter_mut(Axis(0)).enumerate() {
        row.slice_mut(s![at + 1..]).fill(0.0);
    }
    Some(())
}

/// Makes L⁻¹ of L.
pub(super) fn invert(matrix: &mut Array2<f32>, threads: usize) {
    let size = matrix.nrows();
    for begin in (0..size).step_by(BLOCK) {
        let end = (begin + BLOCK).min(size);
        let inverse = inverted_block(matrix.slice(s![begin..end, begin..end]));
        // With the minus of -L⁻¹(this block)·L(left of it)·L⁻¹(above).
        let left = inverse.dot(&matrix.slice(s![begin..end, ..begin])).mapv_into(|number| -number);
        let (above, mut rows) = matrix.view_mut().split_at(Axis(0), begin);
        let (mut to_the_left, rest) = rows.view_mut().split_at(Axis(1), begin);
        let above = above.view();
        let strips = to_the_left.axis_chunks_iter_mut(Axis(1), STRIP).enumerate().collect();
        share_out(strips, threads, |(number, strip): (usize, ArrayViewMut2<'_, f32>)| {
            let first = number * STRIP;
            let mut strip = strip;
            let mut strip = strip.slice_mut(s![..end - begin, ..]);
            // What stands above the diagonal is 0 and is left out.
            let columns = above.slice(s![first.., first..first + strip.ncols()]);
            general_mat_mul(1.0, &left.slice(s![.., first..]), &columns, 0.0, &mut strip);
        });
        let mut rest = rest;
        rest.slice_mut(s![..end - begin, ..end - begin]).assign(&inverse);
    }
}

/// Does `work` on each item, shared out over threads.
fn share_out<T: Send>(items: Vec<T>, threads: usize, work: impl Fn(T) + Sync) {
    let threads = threads.clamp(1, items.len().max(1));
    if threads == 1 {
        items.into_iter().for_each(work);
        return;
    }
    let items = std::sync::Mutex::new(items.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let item = items.lock().map_or(None, |mut items| items.next());
                    let Some(item) = item else { return };
                    work(item);
                }
            });
        }
    });
}

/// The factor of a small block, in its lower half.
fn factorise_block(mut block: ArrayViewMut2<'_, f32>) -> Option<()> {
    let size = block.nrows();
    for column in 0..size {
        for row in column..size {
            let product: f32 = (0..column).map(|at| block[[row, at]] * block[[column, at]]).sum();
            let left = block[[row, column]] - product;
            block[[row, column]] = if row > column {
                left / block[[column, column]]
            } else if left > 0.0 {
                left.sqrt()
            } else {
                return None;
            };
        }
    }
    Some(())
}

/// The inverse of a small block's lower half.
fn inverted_block(block: ArrayView2<'_, f32>) -> Array2<f32> {
    let size = block.nrows();
    let mut inverse = Array2::zeros((size, size));
    for column in 0..size {
        inverse[[column, column]] = 1.0 / block[[column, column]];
        for row in column + 1..size {
            let product: f32 = (column..row).map(|at| block[[row, at]] * inverse[[at, column]]).sum();
            inverse[[row, column]] = -product / block[[row, row]];
        }
    }
    inverse
}
