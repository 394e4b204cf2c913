//! [`Peer`]: the browser at the other end of a leg.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::config::{DtlsCert, Fingerprint as TheirFingerprint};
use str0m::format::{Codec, FormatParams};
use str0m::ice::IceCreds;
use str0m::media::{Frequency, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::{RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use super::{IceCredentials, Parameters};
use crate::limits::{WEBRTC_ADDRESSES_MAX, WEBRTC_DATAGRAMS_MAX, WEBRTC_STREAMS_MAX};
use crate::rtp::packet::{is_rtcp, ssrc_and_sequence};
use crate::rtp::{Header, Packet};

/// A payload type that is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Both ways.
    pub payload_type: u8,
    /// What it stands for.
    pub kind: FormatKind,
    /// Of its timestamps, in hertz.
    pub clock_hz: u32,
}

/// What a payload type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatKind {
    /// Opus.
    Opus,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722.
    G722,
    /// Telephone events (RFC 4733).
    Events,
    /// Comfort noise (RFC 3389).
    ComfortNoise,
}

/// What the browser has reported of our stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// By its last report, if that could say.
    pub round_trip: Option<Duration>,
    /// Of the packets between its last reports, in 1/256.
    pub fraction_lost: Option<u8>,
    /// Packets lost in all.
    pub lost: i32,
    /// Interarrival jitter there, in units of the RTP timestamp.
    pub jitter: u32,
}

/// The browser. After every `handle_…` and [`Peer::send`], drain [`Peer::poll_packet`] and [`Peer::poll_transmit`].
pub struct Peer {
    rtc: Rtc,
    local: SocketAddr,
    /// Where it has proved to be by its ICE password, as it has several ways to us; the oldest is forgotten.
    proven: VecDeque<SocketAddr>,
    /// What we send, once there is some: its SSRC and the extended number of its last packet.
    sent: Option<(u32, u64)>,
    expected: Vec<u32>,
    packets: VecDeque<(Header, Arc<[u8]>)>,
    feedback: Option<Feedback>,
    /// The highest number that it had received at its last report.
    reported: u64,
    datagrams: VecDeque<Transmit>,
    /// What was agreed on last.
    parameters: Parameters,
    /// It has been reached: what is sent goes where it was until it is found elsewhere.
    was_reached: bool,
    is_lost: bool,
}

impl Peer {
    /// A peer that will come to `local`, the address of our socket; `None` if that is no address for media.
    pub fn new(parameters: &Parameters, formats: &[Format], local: SocketAddr, now: Instant) -> Option<Self> {
        let Parameters { identity, ours, theirs, their_fingerprint } = parameters;
        let certificate = DtlsCert {
            certificate: identity.certificate.certificate.clone(),
            private_key: identity.certificate.private_key.clone(),
        };
        let mut config = Rtc::builder()
            .set_rtp_mode(true)
            .set_ice_lite(true)
            .set_dtls_cert(certificate)
            .set_local_ice_credentials(credentials(ours))
            .clear_codecs()
            .clear_extension_map()
            .set_reordering_size_audio(0)
            .set_stats_interval(Some(STATISTICS_INTERVAL));
        // What is agreed on may change, and what is to be carried is said only here: Opus is what changes to a number of its own.
        let is_free = |it: &u8| formats.iter().all(|format| format.payload_type != *it);
        let of_opus = |payload_type| Format { payload_type, kind: FormatKind::Opus, clock_hz: 48_000 };
        let others = STATIC_FORMATS.into_iter().chain(DYNAMIC_PAYLOAD_TYPES.map(of_opus));
        for format in formats.iter().copied().chain(others.filter(|it| is_free(&it.payload_type))) {
            let (codec, channels) = match format.kind {
                FormatKind::Opus => (Codec::Opus, Some(2)),
                FormatKind::Pcmu => (Codec::PCMU, None),
                FormatKind::Pcma => (Codec::PCMA, None),
                FormatKind::G722 => (Codec::G722, None),
                FormatKind::Events => (Codec::Tele, None),
                FormatKind::ComfortNoise => (Codec::CN, None),
            };
            let clock = Frequency::new(format.clock_hz)?;
            let payload_type = Pt::from(format.payload_type);
            config.codec_config().add_config(payload_type, None, codec, clock, channels, FormatParams::default());
        }
        let mut rtc = config.build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp").ok()?);
        let mut direct = rtc.direct_api();
        direct.set_ice_controlling(false);
        direct.set_remote_ice_credentials(credentials(theirs));
        let hash_func = "sha-256".to_owned();
        direct.set_remote_fingerprint(TheirFingerprint { hash_func, bytes: their_fingerprint.0.to_vec() });
        direct.start_dtls(false).ok()?;
        direct.declare_media(mid(), MediaKind::Audio);
        let mut peer = Self {
            rtc,
            local,
            proven: VecDeque::new(),
            sent: None,
            expected: vec![],
            packets: VecDeque::new(),
            feedback: None,
            reported: 0,
            datagrams: VecDeque::new(),
            parameters: parameters.clone(),
            was_reached: false,
            is_lost: false,
        };
        peer.drain();
        Some(peer)
    }

