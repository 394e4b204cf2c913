//! The shell: sockets, clocks, threads and tasks around the cores.

pub mod clock;
pub mod outbox;
pub mod provider;
pub mod speech;
pub mod task;
