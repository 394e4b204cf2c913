//! [`Inbound`]: what a leg is sent (RFC 3711 §3.3, §3.4).

use std::fmt;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::MasterKey;
use super::stream::Streams;
use super::transform::{Forged, SessionKeys, Transform};
use crate::limits::{
    RTP_DATAGRAM_BYTES_MAX, SRTP_MKI_BYTES_MAX, SRTP_OLD_KEY_MS, SRTP_ROLLOVERS_SOUGHT_MAX, SRTP_SEARCHES_MAX,
};
use crate::rtp::packet::{header_len, ssrc_and_sequence};

/// Takes off the protection of the packets of one peer. An SSRC is kept from its first authentic packet on, so that
/// strangers leave nothing behind.
pub struct Inbound {
    current: Key,
    /// The key before this one, and until when packets under it are on their way.
    old: Option<(Key, Instant)>,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is too short or too long, or not encrypted.
    #[error("not an SRTP packet")]
    Malformed,
    /// Its tag is wrong: it is not from the peer, or has been changed on its way.
    #[error("not authentic")]
    Forged,
    /// It has come before, or is so old that it may have.
    #[error("has come before")]
    Replayed,
}

struct Key {
    master: MasterKey,
    /// Names the key in each packet, if it is not empty.
    mki: SmallVec<[u8; 4]>,
    keys: SessionKeys,
    rtp: Streams,
    rtcp: Streams,
    /// The streams of the key before: their rollover counters run on (§3.3.1), unless the peer begins anew.
    inherited: Streams,
    /// Packets of which more rollover counters are tried, until the first is authentic.
    searches_left: u8,
}

impl Inbound {
    /// Nothing has come under this key. `mki` is what the peer appends to its packets to name the key; it is empty if the
    /// peer does not.
    pub fn new(master: MasterKey, mki: &[u8]) -> Self {
        Self { current: Key::new(master, mki, Streams::default()), old: None }
    }

    /// The same, of a peer that may have sent under this key for hours before, to somebody else: as many rollover counters
    /// are tried as that takes ([`SRTP_ROLLOVERS_SOUGHT_MAX`]).
    pub fn of_running(master: MasterKey, mki: &[u8]) -> Self {
        let mut inbound = Self::new(master, mki);
        inbound.current.searches_left = SRTP_SEARCHES_MAX;
        inbound
    }

    /// The peer uses another key from now on; packets under the one before may still be on their way. The same key
    /// changes nothing but its name.
    pub fn rekey(&mut self, master: &MasterKey, mki: &[u8], now: Instant) {
        let mki = mki.get(..SRTP_MKI_BYTES_MAX).unwrap_or(mki);
        if self.current.master == *master && *self.current.mki == *mki {
            return;
        }
        if self.current.master == *master {
            // What has come under it has come.
            self.current.mki = mki.into();
            return;
        }
        let inherited = self.current.rtp.with_others(&self.current.inherited);
        let key = Key::new(master.clone(), mki, inherited);
        let old = std::mem::replace(&mut self.current, key);
        self.old = Some((old, now + Duration::from_millis(SRTP_OLD_KEY_MS)));
    }

    /// Authenticates and decrypts an RTP packet. Returns its new length; one that is rejected may have been overwritten.
    ///
    /// # Errors
    ///
    /// [`Rejected`] says why the packet is not to be used.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8], now: Instant) -> Result<usize, Rejected> {
        self.each_key(packet, now, Key::unprotect_rtp)
    }

    /// Authenticates and decrypts a compound RTCP packet. Returns its new length; one that is rejected may have been
    /// overwritten.
    ///
    /// # Errors
    ///
    /// [`Rejected`] says why the packet is not to be used.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8], now: Instant) -> Result<usize, Rejected> {
        self.each_key(packet, now, Key::unprotect_rtcp)
    }

    fn each_key(
        &mut self,
        packet: &mut [u8],
        now: Instant,
        unprotect: fn(&mut Key, &mut [u8]) -> Result<usize, Rejected>,
    ) -> Result<usize, Rejected> {
        if packet.len() > RTP_DATAGRAM_BYTES_MAX {
            return Err(Rejected::Malformed);
        }
        self.old = self.old.take().filter(|(_, until)| now < *until);
        let Some((old, _)) = &mut self.old else {
            return unprotect(&mut self.current, packet);
        };
        let mut copy = [0; RTP_DATAGRAM_BYTES_MAX];
        let copy = copy.get_mut(..packet.len()).unwrap_or_default();
        copy.copy_from_slice(packet);
        unprotect(&mut self.current, packet).or_else(|rejected| {
            let len = unprotect(old, copy).or(Err(rejected))?;
            packet.copy_from_slice(copy);
            Ok(len)
        })
    }
}

