//! [`KeysInClear`]: SRTP that keeps nothing secret from whoever reads the signalling (RFC 4568 §7.1), told of once for each
//! peer.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::identity::{LegId, Pii};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct KeysInClear {
    legs: BTreeSet<LegId>,
    total: u64,
    told: BTreeSet<IpAddr>,
}

impl KeysInClear {
    /// The keys of a leg were told over signalling that others can read; each leg counts once.
    pub(crate) fn note(&mut self, leg: LegId, peer: IpAddr) {
        if !self.legs.insert(leg) {
            return;
        }
        self.total += 1;
        if self.told.len() < PEERS_TOLD_OF_MAX && self.told.insert(peer) {
            tracing::warn!(
                peer = %Pii::new(peer.to_string()),
                "SRTP keys are told over signalling that others can read; see [media] srtp_keys_in_clear"
            );
        }
    }

    /// The leg is over.
    pub(crate) fn forget(&mut self, leg: LegId) {
        self.legs.remove(&leg);
    }

    /// How many legs there have been.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }
}

/// Peers that are warned of; of further ones the count tells.
const PEERS_TOLD_OF_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::identity::CallId;

    #[test]
    fn each_leg_counts_once_and_memory_is_bounded() {
        let mut keys = KeysInClear::default();
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        for number in 0..3_000_u32 {
            let leg = LegId { call: CallId::generate(&mut rng, 0), index: 0 };
            let peer = IpAddr::V4((0x0a00_0000 + number).into());
            keys.note(leg, peer);
            keys.note(leg, peer);
            keys.forget(leg);
        }
        assert_eq!((keys.total(), keys.told.len(), keys.legs.len()), (3_000, PEERS_TOLD_OF_MAX, 0));
    }
}
