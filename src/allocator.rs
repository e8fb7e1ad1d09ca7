//! The program's allocator: mimalloc, with a count of what each thread holds. A delivery is allocated on one thread and
//! freed on another, at which glibc's is slow.
//!
//! A script must not make the process grow without end, and its values share, copy and nest, so that nobody can add
//! up from outside what they take. What the allocator hands out can be counted exactly, for a few instructions each
//! time. A script runs on one thread from its beginning to its end, so a count a thread is a count a script.
//!
//! `lib.rs` sets it, not `main.rs`: no binary, test or benchmark can forget it and run rules without their limit.
//!
//! *Architecture Invariant*: it counts and decides nothing, and knows no other room. It takes no lock and allocates
//! nothing itself.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

use mimalloc::MiMalloc;

/// What one thread holds, in bytes. Negative where it freed what other threads had allocated.
struct Counts {
    held: Cell<isize>,
    /// The most since [`Growth::begin`].
    most: Cell<isize>,
}

thread_local! {
    // Constant and without a destructor: it is there before the thread's first allocation and after its last.
    static COUNTS: Counts = const { Counts { held: Cell::new(0), most: Cell::new(0) } };
}

/// How far the memory of the thread that began it has grown since then.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    from: isize,
}

impl Growth {
    /// Begins to measure the thread that calls it. A measure that was begun before on the same thread forgets the
    /// peaks that it saw, not what the thread holds.
    pub fn begin() -> Self {
        COUNTS.with(|counts| {
            counts.most.set(counts.held.get());
            Self { from: counts.held.get() }
        })
    }

    /// What the thread holds beyond what it held at the beginning, in bytes; below zero where it holds less.
    pub fn now(self) -> isize {
        COUNTS.with(|counts| counts.held.get()).saturating_sub(self.from)
    }

    /// The most that the thread held at once beyond what it held at the beginning, in bytes. Asked on another thread
    /// it says nothing.
    pub fn most(self) -> usize {
        usize::try_from(COUNTS.with(|counts| counts.most.get()).saturating_sub(self.from)).unwrap_or(0)
    }
}

/// Counts what a thread has more, or less, from now on.
fn count(bytes: isize) {
    // A thread that is ending may have no counts left; it runs no rules.
    let _ = COUNTS.try_with(|counts| {
        let held = counts.held.get().wrapping_add(bytes);
        counts.held.set(held);
        if held > counts.most.get() {
            counts.most.set(held);
        }
    });
}

/// The system's allocator, counted.
pub struct Counting;

// A layout's size fits an `isize`: `Layout` promises it.
#[expect(unsafe_code, reason = "an allocator cannot be written without; it hands every call on as it came")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let memory = unsafe { MiMalloc.alloc(layout) };
        if !memory.is_null() {
            count(layout.size() as isize);
        }
        memory
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let memory = unsafe { MiMalloc.alloc_zeroed(layout) };
        if !memory.is_null() {
            count(layout.size() as isize);
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { MiMalloc.dealloc(memory, layout) };
        count(-(layout.size() as isize));
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let moved = unsafe { MiMalloc.realloc(memory, layout, size) };
        if !moved.is_null() {
            count(size as isize - layout.size() as isize);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_this_thread_holds_and_held() {
        let growth = Growth::begin();
        let mut text = vec![0_u8; 1 << 20];
        assert!(growth.most() >= 1 << 20);
        text.resize(3 << 20, 1);
        assert!(growth.most() >= 3 << 20);
        assert!(growth.now() >= 3 << 20);
        drop(text);
        assert!(growth.now() < 1 << 20);
        assert!((3 << 20..4 << 20).contains(&growth.most()), "the peak stays");
        std::thread::spawn(|| drop(std::hint::black_box(vec![0_u8; 32 << 20]))).join().expect("thread");
        assert!(growth.most() < 4 << 20, "another thread's memory is its own");
        let again = Growth::begin();
        assert!(again.most() < 1 << 10);
    }

    #[test]
    fn a_thread_that_only_frees_holds_less_than_nothing() {
        let given = vec![0_u8; 1 << 20];
        let held = std::thread::spawn(move || {
            let growth = Growth::begin();
            drop(given);
            let _small = vec![0_u8; 1 << 10];
            growth.most()
        });
        assert!(held.join().expect("thread") < 1 << 10);
    }
}
