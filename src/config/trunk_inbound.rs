//! `[trunks.NAME.inbound]`: how calls of a trunk are known as its own.

use super::Places;
use super::reading::Section;
use super::trunks::parse_quotable;
use crate::identity::Secret;
use crate::limits;

/// `[trunks.NAME.inbound]`. Each way is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkInbound {
    /// `address`: by the addresses of its servers and `sources`; so unless another way is given.
    pub address: bool,
    /// `registration`: by the connection (TCP or TLS) over which it registered, or we with it.
    pub registration: bool,
    /// `certificate_names`: by a name that the certificate of its connection shows.
    pub certificate_names: Vec<String>,
    /// `username` and `password`, or what the variable named by `password_env` holds: it is asked for them.
    pub account: Option<(String, Secret)>,
}

impl TrunkInbound {
    pub(super) fn read(trunk: &Section<'_>, places: &Places<'_>) -> Self {
        let section = trunk.section("inbound");
        let certificate_names = section.list("certificate_names", parse_name).unwrap_or_default();
        let username = section.parsed("username", parse_quotable);
        let password = places.secret(&section, "password", "password_env");
        let has_password = ["password", "password_env"].iter().any(|it| section.origin(it).is_some());
        match (section.origin("username").is_some(), has_password) {
            (true, false) => section.complain("username", "`password` or `password_env` is missing"),
            (false, true) => section.complain_of_section("a password is given, but no `username`"),
            (true, true) | (false, false) => (),
        }
        if password.as_ref().is_some_and(|it| it.reveal().is_empty()) {
            section.complain("password", "it is empty");
        }
        let registration = section.boolean("registration").unwrap_or(false);
        let account = username.zip(password);
        let has_other_way = registration || account.is_some() || !certificate_names.is_empty();
        let address = section.boolean("address").unwrap_or(!has_other_way);
        section.finish();
        Self { address, registration, certificate_names, account }
    }
}

impl Default for TrunkInbound {
    fn default() -> Self {
        Self { address: true, registration: false, certificate_names: vec![], account: None }
    }
}

/// A host name as certificates hold it.
fn parse_name(text: &str) -> Result<String, String> {
    let is_name = |it: u8| it.is_ascii_alphanumeric() || b"-._:".contains(&it);
    if text.is_empty() || text.len() > limits::REALM_BYTES_MAX || !text.bytes().all(is_name) {
        return Err("expected the name of a host such as sbc.example.com; wildcards stand for nobody".to_owned());
    }
    Ok(text.to_owned())
}
