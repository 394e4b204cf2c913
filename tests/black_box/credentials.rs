//! Digest credentials as a telephone makes them (RFC 7616 §3.4), and the proof of the other side (§3.5).

use md5::Md5;
use sha2::{Digest, Sha256};

use crate::sip_phone::{Message, Phone};

/// What a telephone knows of its account.
pub(crate) struct Credentials {
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    /// Of the challenge that was answered last, or told since.
    pub(crate) nonce: String,
    realm: String,
    algorithm: String,
    qop: &'static str,
    count: u32,
}

impl Credentials {
    pub(crate) const fn of(user: &'static str, password: &'static str) -> Self {
        Self {
            user,
            password,
            nonce: String::new(),
            realm: String::new(),
            algorithm: String::new(),
            qop: "auth",
            count: 0,
        }
    }

    /// Takes the parameters of a 401; `qop` is to be used.
    #[track_caller]
    pub(crate) fn challenged(&mut self, response: &Message, qop: &'static str) {
        let field = response.header("WWW-Authenticate").unwrap_or_else(|| panic!("no challenge in {response:?}"));
        let value = |name: &str| parameter(field, name).unwrap_or_else(|| panic!("no {name} in {field}"));
        (self.realm, self.algorithm) = (value("realm"), value("algorithm"));
        assert!(value("qop").split(',').any(|it| it.trim() == qop), "{field}");
        self.qop = qop;
        self.renew(value("nonce"));
    }

    /// From here on this nonce is used.
    pub(crate) fn renew(&mut self, nonce: String) {
        (self.nonce, self.count) = (nonce, 0);
    }

    /// The header field for a request.
    pub(crate) fn authorization(&mut self, method: &str, uri: &str, body: &str) -> String {
        self.count += 1;
        let response = self.response(method, uri, body);
        let Self { user, nonce, realm, algorithm, qop, count, .. } = self;
        format!(
            "Authorization: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={algorithm}, cnonce=\"{CNONCE}\", qop={qop}, nc={count:08x}"
        )
    }

    /// The `rspauth` of an answer with this body to the latest request.
    pub(crate) fn proof(&self, uri: &str, body: &str) -> String {
        self.response("", uri, body)
    }

    fn response(&self, method: &str, uri: &str, body: &str) -> String {
        let Self { user, password, nonce, realm, qop, count, .. } = self;
        let secret = self.hash(&format!("{user}:{realm}:{password}"));
        let protected = match *qop {
            "auth-int" => self.hash(&format!("{method}:{uri}:{}", self.hash(body))),
            _ => self.hash(&format!("{method}:{uri}")),
        };
        self.hash(&format!("{secret}:{nonce}:{count:08x}:{CNONCE}:{qop}:{protected}"))
    }

    fn hash(&self, text: &str) -> String {
        let bytes = match self.algorithm.as_str() {
            "MD5" => Md5::digest(text).to_vec(),
            "SHA-256" => Sha256::digest(text).to_vec(),
            other => panic!("{other}"),
        };
        bytes.iter().map(|it| format!("{it:02x}")).collect()
    }

    /// Registers `phone` with this Contact; the answer to the request that had credentials.
    #[track_caller]
    pub(crate) fn register(&mut self, phone: &mut Phone, contact: &str) -> Message {
        if self.nonce.is_empty() {
            let challenge = self.try_register(phone, contact, false);
            assert_eq!(challenge.status(), Some(401), "{challenge:?}");
            self.challenged(&challenge, "auth");
        }
        self.try_register(phone, contact, true)
    }

    /// One REGISTER, with credentials if they `show`.
    #[track_caller]
    pub(crate) fn try_register(&mut self, phone: &mut Phone, contact: &str, show: bool) -> Message {
        let uri = format!("sip:{}@{}", self.user, phone.server);
        self.user.clone_into(&mut phone.number);
        let authorization = show.then(|| self.authorization("REGISTER", &uri, ""));
        phone.contact = Some(contact.to_owned());
        let answer = phone.ask("REGISTER", &authorization.iter().map(String::as_str).collect::<Vec<_>>());
        phone.contact = None;
        answer
    }
}

/// The value of a parameter, with or without quotes.
pub(crate) fn parameter(field: &str, name: &str) -> Option<String> {
    let field = field.strip_prefix("Digest ").unwrap_or(field);
    let mut rest = field;
    while let Some((found, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if found.trim_start_matches([',', ' ']).trim() == name {
            return Some(value.trim().to_owned());
        }
        rest = after;
    }
    None
}

const CNONCE: &str = "0a4f113b";
