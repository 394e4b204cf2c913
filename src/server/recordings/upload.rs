//! Uploading finished recordings. The spool's directory is the queue: `writing/` holds what is being recorded, `ready/`
//! what is finished. What a crash left in `writing/` plays, and is uploaded at the next start.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use object_store::local::LocalFileSystem;
use object_store::{Attribute, Attributes, MultipartUpload, ObjectStore, PutMultipartOptions, PutOptions};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use super::upload_queue::Queue;
use super::{Notify, RecordingsSnapshot, cut_off};
use crate::limits::RECORDING_UPLOAD_PART_BYTES;
use crate::server::{clock, task};

#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    store: Arc<dyn ObjectStore>,
    /// The pause after the first failure.
    retry: Duration,
    news: Notify,
    uploaded: AtomicU64,
    failures: AtomicU64,
    waiting: AtomicU64,
}

#[derive(Debug, thiserror::Error)]
enum UploadError {
    #[error("{0}")]
    File(#[from] io::Error),
    #[error("{0}")]
    Store(#[from] object_store::Error),
    #[error("the server stops")]
    Stopped,
}

impl Spool {
    pub(super) fn new(directory: PathBuf, store: Arc<dyn ObjectStore>, retry: Duration) -> Self {
        let spool = Self {
            directory,
            store,
            retry,
            news: Notify::new(),
            uploaded: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
        };
        spool.take_over();
        spool
    }

    /// Where recordings are written.
    pub(super) fn writing(&self) -> PathBuf {
        self.directory.join("writing")
    }

    /// Where finished ones wait.
    pub(super) fn ready(&self) -> PathBuf {
        self.directory.join("ready")
    }

    /// What waits to be uploaded; `None` if there is nothing yet.
    pub(super) fn store(&self) -> Option<LocalFileSystem> {
        LocalFileSystem::new_with_prefix(self.ready()).ok()
    }

    /// Passes a finished recording on to be uploaded.
    pub(super) fn add(&self, key: &str) -> io::Result<()> {
        let to = self.ready().join(key);
        if let Some(directory) = to.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        fs::rename(self.writing().join(key), to)?;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.news.notify_one();
        Ok(())
    }

    /// What a process before this one was recording when it died is as finished as it gets.
    fn take_over(&self) {
        for key in keys(&self.writing()) {
            let path = self.writing().join(&key);
            if fs::metadata(&path).is_ok_and(|it| it.len() == 0) {
                fs::remove_file(&path).unwrap_or_else(|error| tracing::debug!(%error, key, "an empty file stays"));
                continue;
            }
            if let Err(error) = cut_off::mend(&path) {
                tracing::error!(%error, key, "a recording that a crash cut off may not play");
            }
            if let Err(error) = self.add(&key) {
                tracing::error!(%error, key, "a recording that a crash cut off cannot be uploaded");
            }
        }
    }

    pub(super) fn add_to(&self, snapshot: &mut RecordingsSnapshot) {
        snapshot.uploaded = self.uploaded.load(Ordering::Relaxed);
        snapshot.upload_failures = self.failures.load(Ordering::Relaxed);
        snapshot.waiting = self.waiting.load(Ordering::Relaxed);
    }

    /// Uploads what is ready, and what becomes ready, until it is cancelled.
    pub(super) async fn run(&self, token: &CancellationToken) {
        let mut queue = Queue::new(self.retry);
        let mut uploads = FuturesUnordered::new();
        let mut next_warning = clock::now().instant;
        queue.add(keys(&self.ready()));
        loop {
            let now = clock::now().instant;
            self.waiting.store(u64::try_from(queue.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
            while let Some(key) = queue.next(now) {
                uploads.push(async move { (self.upload(&key, token).await, key) });
            }
            tokio::select! {
                Some((uploaded, key)) = uploads.next(), if !uploads.is_empty() => {
                    let now = clock::now().instant;
                    // Somebody may have taken the file away.
                    let is_gone = matches!(&uploaded, Err(UploadError::File(it)) if it.kind() == io::ErrorKind::NotFound);
                    let pause = queue.finish(key, uploaded.is_ok() || is_gone, now);
                    self.count(&uploaded);
                    if let Err(error) = uploaded && now >= next_warning {
                        next_warning = now + pause;
                        warn_of(&error, queue.failing(), pause);
                    }
                }
                () = self.news.notified() => queue.add(keys(&self.ready())),
                () = task::deadline_if_any(queue.next_due()) => {}
                () = token.cancelled() => break,
            }
        }
        // What is under way gives its parts up.
        while uploads.next().await.is_some() {}
    }

    fn count(&self, uploaded: &Result<(), UploadError>) {
        match uploaded {
            Ok(()) => self.uploaded.fetch_add(1, Ordering::Relaxed),
            Err(UploadError::Stopped) => 0,
            Err(UploadError::File(_) | UploadError::Store(_)) => self.failures.fetch_add(1, Ordering::Relaxed),
        };
    }

    async fn upload(&self, key: &str, token: &CancellationToken) -> Result<(), UploadError> {
        let path = self.ready().join(key);
        let to = object_store::path::Path::from(key);
        let mut file = File::open(&path).await?;
        let size = usize::try_from(file.metadata().await?.len()).unwrap_or(usize::MAX);
        let mime = if key.ends_with(".mp3") { "audio/mpeg" } else { "audio/wav" };
        let attributes = Attributes::from_iter([(Attribute::ContentType, mime)]);
        if size <= RECORDING_UPLOAD_PART_BYTES {
            let bytes = read_part(&mut file).await?;
            let options = PutOptions { attributes, ..PutOptions::default() };
            or_stopped(token, self.store.put_opts(&to, bytes.into(), options)).await?;
        } else {
            let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
            let mut upload = or_stopped(token, self.store.put_multipart_opts(&to, options)).await?;
            if let Err(error) = send_parts(&mut *upload, &mut file, token).await {
                // A bucket keeps, and charges for, the parts of what is never completed. If it cannot be told of that now, its
                // own rules have to clear them away.
                if let Err(error) = upload.abort().await {
                    tracing::debug!(%error, key, "parts of an upload that has failed are left in the bucket");
                }
                return Err(error);
            }
        }
        tokio::fs::remove_file(&path).await?;
        Ok(())
    }
}

fn warn_of(error: &UploadError, files: usize, pause: Duration) {
    // A bucket's answer is as long as it likes.
    let reason: String = error.to_string().chars().take(REASON_CHARS_MAX).collect();
    tracing::warn!(files, reason, again_s = pause.as_secs(), "recordings could not be uploaded, and wait here");
}

/// Sends a file in parts, one after the other, and has the bucket put them together.
async fn send_parts(
    upload: &mut dyn MultipartUpload,
    file: &mut File,
    token: &CancellationToken,
) -> Result<(), UploadError> {
    loop {
        let part = read_part(file).await?;
        if part.is_empty() {
            break;
        }
        or_stopped(token, upload.put_part(part.into())).await?;
    }
    or_stopped(token, upload.complete()).await?;
    Ok(())
}

/// The next part of a file; nothing at its end.
async fn read_part(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    let limit = u64::try_from(RECORDING_UPLOAD_PART_BYTES).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// What comes of a request to the bucket, unless the server stops meanwhile.
async fn or_stopped<T>(
    token: &CancellationToken,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, UploadError> {
    tokio::select! {
        outcome = request => Ok(outcome?),
        () = token.cancelled() => Err(UploadError::Stopped),
    }
}

/// The names of all files below `directory`: those of accounts, with those of their calls. Sorted, so oldest first.
fn keys(directory: &Path) -> Vec<String> {
    let names = |directory: &Path| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter_map(|it| it.file_name().into_string().ok()).collect()
    };
    let accounts = names(directory).into_iter();
    let files = accounts.flat_map(|account| {
        let files = names(&directory.join(&account)).into_iter();
        files.map(move |file| format!("{account}/{file}"))
    });
    let mut files: Vec<_> = files.collect();
    files.sort_unstable();
    files
}

const REASON_CHARS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use axum::body::Bytes;
    use axum::extract::{Request, State};
    use axum::http::{Method, StatusCode};
    use axum::response::IntoResponse;
    use object_store::aws::AmazonS3Builder;
    use object_store::{ClientOptions, RetryConfig};

    use super::*;

    #[tokio::test]
    async fn a_bucket_that_fails_at_first_gets_every_recording_whole() {
        let bucket = Bucket::start(3).await;
        let home = Home::new("fails");
        let spool = spool(&home, &bucket);
        write(&spool.writing(), "default/call_1.wav", 1_000);
        write(&spool.writing(), "default/call_2.mp3", 3 * RECORDING_UPLOAD_PART_BYTES + 5);
        spool.add("default/call_1.wav").unwrap();
        spool.add("default/call_2.mp3").unwrap();
        let mut counted = RecordingsSnapshot::default();
        run_until(&spool, |snapshot| snapshot.waiting == 0 && snapshot.uploaded == 2, &mut counted).await;
        assert!(counted.upload_failures >= 1, "{counted:?}");
        let objects = bucket.state.lock().unwrap().objects.clone();
        let sizes: Vec<_> = objects.iter().map(|(key, bytes)| (key.as_str(), bytes.len())).collect();
        let expected =
            [("/calls/default/call_1.wav", 1_000), ("/calls/default/call_2.mp3", 3 * RECORDING_UPLOAD_PART_BYTES + 5)];
        assert_eq!(sizes, expected);
        assert!(objects.values().all(|it| it.iter().enumerate().all(|(at, byte)| *byte == pattern(at))));
        assert!(keys(&spool.ready()).is_empty() && keys(&spool.writing()).is_empty());
    }

    #[tokio::test]
    async fn what_a_crash_left_behind_is_uploaded_at_the_next_start() {
        let bucket = Bucket::start(0).await;
        let home = Home::new("crash");
        write(&home.0.join("writing"), "default/call_3.wav", 10);
        write(&home.0.join("ready"), "default/call_4.wav", 20);
        let spool = spool(&home, &bucket);
        let mut counted = RecordingsSnapshot::default();
        run_until(&spool, |snapshot| snapshot.uploaded == 2, &mut counted).await;
        assert_eq!(bucket.state.lock().unwrap().objects.len(), 2);
    }

    #[tokio::test]
    async fn a_bucket_that_is_not_there_keeps_the_files() {
        let home = Home::new("gone");
        let spool = Spool::new(home.0.clone(), s3("http://127.0.0.1:9".to_owned()), Duration::from_millis(1));
        write(&spool.writing(), "default/call_5.wav", 10);
        spool.add("default/call_5.wav").unwrap();
        let mut counted = RecordingsSnapshot::default();
        run_until(&spool, |snapshot| snapshot.upload_failures >= 3, &mut counted).await;
        assert_eq!(keys(&spool.ready()), ["default/call_5.wav"]);
        assert_eq!(counted.waiting, 1);
    }

    async fn run_until(spool: &Spool, is_done: impl Fn(&RecordingsSnapshot) -> bool, counted: &mut RecordingsSnapshot) {
        let token = CancellationToken::new();
        let looking = async {
            let end = clock::now().instant + Duration::from_secs(30);
            loop {
                spool.add_to(counted);
                if is_done(counted) || clock::now().instant > end {
                    return;
                }
                task::deadline(clock::now().instant + Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = spool.run(&token) => {}
            () = looking => {}
        }
        assert!(is_done(counted), "{counted:?}");
    }

    fn spool(home: &Home, bucket: &Bucket) -> Spool {
        Spool::new(home.0.clone(), s3(bucket.url.clone()), Duration::from_millis(1))
    }

    fn s3(url: String) -> Arc<dyn ObjectStore> {
        let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let store = AmazonS3Builder::new().with_bucket_name("calls").with_region("us-east-1").with_endpoint(url);
        let store = store.with_access_key_id("key").with_secret_access_key("secret").with_retry(retry);
        Arc::new(store.with_client_options(ClientOptions::new().with_allow_http(true)).build().unwrap())
    }

    /// As much of S3 as an upload needs, in memory.
    struct Bucket {
        url: String,
        state: Arc<Mutex<Objects>>,
    }

    #[derive(Debug, Default)]
    struct Objects {
        objects: BTreeMap<String, Vec<u8>>,
        parts: BTreeMap<u32, Vec<u8>>,
        failures_left: u32,
    }

    impl Bucket {
        async fn start(failures: u32) -> Self {
            let state = Arc::new(Mutex::new(Objects { failures_left: failures, ..Objects::default() }));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let body_max = axum::extract::DefaultBodyLimit::disable();
            let router = axum::Router::new().fallback(answer).layer(body_max).with_state(Arc::clone(&state));
            task::spawn("test bucket", async move { axum::serve(listener, router).await });
            Self { url, state }
        }
    }

    async fn answer(State(state): State<Arc<Mutex<Objects>>>, request: Request) -> impl IntoResponse {
        let (head, body) = request.into_parts();
        let body: Bytes = axum::body::to_bytes(body, 1 << 26).await.unwrap();
        let mut state = state.lock().unwrap();
        if state.failures_left > 0 {
            state.failures_left -= 1;
            return (StatusCode::SERVICE_UNAVAILABLE, [("etag", "\"x\"")], String::new());
        }
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default());
        let part = query.split('&').find_map(|it| it.strip_prefix("partNumber=")).and_then(|it| it.parse().ok());
        let text = match (&head.method, part) {
            (&Method::PUT, None) => {
                state.objects.insert(path, body.to_vec());
                String::new()
            }
            (&Method::PUT, Some(number)) => {
                state.parts.insert(number, body.to_vec());
                String::new()
            }
            (&Method::POST, _) if query.starts_with("uploads") => {
                "<InitiateMultipartUploadResult><Bucket>calls</Bucket><Key>k</Key><UploadId>1</UploadId>\
                 </InitiateMultipartUploadResult>"
                    .to_owned()
            }
            (&Method::POST, _) => {
                let whole = std::mem::take(&mut state.parts).into_values().flatten().collect();
                state.objects.insert(path, whole);
                "<CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>".to_owned()
            }
            _ => String::new(),
        };
        (StatusCode::OK, [("etag", "\"x\"")], text)
    }

    fn write(directory: &Path, key: &str, len: usize) {
        let path = directory.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, (0..len).map(pattern).collect::<Vec<_>>()).unwrap();
    }

    fn pattern(at: usize) -> u8 {
        u8::try_from(at % 251).unwrap()
    }

    struct Home(PathBuf);

    impl Home {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("hookswitch-spool-{}-{name}", std::process::id())))
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap_or(());
        }
    }
}
