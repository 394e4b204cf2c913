//! The sounds that agents play: built in, from files of one directory, or fetched. Who plays the same file at the same
//! time shares its audio.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::Semaphore;

use crate::call::Sound;
use crate::codec::{Clip, SampleRate, WeakClip};
use crate::config;
use crate::limits::{CLIP_FETCHES_MAX, CLIPS_SHARED_MAX};
use crate::media::sounds;
use crate::media::tones::call_tones::CallTones;
use crate::server::player::Sources;

/// Finds sounds for all calls.
#[derive(Debug)]
pub(crate) struct Sounds {
    sources: Sources,
    country: String,
    /// Those of that country, if it was named.
    tones: Option<&'static CallTones>,
    /// Further fetches wait, so that a crowd of callers does not fill the memory with what is being decoded.
    fetches: Semaphore,
    /// What somebody plays right now, or has just played.
    shared: Mutex<BTreeMap<Key, WeakClip>>,
}

/// What sides of bridged calls hear of ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallSounds {
    ringback: Option<Clip>,
    hold_music: Option<Clip>,
}

impl CallSounds {
    /// One of them.
    pub(crate) fn get(&self, sound: Sound) -> Option<Clip> {
        match sound {
            Sound::Ringback => self.ringback.clone(),
            Sound::HoldMusic => self.hold_music.clone(),
        }
    }
}

/// What makes a sound the same: a file that has changed is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    BuiltIn(String, u32),
    File(PathBuf, SystemTime, u32),
}

/// What held sides should hear is not there.
#[derive(Debug, thiserror::Error)]
#[error("[sounds] hold_music = \"{sound}\": {reason}; it is the name of a built-in sound, or a file of `directory`")]
pub struct SoundMissing {
    sound: String,
    reason: String,
}

/// There are no tones of this country.
#[derive(Debug, thiserror::Error)]
#[error("[sounds] country: the tones of {0} are not known")]
pub struct UnknownCountry(String);

impl Sounds {
    /// As configured.
    ///
    /// # Errors
    /// [`UnknownCountry`].
    pub(crate) fn new(config: &config::Sounds) -> Result<Self, UnknownCountry> {
        let country = config.country().to_owned();
        let tones = CallTones::of(&country);
        if tones.is_none() {
            return Err(UnknownCountry(country));
        }
        let sources = Sources {
            directory: config.directory.clone(),
            allowed: config.allow.clone(),
            allow_http: config.http,
            time_max: config.fetch,
            ..Sources::default()
        };
        // Cadences of a country that nobody has named may be wrong.
        let tones = tones.filter(|_| config.country.is_some());
        Ok(Self { sources, country, tones, fetches: Semaphore::new(CLIP_FETCHES_MAX), shared: Mutex::default() })
    }

