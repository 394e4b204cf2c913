//! [`Outbound`]: what a leg sends (RFC 3711 §3.3, §3.4).

use std::fmt;

use super::MasterKey;
use super::stream::Streams;
use super::transform::SessionKeys;
use crate::rtp::packet::{header_len, ssrc_and_sequence};

/// Protects the packets of one leg.
pub struct Outbound {
    master: MasterKey,
    keys: SessionKeys,
    streams: Streams,
    /// Of the next RTCP packet; it does not start again for another SSRC.
    rtcp_index: u32,
}

/// A packet that must not be sent: it is none, there is no room for its tag, its number has been used, or its key has been
/// used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet cannot be protected")]
pub struct Unprotected;

impl Outbound {
    /// Nothing has been sent under this key.
    pub fn new(master: MasterKey) -> Self {
        Self { keys: SessionKeys::derive(&master), master, streams: Streams::default(), rtcp_index: 0 }
    }

    /// The key.
    pub const fn master(&self) -> &MasterKey {
        &self.master
    }

    /// Takes another key. Rollover counters run on (§3.3.1); the same key changes nothing.
    pub fn rekey(&mut self, master: &MasterKey) {
        if self.master != *master {
            self.keys = SessionKeys::derive(master);
            self.master = master.clone();
        }
    }

    /// Protects the RTP packet in the first `len` bytes of `buffer`. Returns its new length, which is larger by at most
    /// [`super::OVERHEAD_BYTES_MAX`].
    ///
    /// # Errors
    ///
    /// [`Unprotected`]: the packet must not be sent.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Unprotected> {
        let packet = buffer.get(..len).ok_or(Unprotected)?;
        let header = header_len(packet).ok_or(Unprotected)?;
        let (ssrc, sequence) = ssrc_and_sequence(packet).ok_or(Unprotected)?;
        let index = match self.streams.get(ssrc) {
            // A number used twice would give away both packets.
            Some(stream) => stream.index_of(sequence).filter(|it| stream.is_new(*it)).ok_or(Unprotected)?,
            None => u64::from(sequence),
        };
        let len = self.keys.rtp.seal_rtp(buffer, header, len, ssrc, index).ok_or(Unprotected)?;
        self.streams.take(ssrc, index);
        Ok(len)
    }

    /// Protects the compound RTCP packet in the first `len` bytes of `buffer`. Returns its new length, which is larger by
    /// at most [`super::OVERHEAD_BYTES_MAX`].
    ///
    /// # Errors
    ///
    /// [`Unprotected`]: the packet must not be sent.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Unprotected> {
        let packet = buffer.get(..len).ok_or(Unprotected)?;
        let ssrc = packet.get(4..8).and_then(|it| it.first_chunk()).ok_or(Unprotected)?;
        let ssrc = u32::from_be_bytes(*ssrc);
        let index = Some(self.rtcp_index).filter(|it| *it < 1 << 31).ok_or(Unprotected)?;
        let len = self.keys.rtcp.seal_rtcp(buffer, len, ssrc, index).ok_or(Unprotected)?;
        self.rtcp_index = index + 1;
        Ok(len)
    }
}

#[cfg(test)]
impl Outbound {
    pub(super) const fn rtcp_index_is_0(&self) -> bool {
        self.rtcp_index == 0
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("master", &self.master).field("streams", &self.streams).finish_non_exhaustive()
    }
}
