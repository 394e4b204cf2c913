//! The media of legs, as the user agent wants them: opened, moved, and told what has been agreed on.

use std::net::{IpAddr, SocketAddr};

use super::SipWorker;
use crate::call::{HangUpCause, Sound};
use crate::dialog::offer_answer::MediaDescription;
use crate::identity::LegId;
use crate::media::{RemoteMedia, SessionConfig};
use crate::rtp::Digit;
use crate::server::media_worker::{Means, MediaBusy, MediaLeg, OpenLeg};
use crate::server::ports::LegSockets;
use crate::server::{clock, leg_media, media_link};

impl SipWorker {
    pub(super) fn open_media(&mut self, leg: LegId, local_ip: IpAddr, peer: IpAddr, remote: Option<&MediaDescription>) {
        let now = clock::now();
        if let Some(remote) = remote {
            self.note_keys(leg, peer, remote);
        }
        match self.try_open_media(leg, local_ip, peer, remote) {
            Some(address) => {
                self.calls.handle_media_opened(leg, address, now);
                if let Some(party) = self.placed.remove(&leg.call) {
                    self.start_actor(leg, party);
                }
            }
            None => {
                self.shell.shared_ports.close(leg);
                self.media_refusals += 1;
                self.calls.handle_media_refused(leg, now);
            }
        }
    }

    /// Opens the leg and returns the RTP address to tell the peer; `None` if there is no port or no worker for it.
    fn try_open_media(
        &mut self,
        leg: LegId,
        local_ip: IpAddr,
        peer: IpAddr,
        offered: Option<&MediaDescription>,
    ) -> Option<SocketAddr> {
        let room = self.rooms.of(leg.call);
        let thread = self.shell.media.thread_for(leg.call, room);
        let has_own = self.calls.may_be_browser(leg);
        let shared = (!has_own).then(|| self.shell.shared_ports.open(leg, thread, local_ip, peer, offered)).flatten();
        let sockets = match shared {
            Some(pair) => LegSockets::Shared(pair),
            None => LegSockets::Own(self.shell.ports.allocate(local_ip).ok()?),
        };
        let local = sockets.rtp().local_addr().ok()?;
        let rate = offered.map_or(self.shell.offered_rate, |it| it.codec.rate());
        let (task_end, link) = media_link::link(rate);
        let tap = self.shell.record.as_mut().and_then(|it| it.tap(leg, rate));
        let open = OpenLeg {
            leg,
            room,
            sockets,
            session: SessionConfig { remote: offered.map(|it| self.remote_media(it, peer)), hears_tones: true },
            means: offered.map(|it| leg_media::means(it, self.calls.tells_keys_by_info(leg))).unwrap_or_default(),
            link,
            tap,
            inactivity: Some(self.shell.inactivity),
        };
        let media = self.shell.media.open(open).ok()?;
        self.legs.insert(leg, media);
        self.links.insert(leg, task_end);
        let advertised = self.shell.advertise.of(local);
        Some(SocketAddr::new(advertised.ip(), local.port()))
    }

    /// The media of a leg are as agreed from here on.
    pub(super) fn update_media(&mut self, leg: LegId, peer: IpAddr, remote: &MediaDescription, is_another: bool) {
        self.note_keys(leg, peer, remote);
        let agreed = self.remote_media(remote, peer);
        let is_taken = self.shell.shared_ports.update(leg, peer, &agreed).is_err();
        let moved = if is_taken { self.move_media(leg) } else { None };
        let tells_keys = self.calls.tells_keys_by_info(leg);
        let means = Means { is_another, ..leg_media::means(remote, tells_keys) };
        self.order_media(leg, |it| it.update(agreed, means));
        match moved {
            Some(address) => self.calls.handle_media_moved(leg, address, clock::now()),
            None if is_taken => {
                tracing::warn!(%leg, "no port is left for media that have to move: the call ends");
                self.media_refusals += 1;
                self.calls.hang_up(leg.call, HangUpCause::Failed, clock::now());
            }
            None => (),
        }
    }

    /// Ports of its own for a leg whose peer is where another leg's is; where that one is to send from now on. `None` if there
    /// are no ports, or no shared ones that it could leave.
    fn move_media(&mut self, leg: LegId) -> Option<SocketAddr> {
        let local_ip = self.shell.shared_ports.leave(leg)?;
        let sockets = self.shell.ports.allocate(local_ip).ok()?;
        let local = sockets.rtp.local_addr().ok()?;
        tracing::info!(%leg, "media at an address that another leg has: they get a port of their own");
        self.order_media(leg, |it| it.move_to(sockets));
        let advertised = self.shell.advertise.of(local);
        Some(SocketAddr::new(advertised.ip(), local.port()))
    }

    /// The peer of a leg tells of a digit by INFO.
    pub(super) fn tell_digit(&mut self, leg: LegId, digit: char, duration_ms: u16) {
        if let Some(digit) = Digit::from_char(digit) {
            self.order_media(leg, |it| it.tell_digit(digit, duration_ms));
        }
    }

    pub(super) fn play(&mut self, leg: LegId, sound: Option<Sound>) {
        let clip = sound.and_then(|it| self.shell.sounds.get(it));
        self.order_media(leg, |it| it.play(clip));
    }

    fn note_keys(&mut self, leg: LegId, peer: IpAddr, remote: &MediaDescription) {
        if remote.keys.is_some() && !self.calls.is_confidential(leg) {
            self.keys_in_clear.note(leg, peer);
        }
    }

    fn remote_media(&self, description: &MediaDescription, peer: IpAddr) -> RemoteMedia {
        let remote = leg_media::remote(description, peer);
        RemoteMedia { latching: self.shell.shared_ports.latching(peer, &remote), ..remote }
    }

    /// Has the media session of a leg do something. Without it both sides would talk past each other: better to end the
    /// call.
    pub(super) fn order_media(&mut self, leg: LegId, order: impl FnOnce(&MediaLeg) -> Result<(), MediaBusy>) {
        if let Some(Err(MediaBusy)) = self.legs.get(&leg).map(order) {
            self.media_refusals += 1;
            self.calls.hang_up(leg.call, HangUpCause::Failed, clock::now());
        }
    }
}
