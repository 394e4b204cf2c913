//! Where recordings go. In a directory of this machine they are written where they stay. For a bucket they are written
//! in the spool, a directory that survives a crash, and uploaded from there when they are finished.
//!
//! A recording's name is made of the account and the call alone, `default/call_….wav`, so that nothing a peer says gets
//! into a path.

pub(crate) mod cut_off;
pub(crate) mod http;
mod retention;
mod upload;
mod upload_queue;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, GetOptions, GetResult, ObjectStore, RetryConfig};
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, oneshot};

use self::upload::Spool;
use crate::codec::SampleRate;
use crate::config;
use crate::identity::{AccountId, CallId};
use crate::platform::calls::Recording;
use crate::server::recorder::{Format, Recorded, Recorder, RecorderBusy, RecorderCounts, TapControl, TapEnd};
use crate::server::task;

/// The recorder and the place that it records to.
#[derive(Debug)]
pub(crate) struct Recordings {
    recorder: Recorder,
    /// Where files are written.
    directory: PathBuf,
    /// Of a bucket.
    spool: Option<Arc<Spool>>,
    store: Arc<dyn ObjectStore>,
    keep: Option<Duration>,
    expired: Arc<AtomicU64>,
}

/// A recording under way. Dropping it leaves the file where it is; what ends it is the tap.
#[derive(Debug)]
pub(crate) struct Underway {
    /// Pauses it.
    pub(crate) control: TapControl,
    key: String,
    format: Format,
    done: oneshot::Receiver<Recorded>,
}

/// What recordings have come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordingsSnapshot {
    /// By the recorder.
    pub recorder: RecorderCounts,
    /// Total of files uploaded.
    pub uploaded: u64,
    /// Total of attempts that failed; each is made again.
    pub upload_failures: u64,
    /// Files that wait to be uploaded.
    pub waiting: u64,
    /// Total of files deleted because of their age.
    pub expired: u64,
}

/// Why there is no place for recordings.
#[derive(Debug, thiserror::Error)]
pub enum RecordingsError {
    /// The recorder's threads.
    #[error("the recorder does not start: {0}")]
    Thread(io::Error),
    /// A bucket that cannot be addressed.
    #[error("[recordings] url: {0}")]
    Store(#[from] object_store::Error),
}

impl Recordings {
    /// A recorder for the configured place; `data` is the data directory. A directory that cannot be made is not an
    /// error here: calls go on without their recordings, and each says why.
    pub(crate) fn open(config: &config::Recordings, data: &Path) -> Result<Self, RecordingsError> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let recorder = Recorder::start_threads(threads).map_err(RecordingsError::Thread)?;
        let (directory, spool, store) = match &config.place {
            Some(config::RecordingPlace::Bucket(url)) => {
                let store = bucket(url)?;
                let spool = Spool::new(data.join("recordings-spool"), Arc::clone(&store), UPLOAD_RETRY);
                (spool.writing(), Some(Arc::new(spool)), store)
            }
            place => {
                let directory = match place {
                    Some(config::RecordingPlace::Directory(path)) => path.clone(),
                    Some(config::RecordingPlace::Bucket(_)) | None => data.join("recordings"),
                };
                let made = fs::create_dir_all(&directory);
                if let Err(error) = &made {
                    tracing::error!(%error, directory = %directory.display(), "recordings cannot be kept there");
                }
                let store: Arc<dyn ObjectStore> = match LocalFileSystem::new_with_prefix(&directory) {
                    Ok(store) => Arc::new(store),
                    // Nothing is there to be deleted.
                    Err(_) => Arc::new(object_store::memory::InMemory::new()),
                };
                (directory, None, store)
            }
        };
        Ok(Self { recorder, directory, spool, store, keep: config.keep, expired: Arc::default() })
    }

