//! Recordings that a crash cut off. When the calls of the process that died are settled, the files of each are looked for,
//! brought in order, and told of in the journal, as if they had been finished; only that they are marked.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::{Recordings, examine, folder};
use crate::identity::{AccountId, CallId};
use crate::platform::calls::sql::{Journal, Writer};
use crate::platform::calls::{self, Entry, Event, Recording};
use crate::server::clock;

/// Tells the journal of the recordings of calls that a crash left open. To be called before they are settled, as what has
/// been told of once is not looked for again. Returns how many there were.
///
/// # Errors
/// When the journal cannot be read or written.
pub(crate) async fn tell(
    writer: &mut Writer,
    journal: &Journal,
    recordings: &Recordings,
) -> Result<usize, sqlx::Error> {
    let open = writer.open_calls().await?;
    let mut files = BTreeMap::new();
    for (account, _) in &open {
        files.entry(account.0.clone()).or_insert_with(|| recordings.files_of(account));
    }
    let mut entries = vec![];
    // A start is not to take for ever; a recording is found without its digest as well.
    let hash_until = clock::now().instant + HASHING_MAX;
    for (account, call) in open {
        let Some(files) = files.get(&account.0) else { continue };
        let events = journal.events(&account, call).await?;
        let mut found: Vec<_> = of_call(files, call)
            .filter(|key| !is_told(&events, key))
            .filter_map(|key| {
                let path = recordings.place().join(key);
                let examined = look_at(&path, key, clock::now().instant < hash_until);
                examined.inspect_err(|error| tracing::error!(%error, key, "a recording cannot be read")).ok()
            })
            .collect();
        found.sort_unstable_by_key(|it| it.written_unix_ms);
        let alive = events.last().map_or(0, |it| it.unix_ms);
        let answered = events.iter().find(|it| matches!(it.event, Event::Answered { .. })).map(|it| it.unix_ms);
        for Found { recording, written_unix_ms } in found {
            let began = written_unix_ms.saturating_sub_unsigned(recording.duration_ms);
            let start_ms = answered.map_or(0, |it| u64::try_from(began.saturating_sub(it)).unwrap_or(0));
            let event = Event::Recording(Recording { start_ms, ..recording });
            // As long as it was written, the call was alive.
            entries.push(Entry { account: account.clone(), call, unix_ms: written_unix_ms.max(alive), event });
        }
    }
    writer.append(&entries).await?;
    Ok(entries.len())
}

/// Brings the header of a WAV file in line with what is in it: the last second may be missing there, or everything. An
/// MP3 file needs nothing.
pub(super) fn mend(path: &Path) -> io::Result<()> {
    if path.extension().is_none_or(|it| it != "wav") {
        return Ok(());
    }
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let (len, mut head) = (file.metadata()?.len(), [0; 44]);
    if file.read_exact(&mut head).is_err() || !head.starts_with(b"RIFF") {
        return Ok(());
    }
    let frames_bytes = (len - HEAD_BYTES) / FRAME_BYTES * FRAME_BYTES;
    if u64::from(u32_at(&head, DATA_LEN_AT)) == frames_bytes && len == HEAD_BYTES + frames_bytes {
        return Ok(());
    }
    let [riff, data] = [frames_bytes + HEAD_BYTES - 8, frames_bytes].map(|it| u32::try_from(it).unwrap_or(u32::MAX));
    file.set_len(HEAD_BYTES + frames_bytes)?;
    for (at, len) in [(4, riff), (40, data)] {
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&len.to_le_bytes())?;
    }
    Ok(())
}

struct Found {
    recording: Recording,
    /// When the file was written to last.
    written_unix_ms: i64,
}

/// What there is to be told of a file.
fn look_at(path: &Path, key: &str, with_digest: bool) -> io::Result<Found> {
    mend(path)?;
    let metadata = fs::metadata(path)?;
    let written = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let (bytes, sha256) = if with_digest {
        let (bytes, sha256) = examine(path)?;
        (bytes, Some(sha256))
    } else {
        (metadata.len(), None)
    };
    let format = path.extension().and_then(|it| it.to_str()).unwrap_or_default().to_owned();
    let (key, duration_ms) = (key.to_owned(), length_ms(path, bytes)?);
    let recording = Recording { key, format, duration_ms, bytes, sha256, cut_off: true, ..Recording::default() };
    Ok(Found { recording, written_unix_ms: i64::try_from(written).unwrap_or(i64::MAX) })
}

