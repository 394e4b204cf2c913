//! The platform around the calls: one folder a feature, its rules in `mod.rs`, its SQL and HTTP beside them.

pub mod calls;
#[cfg(feature = "server")]
pub mod problem;
pub mod rooms;
