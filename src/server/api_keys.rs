//! Who may use the HTTP API: bearers of a key (RFC 6750). Keys are 192 random bits, so a plain hash keeps them; what is
//! compared are hashes, in constant time.
//!
//! Without a key in the configuration there is one in the data directory: its first start makes it, tells it once, and
//! keeps its hash in a file that only its owner can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::config::parse_sha256;
use crate::identity::{AccountId, Secret};
use crate::limits::{API_FAILURES_PER_SECOND_MAX, API_KEY_BYTES_MAX};
use crate::platform::problem::Problem;
use crate::server::clock;
use crate::server::system::random_token;

/// The keys that are accepted. Requests with wrong ones beyond [`API_FAILURES_PER_SECOND_MAX`] are answered 429, which
/// right ones never are.
pub(crate) struct ApiKeys {
    hashes: Vec<KeyHash>,
    failures: Mutex<Failures>,
}

/// The SHA-256 of a key.
pub(crate) type KeyHash = [u8; 32];

/// Wrong keys in the second that began then.
#[derive(Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

impl ApiKeys {
    /// Accepts the keys with these hashes.
    pub(crate) fn new(hashes: Vec<KeyHash>) -> Self {
        Self { hashes, failures: Mutex::new(Failures { since: clock::now().instant, count: 0 }) }
    }

    fn accepts(&self, key: &str) -> bool {
        if key.len() > API_KEY_BYTES_MAX {
            return false;
        }
        let hash = hash(key);
        // Every hash is looked at, so that the time says nothing.
        let found = self.hashes.iter().fold(Choice::from(0), |found, it| found | it.ct_eq(&hash));
        found.into()
    }

    fn refuse(&self) -> Problem {
        let now = clock::now().instant;
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(failures.since) >= Duration::from_secs(1) {
            *failures = Failures { since: now, count: 0 };
        }
        failures.count = failures.count.saturating_add(1);
        let is_too_much = failures.count > API_FAILURES_PER_SECOND_MAX;
        drop(failures);
        if is_too_much { Problem::too_many_failures() } else { Problem::unauthorized() }
    }
}

/// Lets requests pass that show a key, with the account that it belongs to.
pub(crate) async fn authenticate(State(keys): State<Arc<ApiKeys>>, mut request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
    let key = shown.and_then(|it| it.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    if !key.is_some_and(|(_, key)| keys.accepts(key.trim())) {
        return keys.refuse().into_response();
    }
    request.extensions_mut().insert(AccountId::default());
    next.run(request).await
}

/// The hash of a key.
pub(crate) fn hash(key: &str) -> KeyHash {
    Sha256::digest(key.as_bytes()).into()
}

/// The hash of the key in `directory`, and the key itself if it is made now.
///
/// # Errors
/// When the file cannot be read or made, or is not one of ours.
pub(crate) fn of_directory(directory: &Path) -> io::Result<(KeyHash, Option<Secret>)> {
    let file = directory.join(FILE);
    match fs::read_to_string(&file) {
        Ok(text) => {
            let hash = parse_sha256(text.trim()).ok_or_else(|| {
                let message = format!("{} is not a key's hash; remove it to have a new key made", file.display());
                io::Error::new(io::ErrorKind::InvalidData, message)
            })?;
            Ok((hash, None))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = format!("hsk_{}", random_token().reveal());
            let hash = hash(&key);
            let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
            writeln!(made, "{}", written(&hash))?;
            made.sync_all()?;
            Ok((hash, Some(Secret::new(key))))
        }
        Err(error) => Err(error),
    }
}

fn written(hash: &KeyHash) -> String {
    hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

const FILE: &str = "admin-key";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_as_its_hash() {
        let directory = std::env::temp_dir().join(format!("hookswitch-api-key-{}", std::process::id()));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir(&directory).unwrap();
        let (first, key) = of_directory(&directory).unwrap();
        let key = key.unwrap();
        let file = fs::read_to_string(directory.join(FILE)).unwrap();
        assert!(!file.contains(key.reveal()));
        assert_eq!(fs::metadata(directory.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(of_directory(&directory).unwrap(), (first, None));
        let keys = ApiKeys::new(vec![hash("other"), first]);
        assert!(keys.accepts(key.reveal()) && keys.accepts("other"));
        assert!(!keys.accepts("") && !keys.accepts(&format!("{}0", key.reveal())));
        fs::write(directory.join(FILE), "something else").unwrap();
        assert!(of_directory(&directory).is_err());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn wrong_keys_are_answered_at_a_bounded_rate() {
        let keys = ApiKeys::new(vec![]);
        let answers: Vec<_> = (0..=API_FAILURES_PER_SECOND_MAX).map(|_| keys.refuse()).collect();
        assert_eq!(answers.first(), Some(&Problem::unauthorized()));
        assert_eq!(answers.last(), Some(&Problem::too_many_failures()));
    }
}
