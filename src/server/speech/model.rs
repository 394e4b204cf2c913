//! The files pocketsphinx starts from: Debian's American English model, and for each session a language model and
//! dictionary of its own, in files without a name that exist while the decoder starts.
//!
//! A decoder that starts with a whole dictionary takes 0.3 s and 100 MB; with the words of a grammar 10 ms and 10 MB.
//! So each session has a fresh one, and nothing of one caller reaches another's.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::dictionary::Dictionary;
use super::language_model::Grammar;
use super::library::Missing;
use super::pocketsphinx_ffi::{self, Decoder, DecoderError};
use crate::codec::SampleRate;

/// Where the model is.
#[derive(Clone, Debug)]
pub struct Model {
    directory: PathBuf,
    /// Once it has been read, for all clones of this.
    dictionary: Arc<OnceLock<Dictionary>>,
}

impl Model {
    /// The model of Debian's `pocketsphinx-en-us`.
    pub fn debian() -> Self {
        Self::at(PathBuf::from("/usr/share/pocketsphinx/model/en-us"))
    }

    /// A model of the same layout elsewhere.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory, dictionary: Arc::default() }
    }

    /// Whether everything is installed.
    ///
    /// # Errors
    ///
    /// What is missing, with the command that installs it.
    pub(super) fn probe(&self) -> Result<(), Missing> {
        pocketsphinx_ffi::probe()?;
        for file in [FEATURES, DICTIONARY, LANGUAGE_MODEL] {
            let path = self.directory.join(file);
            if !path.is_file() {
                return Err(Missing::Model { path });
            }
        }
        Ok(())
    }

    /// Learns phrases with the model's dictionary. `None` if it knows no word of them.
    ///
    /// # Errors
    ///
    /// If the dictionary cannot be read.
    pub(super) fn learn(&self, phrases: &[String]) -> Result<Option<Grammar>, Missing> {
        let dictionary = match self.dictionary.get() {
            Some(known) => known,
            None => {
                let path = self.directory.join(DICTIONARY);
                let text = fs::read_to_string(&path).or(Err(Missing::Model { path }))?;
                // Of several sessions that read it at once, the first wins.
                self.dictionary.get_or_init(|| Dictionary::of(text))
            }
        };
        Ok(Grammar::learn(phrases, dictionary))
    }

    /// Starts a decoder for audio that was sampled at `rate`, with a grammar or else the general language model.
    ///
    /// # Errors
    ///
    /// If something is missing, temporary files cannot be written, or pocketsphinx refuses the model.
    pub(super) fn decoder(&self, grammar: Option<&Grammar>, rate: SampleRate) -> Result<Decoder, DecoderError> {
        self.probe()?;
        let nameless = |text: &str| Nameless::holding(text).map_err(refused);
        let installed = |file: &str| {
            let path = self.directory.join(file);
            path.to_str().map(str::to_owned).ok_or_else(|| refused("the model's path is not UTF-8"))
        };
        let front_end = nameless(&self.features(rate)?)?;
        let files = grammar.map(|it| Ok::<_, DecoderError>((nameless(&it.arpa)?, nameless(&it.dictionary)?)));
        let files = files.transpose()?;
        let (language_model, dictionary) = match &files {
            Some((language_model, dictionary)) => (language_model.path(), dictionary.path()),
            None => (installed(LANGUAGE_MODEL)?, installed(DICTIONARY)?),
        };
        let (acoustic_model, features) = (installed("en-us")?, front_end.path());
        Decoder::new(&[
            ("-hmm", &acoustic_model),
            ("-featparams", &features),
            ("-lm", &language_model),
            ("-dict", &dictionary),
            // Removing silence itself, pocketsphinx reports word times that are off by seconds; `gate` does it.
            ("-remove_silence", "no"),
            // The second pass makes a result 40 ms late and no better (1.4 % against 1.1 % of words wrong).
            ("-fwdflat", "no"),
        ])
    }

    /// The model's front end, for narrow-band audio with the cepstral mean of such audio to begin with.
    ///
    /// The model's own mean is of wide-band speech, and a fresh decoder that begins with it mistakes two thirds of the
    /// words of the first sentence on a telephone (64.9 % against 1.4 %, 20 sentences by 4 voices). Options given
    /// besides are overruled by this file, so it is written anew.
    fn features(&self, rate: SampleRate) -> Result<String, DecoderError> {
        let path = self.directory.join(FEATURES);
        let features = fs::read_to_string(&path).or(Err(Missing::Model { path }))?;
        Ok(match rate {
            SampleRate::Hz16000 => features,
            SampleRate::Hz8000 => {
                let kept = features.lines().filter(|it| !it.starts_with("-cmninit"));
                kept.chain([NARROW_BAND_MEAN]).flat_map(|it| [it, "\n"]).collect()
            }
        })
    }
}

/// A file without a name, for as long as this lives: whatever ends the process, nothing of it stays.
struct Nameless(File);

impl Nameless {
    fn holding(text: &str) -> std::io::Result<Self> {
        // A hasher of fresh, random keys: the name, which exists for a moment, cannot be foreseen.
        let name = format!("hookswitch-speech-{:016x}", RandomState::new().hash_one(std::process::id()));
        let path = std::env::temp_dir().join(name);
        // Fails if anybody has put something there, so that nothing is written through their links.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(Self(file))
    }

    /// Opens the file anew, from its beginning, for a library that wants a path.
    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }
}

fn refused(reason: impl ToString) -> DecoderError {
    DecoderError::Refused(reason.to_string())
}

const FEATURES: &str = "en-us/feat.params";
const DICTIONARY: &str = "cmudict-en-us.dict";
const LANGUAGE_MODEL: &str = "en-us.lm.bin";
/// Measured over 8 kHz µ-law speech of four synthetic voices, and checked on voices it was not measured over.
const NARROW_BAND_MEAN: &str = "-cmninit 44.5,28.4,-27.6,50.9,-20.1,2.7,16.4,-24.7,17.4,-12.4,3.9,11.4,-11.9";