    /// Starts what goes on beside the calls: uploading, and deleting what is old enough.
    pub(crate) fn spawn(&self, group: &task::Group) {
        if let Some(spool) = &self.spool {
            let (spool, token) = (Arc::clone(spool), group.token().clone());
            group.spawn("recording uploads", async move { spool.run(&token).await });
        }
        if let Some(keep) = self.keep {
            let (store, token, expired) = (Arc::clone(&self.store), group.token().clone(), Arc::clone(&self.expired));
            group.spawn("recording retention", async move { retention::run(&*store, keep, &expired, &token).await });
        }
    }

    /// Begins the `ordinal`th recording of a call, counted from one, of audio at `rate`.
    pub(crate) fn begin(
        &self,
        account: &AccountId,
        call: CallId,
        ordinal: u32,
        format: Format,
        rate: SampleRate,
    ) -> Result<(TapEnd, Underway), RecorderBusy> {
        let key = key(account, &call.to_string(), ordinal, format);
        let (tap, done) = self.recorder.record_as(&self.directory.join(&key), format, rate)?;
        let control = tap.control();
        Ok((tap, Underway { control, key, format, done }))
    }

    /// Begins the `ordinal`th recording of a room since it was empty, named after the call of whoever was the first.
    pub(crate) fn begin_of_room(
        &self,
        account: &AccountId,
        call: CallId,
        ordinal: u32,
    ) -> Result<(TapEnd, Underway), RecorderBusy> {
        let key = key(account, &format!("{call}-room"), ordinal, Format::Wav);
        let (tap, done) = self.recorder.record_as(&self.directory.join(&key), Format::Wav, SampleRate::Hz16000)?;
        let control = tap.control();
        Ok((tap, Underway { control, key, format: Format::Wav, done }))
    }

    /// Waits until the recording is finished, which it is soon after its tap is gone, and passes it on to where it is
    /// kept. What is told of it begins at `start_ms`. With an error, what there is of the file is kept.
    pub(crate) async fn keep(&self, underway: Underway, start_ms: u64) -> (Option<Recording>, Option<String>) {
        let Underway { key, format, done, .. } = underway;
        let Ok(recorded) = done.await else {
            return (None, Some("the recorder has stopped".to_owned()));
        };
        let path = recorded.path.clone();
        let examined = tokio::task::spawn_blocking(move || examine(&path)).await;
        let (bytes, sha256) = match examined {
            Ok(Ok(examined)) => examined,
            Ok(Err(error)) => return (None, Some(recorded.error.unwrap_or_else(|| error.to_string()))),
            Err(error) => return (None, Some(error.to_string())),
        };
        let mut error = recorded.error;
        if let Some(spool) = &self.spool
            && let Err(failure) = spool.add(&key)
        {
            error.get_or_insert_with(|| failure.to_string());
        }
        let recording = Recording {
            key,
            format: format.extension().to_owned(),
            start_ms,
            duration_ms: recorded.duration_ms,
            missed_ms: recorded.missed_ticks.saturating_mul(20),
            bytes,
            sha256: Some(sha256),
            cut_off: false,
        };
        (Some(recording), error)
    }

    /// What is kept under `key`: here, as long as it waits to be uploaded.
    pub(crate) async fn get(&self, key: &Key, options: GetOptions) -> Result<GetResult, object_store::Error> {
        if let Some(waiting) = self.spool.as_ref().and_then(|it| it.store())
            && let Ok(got) = waiting.get_opts(key, options.clone()).await
        {
            return Ok(got);
        }
        self.store.get_opts(key, options).await
    }

    /// What they have come to.
    pub(crate) fn snapshot(&self) -> RecordingsSnapshot {
        let mut snapshot = RecordingsSnapshot {
            recorder: self.recorder.counts(),
            expired: self.expired.load(Ordering::Relaxed),
            ..RecordingsSnapshot::default()
        };
        if let Some(spool) = &self.spool {
            spool.add_to(&mut snapshot);
        }
        snapshot
    }
}

/// The directory of an account.
fn folder(account: &AccountId) -> String {
    let is_safe = |it: &char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_');
    let account: String = account.0.chars().filter(is_safe).collect();
    if account.is_empty() { "account".to_owned() } else { account }
}