/// How long a file of `bytes` plays, which is as the recorder writes them.
fn length_ms(path: &Path, bytes: u64) -> io::Result<u64> {
    let mut head = vec![];
    File::open(path)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    let nothing = || io::Error::new(io::ErrorKind::InvalidData, "there is nothing in it yet");
    if head.starts_with(b"RIFF") && head.len() == 44 {
        let bytes_per_ms = u64::from(u32_at(&head, RATE_AT)) * FRAME_BYTES / 1_000;
        return bytes.saturating_sub(HEAD_BYTES).checked_div(bytes_per_ms).ok_or_else(nothing);
    }
    // ISO/IEC 13818-3 §2.4.2.3: the third byte of a frame begins with the index of its bit rate, the same in all frames.
    let index = head.get(2).filter(|_| head.first() == Some(&0xff)).map_or(0, |it| usize::from(it >> 4));
    let kbps = LAYER_3_KBPS.get(index).copied().unwrap_or(0);
    bytes.saturating_mul(8).checked_div(kbps).ok_or_else(nothing)
}

/// The keys of `call` among those of its account, in the order of its recordings or almost.
fn of_call(files: &[String], call: CallId) -> impl Iterator<Item = &str> {
    let name = call.to_string();
    files.iter().map(String::as_str).filter(move |key| {
        let file = key.split_once('/').map_or(*key, |(_, it)| it);
        file.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(['.', '-']))
    })
}

fn is_told(events: &[calls::Recorded], key: &str) -> bool {
    events.iter().any(|it| matches!(&it.event, Event::Recording(recording) if recording.key == key))
}

fn u32_at(head: &[u8], at: usize) -> u32 {
    let bytes = head.get(at..).and_then(|it| it.first_chunk().copied());
    bytes.map_or(0, u32::from_le_bytes)
}

impl Recordings {
    /// Where files are that a process before this one has written.
    fn place(&self) -> std::path::PathBuf {
        self.spool.as_ref().map_or_else(|| self.directory.clone(), |it| it.ready())
    }

    /// The keys of what is there of an account.
    fn files_of(&self, account: &AccountId) -> Vec<String> {
        let folder = folder(account);
        let entries = fs::read_dir(self.place().join(&folder)).into_iter().flatten().flatten();
        let names = entries.filter_map(|it| it.file_name().into_string().ok());
        names.filter(|it| it.ends_with(".wav") || it.ends_with(".mp3")).map(|it| format!("{folder}/{it}")).collect()
    }
}

const HASHING_MAX: Duration = Duration::from_secs(10);
/// Of a WAV file as the recorder writes it, and two of its fields.
const HEAD_BYTES: u64 = 44;
const RATE_AT: usize = 24;
const DATA_LEN_AT: usize = 40;
/// Two samples.
const FRAME_BYTES: u64 = 4;
/// Of MPEG-2 and 2.5, in kbit/s.
const LAYER_3_KBPS: [u64; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wav_that_was_cut_off_plays_to_its_last_sample() {
        check("flushed", 160, 4 * 160, 4 * 160);
        check("more-than-told", 160, 4 * 500 + 3, 4 * 500);
        check("nothing-told", 0, 4 * 8_000, 4 * 8_000);
        check("empty", 0, 0, 0);
    }

    /// A file whose header tells of `told` frames has `bytes` of them.
    #[track_caller]
    fn check(name: &str, told: u32, bytes: usize, expected_bytes: u32) {
        let path = std::env::temp_dir().join(format!("hookswitch-cut-off-{}-{name}.wav", std::process::id()));
        let spec = hound::WavSpec {
            channels: 2,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        (0..2 * told).for_each(|_| writer.write_sample(7_i16).unwrap());
        writer.finalize().unwrap();
        let mut whole = fs::read(&path).unwrap();
        whole.resize(44 + bytes, 7);
        fs::write(&path, &whole).unwrap();
        mend(&path).unwrap();
        let found = look_at(&path, "default/x.wav", true).unwrap();
        let reader = hound::WavReader::open(&path).unwrap();
        assert_eq!(reader.duration() * 4, expected_bytes, "{name}");
        let samples = reader.into_samples::<i16>().filter_map(Result::ok).count();
        fs::remove_file(&path).unwrap();
        assert_eq!(samples * 2, usize::try_from(expected_bytes).unwrap(), "{name}");
        assert_eq!(found.recording.duration_ms, u64::from(expected_bytes) / 32, "{name}");
        assert!(found.recording.cut_off && found.recording.bytes == 44 + u64::from(expected_bytes), "{name}");
    }

    #[test]
    fn the_files_of_a_call_are_those_with_its_name() {
        let call: CallId = "call_018bcfe56800000000000000000000aa".parse().unwrap();
        let files: Vec<_> = [".wav", "-2.mp3", "-room.wav", "b.wav", ""]
            .map(|it| format!("default/{call}{it}"))
            .into_iter()
            .chain(["default/call_018bcfe56800000000000000000000ab.wav".to_owned()])
            .collect();
        let found: Vec<_> = of_call(&files, call).map(|it| it.rsplit_once("aa").unwrap().1).collect();
        assert_eq!(found, [".wav", "-2.mp3", "-room.wav"]);
    }
}
