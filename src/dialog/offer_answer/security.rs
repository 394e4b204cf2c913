//! Keys of SRTP in offer and answer: RFC 4568 §5.1, §7.1; beside RTP/SAVP also with RTP/AVP, where the peer may leave
//! security out.
//!
//! Each side names the key that it sends under. Ours stays the same for a suite as long as the session lasts, so that a
//! hold or a refresh resets nothing; another suite gets another key.

use rand_chacha::ChaCha12Rng;
use smallvec::SmallVec;

use super::Unusable;
use crate::sdp::{InlineKey, Media};
use crate::srtp::{Keys, MasterKey, SrtpPolicy, Suite};

/// A policy, and whether signalling is confidential enough for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SrtpTerms {
    /// What is wanted.
    pub(crate) policy: SrtpPolicy,
    /// Whether keys may be told.
    pub(crate) may_tell_keys: bool,
}

/// What a line of the peer says that we take.
#[derive(Clone, Debug)]
pub(super) struct TheirLine {
    tag: u32,
    key: MasterKey,
    identifier: SmallVec<[u8; 4]>,
}

/// The lines of our descriptions; none for plain RTP.
#[derive(Clone, Debug, Default)]
pub(super) struct OurLines(Vec<(u32, MasterKey)>);

impl SrtpTerms {
    /// The profile of our first offer.
    pub(super) const fn protocol(self) -> &'static str {
        match self.policy {
            SrtpPolicy::Required => "RTP/SAVP",
            SrtpPolicy::Off | SrtpPolicy::Accepted | SrtpPolicy::Preferred => "RTP/AVP",
        }
    }

    /// The line of an offer that we take: the first whose suite and parameters we know, as the peer put it first.
    pub(super) fn choose(self, media: &Media) -> Result<Option<TheirLine>, Unusable> {
        self.check(media, |it| TheirLine::read(it, None))
    }

    /// The line of an answer, which names one of `ours`.
    pub(super) fn match_answer(self, media: &Media, ours: &OurLines) -> Result<Option<TheirLine>, Unusable> {
        self.check(media, |it| TheirLine::read(it, Some(ours)))
    }

    fn check(self, media: &Media, read: impl Fn(&Media) -> Option<TheirLine>) -> Result<Option<TheirLine>, Unusable> {
        let can_secure = self.may_tell_keys && self.policy != SrtpPolicy::Off;
        let line = if can_secure { read(media) } else { None };
        let is_secured_profile = is_one_of(media, &["RTP/SAVP", "RTP/SAVPF"]);
        if !is_secured_profile && !is_one_of(media, &["RTP/AVP", "RTP/AVPF"]) {
            return Err(Unusable::Transport);
        }
        let must_secure = is_secured_profile || self.policy == SrtpPolicy::Required;
        match line {
            None if must_secure && self.policy == SrtpPolicy::Off => Err(Unusable::Transport),
            None if must_secure && !self.may_tell_keys => Err(Unusable::KeysInTheClear),
            None if must_secure => Err(Unusable::NoKey),
            line => Ok(line),
        }
    }
}

impl TheirLine {
    fn read(media: &Media, ours: Option<&OurLines>) -> Option<Self> {
        media.attributes.cryptos().find_map(|line| {
            let suite = Suite::from_name(line.suite)?;
            if ours.is_some_and(|it| it.key(line.tag, suite).is_none()) {
                return None;
            }
            let InlineKey { key_and_salt, identifier } = line.key()?;
            Some(Self { tag: line.tag, key: MasterKey::new(suite, &key_and_salt)?, identifier })
        })
    }

    pub(super) const fn suite(&self) -> Suite {
        self.key.suite()
    }

    pub(super) const fn tag(&self) -> u32 {
        self.tag
    }

    /// The keys of the session, with ours beside theirs.
    pub(super) fn with(&self, ours: MasterKey) -> Keys {
        Keys { ours, theirs: self.key.clone(), their_identifier: self.identifier.clone() }
    }
}

impl OurLines {
    /// Those of a first offer.
    pub(super) fn new(terms: SrtpTerms, rng: &mut ChaCha12Rng) -> Self {
        let offers = match terms.policy {
            SrtpPolicy::Off | SrtpPolicy::Accepted => false,
            SrtpPolicy::Preferred | SrtpPolicy::Required => terms.may_tell_keys,
        };
        let suites = Suite::ALL.into_iter().filter(|_| offers);
        Self((1..).zip(suites).map(|(tag, suite)| (tag, MasterKey::random(suite, rng))).collect())
    }

