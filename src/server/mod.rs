//! The shell: sockets, clocks, threads and tasks around the cores.

pub mod batched_udp;
pub mod clock;
pub mod media_link;
pub mod media_worker;
pub mod outbox;
pub mod ports;
pub mod provider;
pub mod recorder;
pub mod speech;
pub mod task;
