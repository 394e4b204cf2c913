//! `[sounds]`: what agents may play to their callers, and how tones sound.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::Places;
use super::reading::Section;
use crate::limits::{CLIP_FETCH_CONFIGURED_S_MAX, CLIP_FETCH_MAX};

/// `[sounds]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sounds {
    /// `directory`: where files are taken from, which must be there; without one, no files are played.
    pub directory: Option<PathBuf>,
    /// `allow`: networks that are not public and may be fetched from all the same.
    pub allow: Vec<IpNet>,
    /// `http`: whether it may be fetched from the Internet without TLS.
    pub http: bool,
    /// `fetch_s`: how long fetching may take.
    pub fetch: Duration,
    /// `ringback`: whether callers of telephones hear ringing of ours.
    pub ringback: bool,
    /// `hold_music`: what held telephones hear; `None` passes the hold on.
    pub hold_music: Option<String>,
    /// `country`: whose tones callers hear and are listened for, as two capital letters; see [`Sounds::country`].
    pub country: Option<String>,
}

impl Default for Sounds {
    fn default() -> Self {
        Self {
            directory: None,
            allow: vec![],
            http: false,
            fetch: CLIP_FETCH_MAX,
            ringback: false,
            hold_music: None,
            country: None,
        }
    }
}

impl Sounds {
    /// The country whose tones callers hear.
    pub fn country(&self) -> &str {
        self.country.as_deref().unwrap_or("US")
    }

    pub(super) fn read(section: &Section<'_>, places: &Places<'_>) -> Self {
        let defaults = Self::default();
        let directory = section.text("directory").map(|it| places.path(&it, section.origin("directory")));
        if directory.as_ref().is_some_and(|it| !it.is_dir()) {
            section.complain("directory", "there is no such directory");
        }
        let country = section.parsed("country", |text| match text.as_bytes() {
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Ok(text.to_owned()),
            _ => Err("expected a country as two capital letters, such as \"DE\"".to_owned()),
        });
        let fetch = section.number("fetch_s", 1..=CLIP_FETCH_CONFIGURED_S_MAX);
        Self {
            directory,
            allow: section.list("allow", parse_network).unwrap_or(defaults.allow),
            http: section.boolean("http").unwrap_or(defaults.http),
            fetch: fetch.map_or(defaults.fetch, |it| Duration::from_secs(it.into())),
            ringback: section.boolean("ringback").unwrap_or(defaults.ringback),
            hold_music: section.text("hold_music"),
            country,
        }
    }
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from).ok();
    address
        .or_else(|| text.parse().ok())
        .ok_or_else(|| "expected an address or a network such as 10.0.0.0/8".to_owned())
}
