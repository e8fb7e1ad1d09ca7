//! How fast memory is read.

use std::time::Instant;

/// Bytes a second that this many threads read from memory together: the best of a few attempts.
pub fn read_speed(threads: usize) -> f64 {
    // Larger than any cache.
    let memory: Vec<u64> = (0..32 << 20).collect();
    let part = memory.len().div_ceil(threads.max(1));
    let read = || {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for part in memory.chunks(part) {
                scope.spawn(move || {
                    let sums = part.as_chunks::<32>().0.iter().fold([0_u64; 32], |mut sums, numbers| {
                        sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum = sum.wrapping_add(*number));
                        sums
                    });
                    std::hint::black_box(sums);
                });
            }
        });
        size_of_val(memory.as_slice()) as f64 / started.elapsed().as_secs_f64()
    };
    (0..5).map(|_| read()).fold(0.0, f64::max)
}
