//! What needs AVX-512 and its 8-bit products (`vpdpbusd`). Whoever calls has asked [`suits`].

mod attention;
mod packed;

pub use attention::{Attention, Heads, attend};
pub use packed::{BLOCK, Matrices, Plain, Rounded};

/// Whether this processor has the instructions.
pub fn suits() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

/// Runs a piece of work in so many parts, some of them at the same time perhaps; back when all are done.
pub type Spread<'a> = &'a dyn Fn(usize, &(dyn Fn(usize) + Send + Sync));

/// Memory of which each part of a piece of work writes its own places.
struct Places(*mut f32);

#[expect(unsafe_code, reason = "parts write to different places of one slice, which the compiler cannot know")]
// SAFETY: those who hold it write to no place that another part reads or writes.
unsafe impl Sync for Places {}

#[expect(unsafe_code, reason = "as above")]
// SAFETY: it is a pointer into a slice that outlives the work.
unsafe impl Send for Places {}

#[cfg(test)]
mod tests {
    /// Numbers that look random and are always the same, from -1 to 1.
    pub(super) fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        std::iter::repeat_with(next).take(count).collect()
    }
}