impl Key {
    fn new(master: MasterKey, mki: &[u8], inherited: Streams) -> Self {
        let mki = mki.get(..SRTP_MKI_BYTES_MAX).unwrap_or(mki).into();
        let (rtp, rtcp) = (Streams::default(), Streams::default());
        Self { keys: SessionKeys::derive(&master), master, mki, rtp, rtcp, inherited, searches_left: 0 }
    }

    fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, Rejected> {
        let header = header_len(packet).ok_or(Rejected::Malformed)?;
        let (ssrc, sequence) = ssrc_and_sequence(packet).ok_or(Rejected::Malformed)?;
        let transform = &self.keys.rtp;
        let (index, len) = if let Some(stream) = self.rtp.get(ssrc) {
            let index = stream.index_of(sequence).filter(|it| stream.is_new(*it)).ok_or(Rejected::Replayed)?;
            let len = transform.open_rtp(packet, header, &self.mki, ssrc, index);
            (index, len.or(Err(Rejected::Forged))?)
        } else {
            let inherited = self.inherited.get(ssrc).and_then(|it| it.index_of(sequence));
            let rollovers = if self.searches_left > 0 { SRTP_ROLLOVERS_SOUGHT_MAX } else { 1 };
            self.searches_left = self.searches_left.saturating_sub(1);
            first_of_stream(transform, packet, header, &self.mki, (ssrc, sequence), (inherited, rollovers))
                .or(Err(Rejected::Forged))?
        };
        if self.rtp.is_empty() {
            self.searches_left = 0;
        }
        self.rtp.take(ssrc, index);
        Ok(len)
    }

    fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Rejected> {
        let transform = &self.keys.rtcp;
        let ssrc = packet.get(4..8).and_then(|it| it.first_chunk()).ok_or(Rejected::Malformed)?;
        let ssrc = u32::from_be_bytes(*ssrc);
        let index = transform.rtcp_index(packet, &self.mki).ok_or(Rejected::Malformed)?;
        if self.rtcp.get(ssrc).is_some_and(|it| !it.is_new(u64::from(index))) {
            return Err(Rejected::Replayed);
        }
        let len = transform.open_rtcp(packet, &self.mki, ssrc, index).or(Err(Rejected::Forged))?;
        self.rtcp.take(ssrc, u64::from(index));
        Ok(len)
    }
}

/// The first packet of a stream tells its sequence number, and not how often that has wrapped: as often as under the key
/// before, or as few times as will do: never, or once while nobody listened, or more often if the peer talked to somebody
/// else before.
fn first_of_stream(
    transform: &Transform,
    packet: &mut [u8],
    header: usize,
    mki: &[u8],
    (ssrc, sequence): (u32, u16),
    (inherited, rollovers): (Option<u64>, u16),
) -> Result<(u64, usize), Forged> {
    let mut copy = [0; RTP_DATAGRAM_BYTES_MAX];
    let copy = copy.get_mut(..packet.len()).unwrap_or_default();
    copy.copy_from_slice(packet);
    let sought = (0..=u64::from(rollovers)).map(|it| (it << 16) | u64::from(sequence));
    for index in inherited.into_iter().chain(sought.filter(|it| Some(*it) != inherited)) {
        if let Ok(len) = transform.open_rtp(packet, header, mki, ssrc, index) {
            return Ok((index, len));
        }
        if transform.spoils() {
            packet.copy_from_slice(copy);
        }
    }
    Err(Forged)
}

#[cfg(test)]
impl Inbound {
    pub(super) const fn keeps_an_old_key(&self) -> bool {
        self.old.is_some()
    }
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("master", &self.current.master).finish_non_exhaustive()
    }
}