fn key(account: &AccountId, call: &str, ordinal: u32, format: Format) -> String {
    let account = folder(account);
    match ordinal {
        0 | 1 => format!("{account}/{call}.{}", format.extension()),
        _ => format!("{account}/{call}-{ordinal}.{}", format.extension()),
    }
}

/// Size and SHA-256 of a file.
fn examine(path: &Path) -> io::Result<(u64, String)> {
    let mut file = fs::File::open(path)?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let len = file.read(&mut buffer)?;
        let Some(read) = buffer.get(..len).filter(|it| !it.is_empty()) else { break };
        hash.update(read);
        bytes += u64::try_from(len).unwrap_or(0);
    }
    let digest = hash.finalize();
    Ok((bytes, digest.iter().map(|it| format!("{it:02x}")).collect()))
}

/// What `url` names. Its credentials, region and endpoint are in the environment, in the variables that every program
/// takes them from: `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, `GOOGLE_APPLICATION_CREDENTIALS` …
fn bucket(url: &str) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    // What fails is tried again from the spool, with longer pauses than would suit a caller that waits.
    let retry =
        RetryConfig { backoff: BackoffConfig::default(), max_retries: 2, retry_timeout: Duration::from_secs(30) };
    let store: Arc<dyn ObjectStore> = if scheme == "gs" {
        Arc::new(GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket).with_retry(retry).build()?)
    } else {
        Arc::new(AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry).build()?)
    };
    Ok(match prefix {
        "" => store,
        prefix => Arc::new(PrefixStore::new(store, object_store::path::Path::from(prefix))),
    })
}

/// The pause after the first failed upload; each further one doubles it.
const UPLOAD_RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_of_account_and_call_alone() {
        let call: CallId = "call_018bcfe56800000000000000000000aa".parse().unwrap();
        let of = |account: &str, ordinal| key(&AccountId(account.to_owned()), &call.to_string(), ordinal, Format::Mp3);
        assert_eq!(of("default", 1), "default/call_018bcfe56800000000000000000000aa.mp3");
        assert_eq!(of("a/../b\0", 2), "ab/call_018bcfe56800000000000000000000aa-2.mp3");
        assert_eq!(of("..", 1), "account/call_018bcfe56800000000000000000000aa.mp3");
    }

    #[tokio::test]
    async fn a_recording_is_kept_where_it_was_written() {
        let data = std::env::temp_dir().join(format!("hookswitch-recordings-{}", std::process::id()));
        let recordings = Recordings::open(&config::Recordings { place: None, keep: None }, &data).unwrap();
        let call: CallId = "call_018bcfe56800000000000000000000aa".parse().unwrap();
        let account = AccountId::default();
        let (mut tap, underway) = recordings.begin(&account, call, 1, Format::Wav, SampleRate::Hz8000).unwrap();
        tap.tick(1, None, None);
        drop(tap);
        let (kept, error) = recordings.keep(underway, 40).await;
        assert_eq!(error, None);
        let kept = kept.unwrap();
        assert_eq!((kept.start_ms, kept.duration_ms, kept.bytes), (40, 20, 44 + 640));
        let file = data.join("recordings").join(&kept.key);
        let bytes = fs::read(&file).unwrap();
        let digest: String = Sha256::digest(&bytes).iter().map(|it| format!("{it:02x}")).collect();
        assert_eq!(kept.sha256, Some(digest));
        drop(recordings);
        fs::remove_dir_all(&data).unwrap();
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_costs_the_recording_only() {
        let config = config::Recordings {
            place: Some(config::RecordingPlace::Directory(PathBuf::from("/dev/null/recordings"))),
            keep: None,
        };
        let recordings = Recordings::open(&config, Path::new("/dev/null")).unwrap();
        let call: CallId = "call_018bcfe56800000000000000000000aa".parse().unwrap();
        let begun = recordings.begin(&AccountId::default(), call, 1, Format::Wav, SampleRate::Hz8000);
        let (mut tap, underway) = begun.unwrap();
        tap.tick(1, None, None);
        drop(tap);
        let (kept, error) = recordings.keep(underway, 0).await;
        assert!(kept.is_none() && error.is_some());
    }
}
