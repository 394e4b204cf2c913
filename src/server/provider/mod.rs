//! The drivers of speech and language services: one task a service a call, between the agent's commands and events and
//! the service's wire protocol. A driver ends when its handle is dropped, and tells why when it ends by itself.

mod http_model;
mod queue;
mod websocket;

pub use http_model::{ModelAddress, ModelHandle, spawn_model};
pub use queue::Refused;
pub use websocket::{Handle, SocketAddress, spawn_recogniser, spawn_synthesiser};
