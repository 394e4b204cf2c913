//! A counting allocator: what the current thread has allocated, for benchmarks and tests that bound memory. Counts are
//! the same on every run, where times are not.
#![expect(unsafe_code, reason = "an allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counted. A program that looks at [`counts`] installs it with `#[global_allocator]`.
#[derive(Debug)]
pub(crate) struct Counting;

/// What the current thread has allocated since it began; memory that another thread frees counts where it was freed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Bytes held now.
    pub(crate) held: i64,
    /// The most bytes held since [`reset_peak`].
    pub(crate) peak: i64,
    /// Bytes ever asked for.
    pub(crate) bytes: i64,
    /// How often.
    pub(crate) times: i64,
}

/// The counts of the current thread.
pub(crate) fn counts() -> Counts {
    COUNTS.get()
}

/// What is held now is the most from here on.
pub(crate) fn reset_peak() {
    COUNTS.with(|it| it.set(Counts { peak: it.get().held, ..it.get() }));
}

fn count(more: usize, less: usize) {
    let signed = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
    // A thread that is ending has no counts any more.
    let _gone = COUNTS.try_with(|it| {
        let before = it.get();
        let held = before.held + signed(more) - signed(less);
        let times = before.times + i64::from(more > 0);
        it.set(Counts { held, peak: before.peak.max(held), bytes: before.bytes + signed(more), times });
    });
}

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { held: 0, peak: 0, bytes: 0, times: 0 }) };
}

// SAFETY: every call goes to the system's allocator as it came; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above; the memory is the system's.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}
