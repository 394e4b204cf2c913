//! Deleting recordings that are old enough, wherever they are kept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio_util::sync::CancellationToken;

use crate::server::{clock, task};

/// Looks at every recording now and once an hour until it is cancelled.
pub(super) async fn run(store: &dyn ObjectStore, keep: Duration, expired: &AtomicU64, token: &CancellationToken) {
    loop {
        tokio::select! {
            () = sweep(store, keep, expired) => {}
            () = token.cancelled() => return,
        }
        tokio::select! {
            () = task::deadline(clock::now().instant + EVERY) => {}
            () = token.cancelled() => return,
        }
    }
}

/// Deletes what is older than `keep`. What it does not know as a recording's name it leaves alone.
async fn sweep(store: &dyn ObjectStore, keep: Duration, expired: &AtomicU64) {
    let before_ms = clock::now().unix_ms().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
    let mut objects = store.list(None);
    while let Some(object) = objects.next().await {
        let object = match object {
            Ok(object) => object,
            Err(error) => {
                tracing::warn!(%error, "recordings cannot be listed");
                return;
            }
        };
        if object.last_modified.timestamp_millis() >= before_ms || !is_recording(object.location.filename()) {
            continue;
        }
        match store.delete(&object.location).await {
            Ok(()) => drop(expired.fetch_add(1, Ordering::Relaxed)),
            Err(error) => tracing::warn!(%error, key = %object.location, "a recording cannot be deleted"),
        }
    }
}

fn is_recording(name: Option<&str>) -> bool {
    name.is_some_and(|it| it.starts_with("call_") && (it.ends_with(".wav") || it.ends_with(".mp3")))
}

const EVERY: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::SystemTime;

    use object_store::local::LocalFileSystem;

    use super::*;

    #[tokio::test]
    async fn only_old_recordings_are_deleted() {
        let home = std::env::temp_dir().join(format!("hookswitch-retention-{}", std::process::id()));
        fs::create_dir_all(home.join("default")).unwrap();
        let day = Duration::from_secs(86_400);
        for (name, days) in [("call_1.wav", 8), ("call_2.mp3", 6), ("notes.txt", 8), ("call_3.mp3", 700)] {
            let file = File::create(home.join("default").join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + clock::now().unix - day * days).unwrap();
        }
        let (store, expired) = (LocalFileSystem::new_with_prefix(&home).unwrap(), AtomicU64::new(0));
        sweep(&store, 7 * day, &expired).await;
        let mut left: Vec<_> = fs::read_dir(home.join("default")).unwrap().map(|it| it.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["call_2.mp3", "notes.txt"]);
        assert_eq!(expired.load(Ordering::Relaxed), 2);
        fs::remove_dir_all(&home).unwrap();
    }
}
