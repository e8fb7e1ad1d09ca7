//! Arithmetic over many numbers: a crate of its own, so that it is optimised where the rest of a development build is not.
//! It knows numbers and nothing else.
//!
//! * [`learn`] and [`scores`]: kernel ridge regression, of which heads are made.
//! * [`read_speed`]: how fast memory is, against which the rest can be held.
//! * [`Matrices`] and [`attend`]: the two steps in which a decoder spends its time, for processors with AVX-512 and its
//!   8-bit products (Intel since 2019, AMD since 2022). There they take half of the time that ONNX Runtime 1.32 takes, or
//!   less; on others it stays in charge.

mod cholesky;
mod memory;
mod ridge;
#[cfg(target_arch = "x86_64")]
mod vectors;

pub use memory::read_speed;
pub use ridge::{Learnt, Points, Settings, learn, scores};
#[cfg(target_arch = "x86_64")]
pub use vectors::{Attention, BLOCK, Heads, Matrices, Plain, Rounded, Spread, attend, suits};
