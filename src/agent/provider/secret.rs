//! Keys of services.

pub use crate::identity::Secret;
