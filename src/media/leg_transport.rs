//! [`LegTransport`]: how the packets of a leg are carried, between its sockets and its session.
//!
//! A session sees plain RTP and RTCP only, and only what is the peer's: what fails to authenticate changes nothing, least
//! of all where the peer is taken to be.

use std::net::SocketAddr;
use std::time::Instant;

use crate::rtp::packet::is_rtcp;
use crate::srtp::{Inbound, Keys, Outbound, Rejected, Unprotected};
use crate::webrtc::{Format, Parameters, Peer};

/// How the packets of a leg are carried.
#[derive(Debug, Default)]
pub enum LegTransport {
    /// As they are.
    #[default]
    Plain,
    /// By SRTP and SRTCP (RFC 3711), with keys from signalling.
    Srtp {
        /// What is sent.
        outbound: Box<Outbound>,
        /// What is received.
        inbound: Box<Inbound>,
    },
    /// By DTLS-SRTP, after ICE. Datagrams are the affair of [`Peer`] alone.
    WebRtc(Box<Peer>),
}

/// A browser, as the description of its leg has it.
#[derive(Clone, Debug)]
pub struct Browser {
    /// What was agreed on.
    pub parameters: Parameters,
    /// What is exchanged.
    pub formats: Vec<Format>,
}

impl LegTransport {
    /// With the keys that were agreed on, if any.
    pub fn new(keys: Option<&Keys>) -> Self {
        keys.map_or(Self::Plain, |keys| Self::Srtp {
            outbound: Box::new(Outbound::new(keys.ours.clone())),
            inbound: Box::new(Inbound::new(keys.theirs.clone(), &keys.their_identifier)),
        })
    }

    /// The same, to a peer that has sent under its key before, to another leg.
    pub fn to_another(keys: Option<&Keys>) -> Self {
        keys.map_or(Self::Plain, |keys| Self::Srtp {
            outbound: Box::new(Outbound::new(keys.ours.clone())),
            inbound: Box::new(Inbound::of_running(keys.theirs.clone(), &keys.their_identifier)),
        })
    }

    /// To a browser that will come to `local`; `None` if that is no address for media.
    pub fn to_browser(browser: &Browser, local: SocketAddr, now: Instant) -> Option<Self> {
        let peer = Peer::new(&browser.parameters, &browser.formats, local, now)?;
        Some(Self::WebRtc(Box::new(peer)))
    }

    /// Takes what signalling has agreed on last. The same keys change nothing: what has been sent and received under them
    /// stays known, as does a browser that is still the same. Whether that could be done; else it takes a new transport.
    #[must_use]
    pub fn update(&mut self, keys: Option<&Keys>, browser: Option<&Browser>, now: Instant) -> bool {
        match (self, keys, browser) {
            (Self::WebRtc(peer), _, Some(browser)) => peer.update(&browser.parameters),
            (Self::Srtp { outbound, inbound }, Some(keys), None) => {
                outbound.rekey(&keys.ours);
                inbound.rekey(&keys.theirs, &keys.their_identifier, now);
                true
            }
            (Self::Plain, None, None) => true,
            (Self::Plain | Self::Srtp { .. } | Self::WebRtc(_), ..) => false,
        }
    }

