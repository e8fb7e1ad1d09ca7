//! Arithmetic over many numbers: a crate of its own, so that it is optimised where the rest of a development build is not.
//! It knows numbers and nothing else.
//!
//! * [`learn`] and [`scores`]: kernel ridge regression, of which heads are made.
//! * [`read_speed`]: how fast memory is, against which the rest can be held.
//! * [`Packed`] and [`attend`]: the two steps in which a decoder spends its time, for processors with AVX-512 and its
//!   8-bit products (Intel since 2019, AMD since 2022). There they take a third of the time that ONNX Runtime 1.32 takes;
//!   on others it stays in charge.

mod cholesky;
mod memory;
mod ridge;

#[cfg(target_arch = "x86_64")]
mod attention;
#[cfg(target_arch = "x86_64")]
mod packed;

#[cfg(target_arch = "x86_64")]
pub use attention::{Attention, Heads, attend};
pub use memory::read_speed;
#[cfg(target_arch = "x86_64")]
pub use packed::{BLOCK, Packed, Rounded};
pub use ridge::{Learnt, Points, Settings, centre, learn, scores};

/// Runs a piece of work in so many parts, some of them at the same time perhaps; back when all are done.
#[cfg(target_arch = "x86_64")]
pub type Spread<'a> = &'a dyn Fn(usize, &(dyn Fn(usize) + Send + Sync));

/// Memory of which each part of a piece of work writes its own places.
#[cfg(target_arch = "x86_64")]
struct Places(*mut f32);

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "parts write to different places of one slice, which the compiler cannot know")]
// SAFETY: those who hold it write to no place that another part reads or writes.
unsafe impl Sync for Places {}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "as above")]
// SAFETY: it is a pointer into a slice that outlives the work.
unsafe impl Send for Places {}

/// Whether this processor has what [`Packed`] and [`attend`] need.
#[cfg(target_arch = "x86_64")]
pub fn suits() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}
