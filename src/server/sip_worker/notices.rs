//! What the log is told of registrations, those of others with us and ours with trunks.

use crate::call::TrunkEvent;
use crate::identity::Pii;
use crate::registrar::{self, RegistrationState};

/// Whether a telephone can be reached is the first question when it does not ring.
pub(super) fn tell_registration(event: registrar::Event) {
    match event {
        registrar::Event::Bound { account, user, contact, flow } => {
            let remote = Pii::new(flow.remote.to_string());
            let transport = flow.kind.via();
            tracing::info!(%account, user = %Pii::new(user), %contact, %remote, transport, "registered");
        }
        registrar::Event::Unbound { account, user, contact, why } => {
            tracing::info!(%account, user = %Pii::new(user), %contact, ?why, "not registered any more");
        }
    }
}

/// Logs what is learnt of a trunk.
pub(super) fn tell_trunk(trunk: &str, event: TrunkEvent) {
    let registration = match event {
        TrunkEvent::Registration(it) => it,
        TrunkEvent::NotLocated(error) => return tracing::warn!(trunk, "the trunk's servers are not found: {error}"),
        TrunkEvent::Down(server) => return tracing::warn!(trunk, %server, "the trunk's server does not answer OPTIONS"),
        TrunkEvent::Up(server) => return tracing::info!(trunk, %server, "the trunk's server answers OPTIONS"),
    };
    let server = registration.server.map(tracing::field::display);
    match registration.state {
        RegistrationState::Registered => tracing::info!(trunk, server, "registered"),
        RegistrationState::NotRegistered => tracing::info!(trunk, server, "not registered any more"),
        RegistrationState::Failed(failure) => {
            tracing::warn!(trunk, server, "not registered: {failure}; it is tried again");
        }
        RegistrationState::AuthFailed => match registration.gave_up {
            Some(why) => tracing::error!(trunk, server, "not registered: {why}; see username, password and realm"),
            None => tracing::error!(trunk, server, "not registered: the credentials are refused"),
        },
        RegistrationState::Pending => (),
    }
}