    /// Takes what was agreed on anew. Other ICE credentials on both sides are a restart (RFC 8445 §9): DTLS and SRTP stay, what
    /// is sent goes where the browser was until it has proved to be elsewhere. Whether that could be done: a browser with
    /// another certificate is another [`Peer`].
    pub fn update(&mut self, parameters: &Parameters) -> bool {
        let before = &self.parameters;
        if (&parameters.identity, parameters.their_fingerprint) != (&before.identity, before.their_fingerprint) {
            return false;
        }
        let is_restart = parameters.ours != before.ours;
        let mut direct = self.rtc.direct_api();
        direct.set_local_ice_credentials(credentials(&parameters.ours));
        direct.set_remote_ice_credentials(credentials(&parameters.theirs));
        if let Some(candidate) = Candidate::host(self.local, "udp").ok().filter(|_| is_restart) {
            // What was known of ways to it counts no more: it names the one it wants again.
            direct.invalidate_candidate(&candidate);
            self.rtc.add_local_candidate(candidate);
        }
        self.parameters = parameters.clone();
        self.drain();
        true
    }

    /// Takes a datagram from the socket. Whether it may be the browser's: others are dropped.
    pub fn handle_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> bool {
        // Only ICE tells by itself who sent a datagram; a forged ClientHello must not disturb the handshake.
        let is_heard =
            is_stun(datagram) || (self.proven.contains(&from) && (!is_rtp(datagram) || self.expects(datagram)));
        if !is_heard {
            return false;
        }
        let Ok(receive) = Receive::new(Protocol::Udp, from, self.local, datagram) else {
            return false;
        };
        let input = Input::Receive(now, receive);
        if !self.rtc.accepts(&input) && is_stun(datagram) {
            return false;
        }
        // What it does not understand says nothing about the peer.
        self.rtc.handle_input(input).unwrap_or_default();
        self.drain();
        true
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pass(now);
    }

    /// Sends an RTP packet; before the browser is there, it is dropped.
    pub fn send(&mut self, packet: &[u8], now: Instant) {
        let Ok(Packet { header, payload }) = Packet::parse(packet) else {
            return;
        };
        self.was_reached |= self.rtc.is_connected();
        if !self.was_reached {
            return;
        }
        let index = match self.sent {
            Some((ssrc, last)) if ssrc == header.ssrc => {
                let low = u16::try_from(last & 0xffff).unwrap_or(0);
                last.saturating_add_signed(i64::from(crate::rtp::sequence_distance(low, header.sequence)))
            }
            _ => {
                self.rtc.direct_api().declare_stream_tx(Ssrc::from(header.ssrc), None, mid(), None);
                u64::from(header.sequence)
            }
        };
        self.sent = Some((header.ssrc, index));
        let mut direct = self.rtc.direct_api();
        if let Some(stream) = direct.stream_tx(&Ssrc::from(header.ssrc)) {
            let payload_type = Pt::from(header.payload_type);
            let write = RtpWrite::new(payload_type, index.into(), header.timestamp, now, payload);
            stream.write_rtp(write.marker(header.marker));
        }
        self.pass(now);
    }

    /// The next packet from the browser, written to `buffer`.
    pub fn poll_packet(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let (header, payload) = self.packets.pop_front()?;
        Packet { header, payload: &payload }.write(buffer)
    }

    /// What it has reported since this was asked last, if anything.
    pub const fn take_feedback(&mut self) -> Option<Feedback> {
        self.feedback.take()
    }