    /// That of an answer.
    pub(super) fn answer(tag: u32, key: MasterKey) -> Self {
        Self(vec![(tag, key)])
    }

    /// The key of the line with this tag, if it has this suite.
    pub(super) fn key(&self, tag: u32, suite: Suite) -> Option<&MasterKey> {
        self.0.iter().find(|(ours, key)| *ours == tag && key.suite() == suite).map(|(_, key)| key)
    }

    /// The key that we have for this suite.
    pub(super) fn of_suite(&self, suite: Suite) -> Option<&MasterKey> {
        self.0.iter().map(|(_, key)| key).find(|it| it.suite() == suite)
    }

    pub(super) fn write(&self, media: &mut Media) {
        for (tag, key) in &self.0 {
            let inline = InlineKey::write(key.key_and_salt());
            media.attributes.push("crypto", format_args!("{tag} {} {}", key.suite().name(), *inline));
        }
    }
}

fn is_one_of(media: &Media, protocols: &[&str]) -> bool {
    protocols.iter().any(|it| media.protocol.eq_ignore_ascii_case(it))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use rand::SeedableRng;

    use super::*;
    use crate::dialog::offer_answer::{Capabilities, MediaDescription, Negotiation, Offer};

    const CM: &str = "AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    const CM_OTHER: &str = "AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";
    const CM_32: &str = "AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4";
    const GCM: &str = "AEAD_AES_256_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKis=";

    #[test]
    fn the_first_line_that_we_know_is_answered_by_its_tag() {
        for (lines, expected) in [
            (vec![format!("1 {CM}")], "1 AES_CM_128_HMAC_SHA1_80"),
            (vec![format!("7 {GCM}"), format!("8 {CM}")], "7 AEAD_AES_256_GCM"),
            (
                vec![format!("1 F8_128_HMAC_SHA1_80 inline:{}", "A".repeat(40)), format!("2 {CM_32}")],
                "2 AES_CM_128_HMAC_SHA1_32",
            ),
            (vec![format!("1 {CM} UNENCRYPTED_SRTP"), format!("2 {CM}")], "2 AES_CM_128_HMAC_SHA1_80"),
            (vec!["1 AES_CM_128_HMAC_SHA1_80 inline:AAAA".to_owned(), format!("2 {CM}")], "2 AES_CM_128_HMAC_SHA1_80"),
        ] {
            for protocol in ["RTP/SAVP", "RTP/AVP", "RTP/SAVPF"] {
                let lines: Vec<_> = lines.iter().map(String::as_str).collect();
                let (offer, mut ours) =
                    (read(SrtpPolicy::Accepted, &sdp(protocol, &lines)).unwrap(), ours(SrtpPolicy::Accepted));
                let (answer, agreed) = ours.answer(&offer);
                assert!(answer.contains(&format!("m=audio 20000 {protocol} 0\r\n")), "{answer}");
                let [line] = crypto_lines(&answer).try_into().unwrap();
                let (head, inline) = line.rsplit_once(' ').unwrap();
                assert_eq!(head, expected);
                let keys = agreed.keys.as_deref().unwrap();
                assert_eq!(*InlineKey::write(keys.ours.key_and_salt()), inline);
                // The media session of the call is opened before the answer is written.
                assert_eq!(offer.media().keys.as_deref(), Some(keys));
                assert_ne!(keys.ours, keys.theirs);
                assert_eq!(keys.their_identifier.len(), if head.ends_with("32") { 4 } else { 0 });
            }
        }
    }

    #[test]
    fn policies_decide_what_is_taken() {
        use SrtpPolicy::{Accepted, Off, Preferred, Required};
        let line = format!("1 {CM}");
        for (policy, protocol, lines, expected) in [
            (Off, "RTP/AVP", vec![], Ok(false)),
            (Off, "RTP/AVP", vec![&*line], Ok(false)),
            (Off, "RTP/SAVP", vec![&*line], Err(Unusable::Transport)),
            (Accepted, "RTP/AVP", vec![], Ok(false)),
            (Accepted, "RTP/AVP", vec![&*line], Ok(true)),
            (Accepted, "RTP/SAVP", vec![&*line], Ok(true)),
            (Accepted, "RTP/SAVP", vec![], Err(Unusable::NoKey)),
            (Accepted, "UDP/TLS/RTP/SAVP", vec![&*line], Err(Unusable::Transport)),
            (Preferred, "RTP/AVP", vec![], Ok(false)),
            (Preferred, "RTP/AVP", vec![&*line], Ok(true)),
            (Preferred, "RTP/SAVP", vec!["1 X inline:AAAA"], Err(Unusable::NoKey)),
            (Required, "RTP/AVP", vec![], Err(Unusable::NoKey)),
            (Required, "RTP/AVP", vec![&*line], Ok(true)),
            (Required, "RTP/SAVP", vec![&*line], Ok(true)),
        ] {
            let found = read(policy, &sdp(protocol, &lines)).map(|it| it.media().keys.is_some());
            assert_eq!(found, expected, "{policy} {protocol} {lines:?}");
        }
        let guarded = Capabilities { srtp: Required, srtp_keys_in_clear: false, ..Capabilities::default() };
        for (is_confidential, expected) in [(true, Ok(())), (false, Err(Unusable::KeysInTheClear))] {
            let terms = guarded.srtp_terms(is_confidential);
            let found = Offer::read(&sdp("RTP/SAVP", &[&line]), &guarded, terms, ip(), &mut rng()).map(drop);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_secured_stream_is_taken_before_a_plain_one() {
        let line = format!("a=crypto:1 {CM}\r\n");
        let body = format!("{}m=audio 4000 RTP/SAVP 0\r\n{line}", String::from_utf8(sdp("RTP/AVP", &[])).unwrap());
        for (policy, expected) in [(SrtpPolicy::Accepted, true), (SrtpPolicy::Off, false)] {
            let (answer, agreed) = ours(policy).answer(&read(policy, body.as_bytes()).unwrap());
            assert_eq!(agreed.keys.is_some(), expected);
            let ports: Vec<_> = answer.lines().filter(|it| it.starts_with("m=")).collect();
            let (plain, secured) = if expected { (0, 20_000) } else { (20_000, 0) };
            assert_eq!(ports, [format!("m=audio {plain} RTP/AVP 0"), format!("m=audio {secured} RTP/SAVP 0")]);
        }
    }

    #[test]
    fn our_offers_name_every_suite_if_the_policy_wants_it() {
        for (policy, protocol, lines) in [
            (SrtpPolicy::Off, "RTP/AVP", 0),
            (SrtpPolicy::Accepted, "RTP/AVP", 0),
            (SrtpPolicy::Preferred, "RTP/AVP", 4),
            (SrtpPolicy::Required, "RTP/SAVP", 4),
        ] {
            let offer = ours(policy).offer();
            assert!(offer.contains(&format!("m=audio 20000 {protocol} ")), "{offer}");
            assert_eq!(crypto_lines(&offer).len(), lines);
        }
        let guarded =
            Capabilities { srtp: SrtpPolicy::Preferred, srtp_keys_in_clear: false, ..Capabilities::default() };
        let mut ours = Negotiation::new(guarded.clone(), guarded.srtp_terms(false), 7, local(), false, &mut rng());
        assert_eq!(crypto_lines(&ours.offer()).len(), 0);
    }

    #[test]
    fn an_answer_names_one_of_our_lines() {
        use SrtpPolicy::{Accepted, Preferred, Required};
        for (policy, protocol, line, expected) in [
            (Preferred, "RTP/AVP", Some(format!("1 {CM}")), Ok(true)),
            (Preferred, "RTP/AVP", Some(format!("2 {GCM}")), Ok(true)),
            (Preferred, "RTP/AVP", None, Ok(false)),
            (Preferred, "RTP/AVP", Some(format!("2 {CM}")), Ok(false)), // our second line has another suite
            (Preferred, "RTP/AVP", Some(format!("9 {CM}")), Ok(false)),
            (Required, "RTP/SAVP", Some(format!("1 {CM}")), Ok(true)),
            (Required, "RTP/SAVP", Some(format!("9 {CM}")), Err(Unusable::NoKey)),
            (Required, "RTP/SAVP", None, Err(Unusable::NoKey)),
            (Required, "RTP/AVP", None, Err(Unusable::NoKey)),
            (Accepted, "RTP/AVP", Some(format!("1 {CM}")), Ok(false)), // we offered no key
        ] {
            let mut ours = ours(policy);
            let offer = ours.offer();
            let answer = sdp(protocol, &line.iter().map(String::as_str).collect::<Vec<_>>());
            let found = ours.accept(&answer);
            if let Ok(MediaDescription { keys: Some(keys), .. }) = &found {
                let written = InlineKey::write(keys.ours.key_and_salt());
                assert!(crypto_lines(&offer).iter().any(|it| it.ends_with(&**written)));
            }
            assert_eq!(found.map(|it| it.keys.is_some()), expected, "{policy} {protocol} {line:?}");
        }
    }

    #[test]
    fn our_key_lasts_and_theirs_may_change() {
        for policy in [SrtpPolicy::Accepted, SrtpPolicy::Preferred] {
            let mut ours = ours(policy);
            let (first, agreed) = ours.answer(&read(policy, &sdp("RTP/SAVP", &[&format!("1 {CM}")])).unwrap());
            let (again, same) = ours.answer(&read(policy, &sdp("RTP/SAVP", &[&format!("1 {CM}")])).unwrap());
            assert_eq!((&first, &agreed), (&again, &same));
            let (mut held, offer) = ours.changed(Some(true), None);
            assert_eq!(crypto_lines(&offer), crypto_lines(&first));
            let resumed = held.accept(&sdp("RTP/SAVP", &[&format!("1 {CM}")])).unwrap();
            assert_eq!(resumed.keys, agreed.keys);
            let (_, rekeyed) = ours.answer(&read(policy, &sdp("RTP/SAVP", &[&format!("3 {CM_OTHER}")])).unwrap());
            let (before, after) = (agreed.keys.unwrap(), rekeyed.keys.unwrap());
            assert_eq!(before.ours, after.ours);
            assert_ne!(before.theirs, after.theirs);
            let (_, other) = ours.answer(&read(policy, &sdp("RTP/SAVP", &[&format!("1 {GCM}")])).unwrap());
            assert_ne!(other.keys.unwrap().ours, before.ours);
            let (plain, none) = ours.answer(&read(policy, &sdp("RTP/AVP", &[])).unwrap());
            assert_eq!((crypto_lines(&plain).len(), none.keys), (0, None));
        }
    }

    #[test]
    fn keys_do_not_print_themselves() {
        let offer = read(SrtpPolicy::Accepted, &sdp("RTP/SAVP", &[&format!("1 {CM}")])).unwrap();
        let mut ours = ours(SrtpPolicy::Accepted);
        let (_, agreed) = ours.answer(&offer);
        let printed = format!("{offer:?} {ours:?} {agreed:?}");
        // Our side remembers its last description as text.
        assert!(!printed.contains("WVNfX19z") && printed.contains("redacted"), "{printed}");
        assert!(!printed.contains("inline:"), "{printed}");
    }

    fn crypto_lines(body: &str) -> Vec<String> {
        body.lines().filter_map(|it| it.strip_prefix("a=crypto:")).map(str::to_owned).collect()
    }

    fn read(policy: SrtpPolicy, body: &[u8]) -> Result<Offer, Unusable> {
        let capabilities = Capabilities { srtp: policy, ..Capabilities::default() };
        Offer::read(body, &capabilities, capabilities.srtp_terms(false), ip(), &mut rng())
    }

    fn ours(policy: SrtpPolicy) -> Negotiation {
        let capabilities = Capabilities { srtp: policy, ..Capabilities::default() };
        let terms = capabilities.srtp_terms(false);
        Negotiation::new(capabilities, terms, 7, local(), false, &mut rng())
    }

    fn sdp(protocol: &str, lines: &[&str]) -> Vec<u8> {
        let mut body = format!(
            "v=0\r\no=peer 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 {protocol} 0\r\n"
        );
        for line in lines {
            body.push_str(&format!("a=crypto:{line}\r\n"));
        }
        body.into_bytes()
    }

    fn rng() -> ChaCha12Rng {
        ChaCha12Rng::seed_from_u64(4568)
    }

    fn ip() -> IpAddr {
        local().ip()
    }

    fn local() -> SocketAddr {
        "192.0.2.1:20000".parse().unwrap()
    }
}