    /// Takes off the protection of a datagram from one of the leg's sockets, which RTP and RTCP may share.
    ///
    /// # Errors
    ///
    /// [`Rejected`] says why the datagram is not to be used.
    pub fn unprotect<'a>(
        &mut self,
        datagram: &'a mut [u8],
        is_rtcp_socket: bool,
        now: Instant,
    ) -> Result<&'a [u8], Rejected> {
        let inbound = match self {
            Self::Plain => return Ok(datagram),
            Self::WebRtc(_) => return Err(Rejected::Forged),
            Self::Srtp { inbound, .. } => inbound,
        };
        let len = if is_rtcp_socket || is_rtcp(datagram) {
            inbound.unprotect_rtcp(datagram, now)?
        } else {
            inbound.unprotect_rtp(datagram, now)?
        };
        datagram.get(..len).ok_or(Rejected::Malformed)
    }

    /// Protects the RTP or RTCP packet in the first `len` bytes of `buffer`, which has room for
    /// [`crate::srtp::OVERHEAD_BYTES_MAX`] more. Returns its new length.
    ///
    /// # Errors
    ///
    /// [`Unprotected`]: the packet must not be sent.
    pub fn protect(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Unprotected> {
        match self {
            Self::Plain => Ok(len),
            Self::WebRtc(_) => Err(Unprotected),
            Self::Srtp { outbound, .. } if is_rtcp(buffer) => outbound.protect_rtcp(buffer, len),
            Self::Srtp { outbound, .. } => outbound.protect_rtp(buffer, len),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::rtp::{Header, Packet};
    use crate::srtp::{MasterKey, Suite};
    use crate::timer::Now;

    #[test]
    fn what_one_side_protects_the_other_reads() {
        for suite in Suite::ALL {
            let (ours, theirs) = keys(suite, 1);
            let (mut here, mut there) = (LegTransport::new(Some(&ours)), LegTransport::new(Some(&theirs)));
            check(&mut here, &mut there, 1, true);
            check(&mut there, &mut here, 1, true);
            // The same keys once more: what was sent stays sent.
            assert!(here.update(Some(&ours), None, now()));
            check(&mut here, &mut there, 2, true);
            let mut again = packet(2);
            assert_eq!(here.protect(&mut again, 32), Err(Unprotected));
            // Another key on our side only is not understood; told of it, the peer understands.
            let (fresh, fresh_there) = keys(suite, 2);
            assert!(here.update(Some(&fresh), None, now()));
            check(&mut here, &mut there, 3, false);
            assert!(there.update(Some(&fresh_there), None, now()));
            check(&mut here, &mut there, 4, true);
            // And back to plain RTP, if signalling says so.
            assert!(!here.update(None, None, now()));
            here = LegTransport::new(None);
            check(&mut here, &mut there, 5, false);
            assert!(!there.update(None, None, now()));
            there = LegTransport::new(None);
            check(&mut here, &mut there, 6, true);
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp_on_a_shared_port() {
        let (ours, theirs) = keys(Suite::AesCm128HmacSha1Tag80, 1);
        let (mut here, mut there) = (LegTransport::new(Some(&ours)), LegTransport::new(Some(&theirs)));
        let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
        for is_rtcp_socket in [true, false] {
            let mut buffer = [0; 64];
            buffer[..8].copy_from_slice(&report);
            let len = here.protect(&mut buffer, 8).unwrap();
            assert_eq!(there.unprotect(&mut buffer[..len], is_rtcp_socket, now()), Ok(&report[..]));
        }
    }

    #[track_caller]
    fn check(from: &mut LegTransport, to: &mut LegTransport, sequence: u16, is_understood: bool) {
        let mut buffer = packet(sequence);
        let len = from.protect(&mut buffer, 32).unwrap();
        let found = to.unprotect(&mut buffer[..len], false, now()).map(<[u8]>::to_vec);
        assert_eq!(found.is_ok_and(|it| it == packet(sequence)[..32]), is_understood, "{sequence}");
    }

    fn packet(sequence: u16) -> [u8; 64] {
        let mut buffer = [0; 64];
        let header = Header { payload_type: 0, marker: false, sequence, timestamp: 160, ssrc: 7 };
        Packet { header, payload: &[0xd5; 20] }.write(&mut buffer).unwrap();
        buffer
    }

    fn keys(suite: Suite, seed: u64) -> (Keys, Keys) {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let (ours, theirs) = (MasterKey::random(suite, &mut rng), MasterKey::random(suite, &mut rng));
        let keys = |ours: &MasterKey, theirs: &MasterKey| Keys {
            ours: ours.clone(),
            theirs: theirs.clone(),
            their_identifier: smallvec::SmallVec::new(),
        };
        (keys(&ours, &theirs), keys(&theirs, &ours))
    }

    fn now() -> Instant {
        Now::origin().instant
    }
}
