//! The shell: sockets, clocks, threads and tasks around the cores.

pub mod clock;
pub mod health;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod task;
