//! The shell: sockets, clocks, threads and tasks around the cores.

mod agents;
pub mod batched_udp;
mod call_actor;
pub mod call_log;
pub mod clock;
pub mod demo;
pub mod health;
pub mod http;
mod interfaces;
pub mod logging;
pub mod media_link;
pub mod media_worker;
pub mod metrics;
pub mod outbox;
pub mod phone;
pub mod ports;
pub mod provider;
pub mod recorder;
pub mod serve;
mod sip_sockets;
mod sip_worker;
pub mod speech;
pub mod speech_server;
pub mod system;
pub mod task;
mod tcp;
mod udp;