    /// The next datagram to be sent from the socket, written to `buffer`.
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let transmit = self.datagrams.pop_front()?;
        let contents: &[u8] = &transmit.contents;
        buffer.get_mut(..contents.len())?.copy_from_slice(contents);
        Some((transmit.destination, contents.len()))
    }

    /// Whether the browser is there, so that what is sent reaches it.
    pub fn is_reached(&self) -> bool {
        self.was_reached || self.rtc.is_connected()
    }

    /// Whether the browser was there and is no more: it has withdrawn its consent, or closed the DTLS connection.
    pub fn is_lost(&self) -> bool {
        self.is_lost || !self.rtc.is_alive()
    }

    fn pass(&mut self, now: Instant) {
        if self.rtc.handle_input(Input::Timeout(now)).is_err() {
            self.is_lost = true;
        }
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(_)) => return,
                Ok(Output::Transmit(transmit)) => {
                    // Nothing is sent to who has not proved itself: here ICE only answers.
                    if !self.proven.contains(&transmit.destination) {
                        self.proven.truncate(WEBRTC_ADDRESSES_MAX - 1);
                        self.proven.push_front(transmit.destination);
                    }
                    if self.datagrams.len() < WEBRTC_DATAGRAMS_MAX {
                        self.datagrams.push_back(transmit);
                    }
                }
                Ok(Output::Event(event)) => self.take(event),
                Err(_) => {
                    self.is_lost = true;
                    return;
                }
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most events are about what we do not use")]
    fn take(&mut self, event: Event) {
        match event {
            Event::RtpPacket(packet) if self.packets.len() < WEBRTC_DATAGRAMS_MAX => {
                let header = Header {
                    payload_type: *packet.header.payload_type,
                    marker: packet.header.marker,
                    sequence: packet.header.sequence_number,
                    timestamp: packet.header.timestamp,
                    ssrc: *packet.header.ssrc,
                };
                self.packets.push_back((header, packet.payload));
            }
            Event::MediaEgressStats(stats) => {
                let Some(remote) = stats.remote.filter(|it| *it.maximum_sequence_number != self.reported) else {
                    return;
                };
                self.reported = *remote.maximum_sequence_number;
                self.feedback = Some(Feedback {
                    round_trip: stats.rtt,
                    fraction_lost: stats.loss.map(in_256ths),
                    lost: signed_24_bits(remote.packets_lost),
                    jitter: remote.jitter,
                });
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) | Event::Closed => self.is_lost = true,
            Event::IceConnectionStateChange(_) => self.is_lost = false,
            _ => (),
        }
    }

    /// Whether the SSRC of an RTP packet is known or one of the first.
    fn expects(&mut self, packet: &[u8]) -> bool {
        let Some((ssrc, _)) = ssrc_and_sequence(packet) else {
            return false;
        };
        if !self.expected.contains(&ssrc) {
            if self.expected.len() == WEBRTC_STREAMS_MAX {
                return false;
            }
            self.expected.push(ssrc);
            self.rtc.direct_api().expect_stream_rx(Ssrc::from(ssrc), None, mid(), None);
        }
        true
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("is_lost", &self.is_lost).finish_non_exhaustive()
    }
}

/// RFC 7983 §7, as is the next.
fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|it| *it <= 3)
}

fn is_rtp(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|it| (128..=191).contains(it)) && !is_rtcp(datagram)
}

fn credentials(from: &IceCredentials) -> IceCreds {
    IceCreds { ufrag: from.user.clone(), pass: from.password.clone() }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "brought into range first")]
fn in_256ths(fraction: f32) -> u8 {
    (fraction * 256.0).clamp(0.0, 255.0) as u8
}

/// RFC 3550 §6.4.1 has duplicates make the count negative.
fn signed_24_bits(lost: u64) -> i32 {
    let low = i32::try_from(lost & 0xff_ffff).unwrap_or(0);
    if low >= 1 << 23 { low - (1 << 24) } else { low }
}

/// How often what the browser reports is looked at; it does so every few seconds.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(1);
/// RFC 3551 §6, of those that browsers have.
const STATIC_FORMATS: [Format; 4] = [
    Format { payload_type: 0, kind: FormatKind::Pcmu, clock_hz: 8_000 },
    Format { payload_type: 8, kind: FormatKind::Pcma, clock_hz: 8_000 },
    Format { payload_type: 9, kind: FormatKind::G722, clock_hz: 8_000 },
    Format { payload_type: 13, kind: FormatKind::ComfortNoise, clock_hz: 8_000 },
];
const DYNAMIC_PAYLOAD_TYPES: std::ops::RangeInclusive<u8> = 96..=127;

/// The one stream; what the descriptions call it is their affair.
fn mid() -> Mid {
    Mid::from("audio")
}
