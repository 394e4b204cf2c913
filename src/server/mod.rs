//! The shell: sockets, clocks, threads and tasks around the cores.

pub mod clock;
pub mod task;
