//! Browsers in offer and answer: DTLS-SRTP (RFC 5763 §5), ICE-lite (RFC 8839 §4) and BUNDLE of the one stream (RFC 9143).
//!
//! Candidates of the browser are not read: it is the one that checks, and where it comes from shows. Ours is one address.

use std::net::SocketAddr;

use crate::sdp::{Media, SessionDescription};
use crate::webrtc::{Fingerprint, IceCredentials, Identity};

/// What a browser says about its transport.
#[derive(Clone, Debug)]
pub(super) struct TheirTransport {
    pub(super) credentials: IceCredentials,
    pub(super) fingerprint: Fingerprint,
}

impl TheirTransport {
    /// `None` if something is missing, or if the browser would wait for us to begin the handshake.
    pub(super) fn read(description: &SessionDescription, media: &Media) -> Option<Self> {
        let get = |name| media.attributes.get(name).or_else(|| description.attributes.get(name));
        let credentials = IceCredentials::of_peer(get("ice-ufrag")?.trim(), get("ice-pwd")?.trim())?;
        let own = media.attributes.all("fingerprint").find_map(Fingerprint::parse);
        let fingerprint = own.or_else(|| description.attributes.all("fingerprint").find_map(Fingerprint::parse))?;
        let begins = get("setup").is_none_or(|it| matches!(it.trim(), "actpass" | "active"));
        begins.then_some(Self { credentials, fingerprint })
    }
}

/// Whether the profile is that of browsers.
pub(super) fn is_browser(media: &Media) -> bool {
    ["UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP"].iter().any(|it| media.protocol.eq_ignore_ascii_case(it))
}

/// Writes our side: where we are and how to prove that it is us.
pub(super) fn write(media: &mut Media, identity: &Identity, ours: &IceCredentials, local: SocketAddr, is_offer: bool) {
    let attributes = &mut media.attributes;
    attributes.push("ice-ufrag", &ours.user);
    attributes.push("ice-pwd", &ours.password);
    attributes.push("fingerprint", identity.fingerprint());
    attributes.push("setup", if is_offer { "actpass" } else { "passive" });
    attributes.push("candidate", format_args!("1 1 udp 2130706431 {} {} typ host", local.ip(), local.port()));
    attributes.flag("end-of-candidates");
}

/// Writes what stands above the streams: that we do not check, and that there is one transport.
pub(super) fn write_session(description: &mut SessionDescription, index: usize) {
    description.attributes.flag("ice-lite");
    if let Some(mid) = description.media.get(index).and_then(|it| it.attributes.get("mid")).map(str::to_owned) {
        description.attributes.push("group", format_args!("BUNDLE {mid}"));
    }
}
