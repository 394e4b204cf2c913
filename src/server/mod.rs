//! The shell: sockets, clocks, threads and tasks around the cores.

pub mod batched_udp;
pub mod clock;
pub mod media_link;
pub mod media_worker;
pub mod ports;
pub mod recorder;
pub mod task;
