//! What one thread of this process does: how often it allocates, waits for sockets and reads a clock. The last two are the
//! C library's functions, which the standard library and ours call by name; they are here instead, and counted.
#![expect(unsafe_code, reason = "an allocator and functions of the C library are unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// The system's allocator, counted.
#[derive(Debug)]
pub(crate) struct Counting;

/// What the thread that is watched has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) allocations: u64,
    pub(crate) clock_readings: u64,
    /// `epoll_wait`.
    pub(crate) waits: u64,
}

impl Counts {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            allocations: self.allocations - before.allocations,
            clock_readings: self.clock_readings - before.clock_readings,
            waits: self.waits - before.waits,
        }
    }
}

/// Watches the thread of that name, and forgets what was counted.
pub(crate) fn watch(name: &str) {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let is_it = |path: &std::path::Path| std::fs::read_to_string(path.join("comm")).is_ok_and(|it| it.trim() == name);
    let task = tasks.map(|it| it.path()).find(|it| is_it(it)).unwrap();
    let id = task.file_name().and_then(|it| it.to_str()?.parse().ok()).unwrap();
    WATCHED.store(id, Ordering::Relaxed);
}

pub(crate) fn counts() -> Counts {
    Counts {
        allocations: ALLOCATIONS.load(Ordering::Relaxed),
        clock_readings: CLOCK_READINGS.load(Ordering::Relaxed),
        waits: WAITS.load(Ordering::Relaxed),
    }
}

fn count(counter: &AtomicU64) {
    // A thread that is ending has no number of its own any more, and is not watched.
    let id = THREAD.try_with(|it| {
        if it.get() == 0 {
            // SAFETY: the call takes nothing and cannot fail.
            it.set(unsafe { libc::gettid() });
        }
        it.get()
    });
    if id.is_ok_and(|it| it == WATCHED.load(Ordering::Relaxed)) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    static THREAD: Cell<i32> = const { Cell::new(0) };
}

static WATCHED: AtomicI32 = AtomicI32::new(-1);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static CLOCK_READINGS: AtomicU64 = AtomicU64::new(0);
static WAITS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(&ALLOCATIONS);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(&ALLOCATIONS);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above; the memory is the system's.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(&ALLOCATIONS);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

// SAFETY: what the C library's function of this name does, which the same system call does, only slower.
#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    count(&CLOCK_READINGS);
    // SAFETY: the caller keeps the contract of the function, which is that of the call.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    i32::try_from(result).unwrap_or(-1)
}

// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn epoll_wait(
    epoll: libc::c_int,
    events: *mut libc::epoll_event,
    most: libc::c_int,
    timeout: libc::c_int,
) -> libc::c_int {
    count(&WAITS);
    let no_mask = std::ptr::null::<libc::sigset_t>();
    // SAFETY: as above; without a mask, the call does as one that takes none.
    let result = unsafe { libc::syscall(libc::SYS_epoll_pwait, epoll, events, most, timeout, no_mask, 8) };
    i32::try_from(result).unwrap_or(-1)
}
