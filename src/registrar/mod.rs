//! Registration both ways: telephones and PBXs that register with us, and our registrations with carriers (RFC 3261 §10,
//! RFC 3327, RFC 5626).

mod client;
mod server;
#[cfg(test)]
mod timelines;

pub use self::client::{
    Failure, Register, Registration, RegistrationConfig, RegistrationState, RegistrationStats, Server,
};
pub use self::server::{Event, Registrar, RegistrarConfig, RegistrarStats, Target, Unbound};
