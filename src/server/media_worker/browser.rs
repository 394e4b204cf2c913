//! How the packets of a leg are carried, as signalling says: plainly, with keys of its own, or to a browser, which is known
//! from its offer or only from its answer.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use super::{Legs, SendBatch};
use crate::limits::RTP_DATAGRAM_BYTES_MAX;
use crate::media::{Browser, LegTransport, RemoteMedia, Session};
use crate::rtp::packet::is_rtcp;
use crate::server::ports::LegSockets;
use crate::srtp::Keys;
use crate::timer::Now;
use crate::webrtc::Peer;

/// How the packets of a leg are carried: as they are, unless something is named.
#[derive(Debug, Default)]
pub struct Means {
    /// The keys of its media, if signalling told some.
    pub keys: Option<Box<Keys>>,
    /// The browser, if the peer is one.
    pub browser: Option<Box<Browser>>,
    /// Keys are not sent, but told by [`super::MediaEvent::Pressed`].
    pub tells_keys: bool,
    /// Another peer takes the place of the one before.
    pub is_another: bool,
}

impl Means {
    /// What is carried that way from `sockets`; `None` if they have no address for media.
    pub(super) fn open(&self, sockets: &LegSockets, now: Now) -> Option<LegTransport> {
        match &self.browser {
            Some(browser) => LegTransport::to_browser(browser, sockets.rtp().local_addr().ok()?, now.instant),
            None if self.is_another => Some(LegTransport::to_another(self.keys.as_deref())),
            None => Some(LegTransport::new(self.keys.as_deref())),
        }
    }
}

impl Legs {
    /// Takes what signalling has agreed on for a leg.
    pub(super) fn update(&mut self, key: u64, (remote, means): (RemoteMedia, Means), now: Now) {
        let Self { rng, by_key, open, .. } = self;
        let Some(leg) = by_key.get(&key).and_then(|it| open.get_mut(*it)?.as_deref_mut()) else {
            return;
        };
        let Means { keys, browser, tells_keys, is_another } = &means;
        leg.tells_keys = *tells_keys;
        // A browser has one connection, whoever it is for.
        let is_met = *is_another && browser.is_none();
        if is_met {
            leg.session.meet_another(rng);
        }
        let is_updated = !is_met && leg.transport.update(keys.as_deref(), browser.as_deref(), now.instant);
        if !is_updated && let Some(transport) = means.open(&leg.sockets, now) {
            leg.transport = transport;
        }
        leg.browser_address = Some(remote.rtp);
        leg.session.update(remote, now);
        self.find_by_address(key, &remote);
        self.settle(key, now);
    }
}

/// Takes a datagram that came from `from`; in the session, `address` stands for where the browser is.
pub(super) fn receive(
    peer: &mut Peer,
    session: &mut Session,
    (from, address): (SocketAddr, SocketAddr),
    datagram: &[u8],
    now: Now,
) {
    if !peer.handle_datagram(from, datagram, now.instant) {
        session.handle_stranger();
    }
    let mut packet = [0; RTP_DATAGRAM_BYTES_MAX];
    while let Some(len) = peer.poll_packet(&mut packet) {
        session.handle_rtp(address, packet.get(..len).unwrap_or_default(), now);
    }
}

/// What the session says goes to the browser, and what that makes of it goes out; its RTCP is its own.
pub(super) fn send(peer: &mut Peer, session: &mut Session, send: &mut SendBatch, sockets: &LegSockets, now: Now) {
    peer.handle_timeout(now.instant);
    let mut packet = [0; RTP_DATAGRAM_BYTES_MAX];
    while let Some(transmit) = session.poll_transmit(&mut packet) {
        let packet = packet.get(..transmit.len).unwrap_or_default();
        if !is_rtcp(packet) {
            peer.send(packet, now.instant);
        }
    }
    if let Some(feedback) = peer.take_feedback() {
        session.handle_feedback(&feedback);
    }
    loop {
        let is_queued = send.push(|buffer| peer.poll_transmit(buffer));
        if !is_queued || send.is_full() {
            send.send(sockets.rtp().as_fd());
        }
        if !is_queued {
            return;
        }
    }
}
