//! Browsers in offer and answer: DTLS-SRTP (RFC 5763 §5), ICE-lite (RFC 8839 §4) and BUNDLE of the one stream (RFC 9143).
//!
//! Candidates of the browser are not read: it is the one that checks, and where it comes from shows. Ours is one address.

use std::net::SocketAddr;

use crate::sdp::{Media, SessionDescription};
use crate::webrtc::{Fingerprint, IceCredentials, Identity};

/// The profile of what browsers are offered.
pub(super) const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

/// What browsers are told to call the stream unless they have a name for it.
pub(super) const MID: &str = "0";

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
    [PROTOCOL, "UDP/TLS/RTP/SAVP"].iter().any(|it| media.protocol.eq_ignore_ascii_case(it))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::SeedableRng;
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::dialog::offer_answer::{Capabilities, Negotiation, Offer, Unusable};

    const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 8";

    #[test]
    fn a_browser_is_offered_what_browsers_take() {
        let mut ours = ours(true);
        let offer = ours.offer();
        for line in [
            "m=audio 20000 UDP/TLS/RTP/SAVPF 96 9 8 0 ",
            "a=group:BUNDLE 0\r\n",
            "a=mid:0\r\n",
            "a=ice-lite\r\n",
            "a=setup:actpass\r\n",
            "a=rtcp-mux\r\n",
            "a=candidate:1 1 udp 2130706431 192.0.2.1 20000 typ host\r\n",
        ] {
            assert!(offer.contains(line), "{line} is not in {offer}");
        }
        assert!(!offer.contains("a=crypto"), "{offer}");
        let agreed = ours.accept(&sdp(AUDIO, "active", "abcd")).unwrap();
        let webrtc = agreed.webrtc.unwrap();
        assert_eq!((webrtc.theirs.user.as_str(), agreed.payload_type), ("abcd", 8));
        assert!(offer.contains(&format!("a=ice-pwd:{}\r\n", webrtc.ours.password)));
        for (audio, setup) in [("m=audio 4000 RTP/AVP 8", "active"), (AUDIO, "passive")] {
            assert_eq!(ours.accept(&sdp(audio, setup, "abcd")), Err(Unusable::Transport), "{audio} {setup}");
        }
    }

    #[test]
    fn whoever_is_no_browser_is_not_taken_for_one() {
        let mut ours = ours(false);
        assert!(ours.offer().contains("m=audio 20000 RTP/AVP "));
        assert_eq!(ours.accept(&sdp(AUDIO, "active", "abcd")), Err(Unusable::Transport));
        // One that calls over a websocket says itself what it takes.
        let mut over_websocket = self::ours(true);
        let plain = sdp("m=audio 4000 RTP/AVP 8", "", "abcd");
        let (answer, agreed) = over_websocket.answer(&read(&plain));
        assert!(answer.contains("m=audio 20000 RTP/AVP 8\r\n") && !answer.contains("ice-"), "{answer}");
        assert_eq!(agreed.webrtc, None);
    }

    #[test]
    fn our_credentials_last_until_the_browser_restarts() {
        let mut ours = ours(true);
        ours.offer();
        let first = ours.accept(&sdp(AUDIO, "active", "abcd")).unwrap().webrtc.unwrap();
        let (mut held, offer) = ours.changed(Some(true), None);
        assert!(offer.contains(&format!("a=ice-ufrag:{}\r\n", first.ours.user)) && offer.contains("a=sendonly"));
        assert_eq!(held.accept(&sdp(AUDIO, "active", "abcd")).unwrap().webrtc.unwrap(), first);
        let again = held.answer(&read(&sdp(AUDIO, "actpass", "abcd"))).1.webrtc.unwrap();
        assert_eq!(again, first);
        let (answer, restarted) = held.answer(&read(&sdp(AUDIO, "actpass", "efgh")));
        let restarted = restarted.webrtc.unwrap();
        assert_ne!(restarted.ours, first.ours);
        assert_eq!(restarted.theirs.user, "efgh");
        assert!(answer.contains(&format!("a=ice-ufrag:{}\r\n", restarted.ours.user)), "{answer}");
        let same = held.answer(&read(&sdp(AUDIO, "actpass", "efgh"))).1.webrtc.unwrap();
        assert_eq!(same, restarted);
    }

    fn ours(is_browser: bool) -> Negotiation {
        let capabilities = Capabilities { browsers: Some(identity()), ..Capabilities::default() };
        let terms = capabilities.srtp_terms(false);
        Negotiation::new(capabilities, terms, 7, local(), is_browser, &mut rng(1))
    }

    fn read(body: &[u8]) -> Offer {
        let capabilities = Capabilities { browsers: Some(identity()), ..Capabilities::default() };
        // Each offer brings other credentials for us.
        let seed = body.iter().map(|it| u64::from(*it)).sum();
        Offer::read(body, &capabilities, capabilities.srtp_terms(false), local().ip(), &mut rng(seed)).unwrap()
    }

    fn sdp(audio: &str, setup: &str, user: &str) -> Vec<u8> {
        let (password, fingerprint) = ("p".repeat(24), identity().fingerprint());
        format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{audio}\r\na=ice-ufrag:{user}\r\n\
             a=ice-pwd:{password}\r\na=fingerprint:{fingerprint}\r\na=setup:{setup}\r\na=mid:0\r\na=rtcp-mux\r\n"
        )
        .into_bytes()
    }

    fn identity() -> Arc<Identity> {
        static IDENTITY: std::sync::OnceLock<Arc<Identity>> = std::sync::OnceLock::new();
        Arc::clone(IDENTITY.get_or_init(|| Arc::new(Identity::generate().unwrap())))
    }

    fn rng(seed: u64) -> ChaCha12Rng {
        ChaCha12Rng::seed_from_u64(seed)
    }

    fn local() -> SocketAddr {
        "192.0.2.1:20000".parse().unwrap()
    }
}