    /// The tones that calls are listened to for, if it is known whose.
    pub(crate) const fn tones(&self) -> Option<&'static CallTones> {
        self.tones
    }

    /// What `written` names, for a leg of `rate`: a sound that is built in, a file, or an address.
    ///
    /// # Errors
    /// Why there is none, in words for whoever wrote it.
    pub(crate) async fn find(&self, written: &str, rate: SampleRate) -> Result<Clip, String> {
        if let Some(found) = self.at_hand(written, rate) {
            return Ok(found);
        }
        // It is never closed.
        let _place = self.fetches.acquire().await.ok();
        let clip = self.sources.clip(written, rate).await.map_err(|error| error.to_string())?;
        if let Some(key) = self.file_key(written, rate) {
            self.share(key, &clip);
        }
        Ok(clip)
    }

    /// The same before the first call, of what is here: a file, or a sound that is built in.
    ///
    /// # Errors
    /// As [`Sounds::find`].
    pub(crate) fn load(&self, written: &str, rate: SampleRate) -> Result<Clip, String> {
        if let Some(found) = self.at_hand(written, rate) {
            return Ok(found);
        }
        let clip = self.sources.clip_of_file(written, rate).map_err(|error| error.to_string())?;
        if let Some(key) = self.file_key(written, rate) {
            self.share(key, &clip);
        }
        Ok(clip)
    }

    /// What sides of bridged calls hear, as far as it is configured.
    ///
    /// # Errors
    /// As [`Sounds::find`], with the key.
    pub(crate) fn of_calls(&self, config: &config::Sounds) -> Result<CallSounds, SoundMissing> {
        let load = |written: &str, rate| {
            self.load(written, rate).map_err(|reason| SoundMissing { sound: written.to_owned(), reason })
        };
        Ok(CallSounds {
            // Tones have nothing above 4 kHz.
            ringback: config.ringback.then(|| load("ringback", SampleRate::Hz8000)).transpose()?,
            hold_music: config.hold_music.as_deref().map(|it| load(it, SampleRate::Hz16000)).transpose()?,
        })
    }

    /// A sound that is built in, or a file that somebody plays already.
    fn at_hand(&self, written: &str, rate: SampleRate) -> Option<Clip> {
        // Tones without a country are those of ours.
        let name = match written {
            "ringback" | "busy" | "congestion" => format!("{written}:{}", self.country),
            other => other.to_owned(),
        };
        let built_in = Key::BuiltIn(name.clone(), rate.hz());
        let keys = [Some(built_in.clone()), self.file_key(written, rate)];
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let found = keys.iter().flatten().find_map(|it| shared.get(it)?.upgrade());
        drop(shared);
        found.or_else(|| {
            let clip = sounds::by_name(&name, rate)?;
            self.share(built_in, &clip);
            Some(clip)
        })
    }

    fn file_key(&self, written: &str, rate: SampleRate) -> Option<Key> {
        let path = self.sources.file(written).ok()?;
        let changed = path.metadata().and_then(|it| it.modified()).ok()?;
        Some(Key::File(path, changed, rate.hz()))
    }

    fn share(&self, key: Key, clip: &Clip) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|_, it| it.upgrade().is_some());
        if shared.len() < CLIPS_SHARED_MAX {
            shared.insert(key, clip.downgrade());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::Hz8000;

    #[tokio::test]
    async fn a_file_is_shared_until_it_changes() {
        let home = std::env::temp_dir().join(format!("hookswitch-sounds-{}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        write(&home.join("a.wav"), 800);
        let sounds =
            Sounds::new(&config::Sounds { directory: Some(home.clone()), ..config::Sounds::default() }).unwrap();
        let first = sounds.find("a.wav", RATE).await.unwrap();
        let again = sounds.find("a.wav", RATE).await.unwrap();
        assert!(std::ptr::eq(first.samples(), again.samples()), "the audio is there once");
        assert!(!std::ptr::eq(first.samples(), sounds.find("a.wav", SampleRate::Hz16000).await.unwrap().samples()));
        write(&home.join("a.wav"), 1_600);
        let past = SystemTime::UNIX_EPOCH;
        std::fs::File::options().write(true).open(home.join("a.wav")).unwrap().set_modified(past).unwrap();
        assert_eq!(sounds.find("a.wav", RATE).await.unwrap().samples().len(), 1_600);
        assert_eq!(sounds.load("a.wav", RATE).unwrap().samples().len(), 1_600);
        drop((first, again));
        assert!(sounds.find("b.wav", RATE).await.unwrap_err().contains("cannot be read"));
        assert!(sounds.load("https://198.51.100.1/a.wav", RATE).is_err(), "nothing is fetched at the start");
        std::fs::remove_dir_all(&home).unwrap();
    }

    #[tokio::test]
    async fn tones_are_those_of_the_country() {
        let of = |country: &str| {
            Sounds::new(&config::Sounds { country: Some(country.to_owned()), ..config::Sounds::default() })
        };
        let german = of("DE").unwrap();
        let ringback = german.find("ringback", RATE).await.unwrap();
        assert_eq!(ringback, german.find("ringback:DE", RATE).await.unwrap());
        assert_eq!((ringback.duration_ms(), german.load("busy", RATE).unwrap().duration_ms()), (5_000, 960));
        assert!(german.find("../etc/passwd", RATE).await.is_err());
        assert_eq!(of("ZZ").unwrap_err().to_string(), "[sounds] country: the tones of ZZ are not known");
    }

    fn write(path: &std::path::Path, samples: u32) {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        for _ in 0..samples {
            writer.write_sample(1_000_i16).unwrap();
        }
        writer.finalize().unwrap();
    }
}
