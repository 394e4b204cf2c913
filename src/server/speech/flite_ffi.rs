//! The C interface of flite 2.2 (`libflite.so.1` and a library for each voice), loaded at run time and wrapped so that
//! nothing outside this file is unsafe. Flite keeps global state, so there is one [`Flite`] behind a lock, loaded when it
//! is first wanted and never unloaded: its voices refer to each other's libraries.
#![expect(unsafe_code, reason = "calls into flite, a C library")]

use std::ffi::{CStr, CString, c_char, c_float, c_int, c_short, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libloading::Library;

use super::library::Missing;
use crate::agent::provider::WordTime;

/// The voices, the default first. `kal` is native to 8 kHz, the others to 16 kHz.
pub(super) const VOICES: [&str; 4] = ["rms", "awb", "slt", "kal"];

/// The library in memory.
#[derive(Debug)]
pub(super) struct Flite {
    functions: Functions,
    voices: [Voice; 4],
    _library: Library,
}

/// Flite with all its voices, for the thread that asks. Rendering a sentence holds it for some ten milliseconds.
///
/// # Errors
///
/// What is missing, with the command that installs it.
pub(super) fn flite() -> Result<MutexGuard<'static, Flite>, Missing> {
    let flite = FLITE.get_or_init(|| load().map(Mutex::new)).as_ref().map_err(Clone::clone)?;
    // A panic under the lock happens in our own copying, between calls, where flite's state is whole.
    Ok(flite.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A rendered text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    /// Samples a second.
    pub rate_hz: u32,
    /// The audio.
    pub samples: Vec<i16>,
    /// When its words are spoken; empty if flite kept no record of it.
    pub words: Vec<WordTime>,
}

/// Flite gave no audio for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("flite gave no audio")]
pub struct NoAudio;

impl Flite {
    /// Renders `text`, which is plain ASCII of moderate length; see `sentences`. An unknown voice is the first.
    ///
    /// # Errors
    ///
    /// If flite gives no audio, or the text has a NUL.
    pub(super) fn render(&mut self, text: &str, voice: &str) -> Result<Rendered, NoAudio> {
        let text = CString::new(text).or(Err(NoAudio))?;
        let voice = VOICES.iter().position(|it| *it == voice).and_then(|at| self.voices.get(at));
        let [default, ..] = &self.voices;
        let voice = voice.unwrap_or(default).handle;
        // SAFETY: `text` is NUL-terminated and outlives the call, `voice` came from its register function and is never
        // unregistered, and `&mut self` on the only `Flite` keeps any other thread out of the library.
        let utterance = unsafe { (self.functions.synth_text)(text.as_ptr(), voice) };
        if utterance.is_null() {
            return Err(NoAudio);
        }
        let rendered = self.read(utterance);
        // SAFETY: `utterance` came from `flite_synth_text`, is not used after this, and what `read` returned is copied.
        unsafe { (self.functions.delete_utterance)(utterance) };
        rendered
    }

    fn read(&self, utterance: *mut c_void) -> Result<Rendered, NoAudio> {
        // SAFETY: `utterance` is a live utterance; a synthesised one may still lack a wave, in which case this is null.
        let wave = unsafe { (self.functions.utt_wave)(utterance) };
        if wave.is_null() {
            return Err(NoAudio);
        }
        // SAFETY: a wave of flite begins with the fields of `Wave` (cst_wave.h) and lives as long as its utterance.
        let wave = unsafe { &*wave.cast::<Wave>() };
        let len = usize::try_from(wave.num_samples).unwrap_or(0);
        let samples = if wave.samples.is_null() || len == 0 {
            vec![]
        } else {
            // SAFETY: `samples` points to `num_samples` shorts of one channel, owned by the wave.
            unsafe { std::slice::from_raw_parts(wave.samples, len) }.to_vec()
        };
        let rate_hz = u32::try_from(wave.sample_rate).unwrap_or(0);
        Ok(Rendered { rate_hz, samples, words: self.words(utterance) })
    }

    /// The words as written (flite's tokens) with the times of the segments that speak them.
    fn words(&self, utterance: *mut c_void) -> Vec<WordTime> {
        let functions = &self.functions;
        let mut words = vec![];
        // SAFETY: `utterance` is live. Asking whether a relation is there guards asking for it, which would otherwise
        // end the process.
        let mut token = unsafe {
            let is_there = |name: &CStr| (functions.utt_relation_present)(utterance, name.as_ptr()) != 0;
            if !(is_there(c"Token") && is_there(c"SylStructure") && is_there(c"Segment")) {
                return words;
            }
            (functions.relation_head)((functions.utt_relation)(utterance, c"Token".as_ptr()))
        };
        while !token.is_null() {
            // SAFETY: `token` is an item of the live utterance. Its first and last daughters are items or null, and
            // are looked at only if they are items.
            let (first, last) = unsafe { ((functions.item_daughter)(token), (functions.item_last_daughter)(token)) };
            if !first.is_null() && !last.is_null() {
                let start_ms = self.time_ms(first, c"R:SylStructure.daughter.daughter.R:Segment.p.end");
                let end_ms = self.time_ms(last, c"R:SylStructure.daughtern.daughtern.R:Segment.end");
                let word = [c"prepunctuation", c"name", c"punc"].map(|it| self.text(token, it)).concat();
                if end_ms > start_ms {
                    words.push(WordTime { word, start_ms, end_ms });
                }
            }
            // SAFETY: `token` is an item of the live utterance.
            token = unsafe { (self.functions.item_next)(token) };
        }
        words
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "float to integer casts saturate")]
    fn time_ms(&self, item: *mut c_void, path: &CStr) -> u32 {
        // SAFETY: `item` is an item of a live utterance and `path` is NUL-terminated; a path that leads nowhere is 0.
        let seconds = unsafe { (self.functions.ffeature_float)(item, path.as_ptr()) };
        (f64::from(seconds) * 1_000.0).round() as u32
    }

    fn text(&self, item: *mut c_void, feature: &CStr) -> String {
        // SAFETY: `item` is an item of a live utterance; only a feature that is there is read, and flite's tokeniser
        // sets these three as strings, which live as long as the item. It is copied here.
        unsafe {
            if (self.functions.item_feat_present)(item, feature.as_ptr()) == 0 {
                return String::new();
            }
            let text = (self.functions.item_feat_string)(item, feature.as_ptr());
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        }
    }
}

#[derive(Debug)]
struct Voice {
    handle: *mut c_void,
    _library: Library,
}

// SAFETY: flite has no thread affinity, only global state, and `Flite` lets one thread at a time near it.
unsafe impl Send for Voice {}

/// The beginning of `cst_wave`.
#[repr(C)]
struct Wave {
    kind: *const c_char,
    sample_rate: c_int,
    num_samples: c_int,
    num_channels: c_int,
    samples: *const c_short,
}

#[derive(Debug)]
struct Functions {
    synth_text: unsafe extern "C" fn(*const c_char, *mut c_void) -> *mut c_void,
    delete_utterance: unsafe extern "C" fn(*mut c_void),
    utt_wave: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    utt_relation_present: unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int,
    utt_relation: unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void,
    relation_head: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    item_next: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    item_daughter: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    item_last_daughter: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    item_feat_present: unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int,
    item_feat_string: unsafe extern "C" fn(*mut c_void, *const c_char) -> *const c_char,
    ffeature_float: unsafe extern "C" fn(*mut c_void, *const c_char) -> c_float,
}

fn load() -> Result<Flite, Missing> {
    const FLITE: &str = "libflite.so.1";
    let library = open(FLITE)?;
    // SAFETY: each type is the function's declaration in flite 2.2's headers, whose interface the name's `.so.1` fixes;
    // the functions are called only while `library` is held.
    let (functions, init) = unsafe {
        let functions = Functions {
            synth_text: symbol(&library, FLITE, "flite_synth_text")?,
            delete_utterance: symbol(&library, FLITE, "delete_utterance")?,
            utt_wave: symbol(&library, FLITE, "utt_wave")?,
            utt_relation_present: symbol(&library, FLITE, "utt_relation_present")?,
            utt_relation: symbol(&library, FLITE, "utt_relation")?,
            relation_head: symbol(&library, FLITE, "relation_head")?,
            item_next: symbol(&library, FLITE, "item_next")?,
            item_daughter: symbol(&library, FLITE, "item_daughter")?,
            item_last_daughter: symbol(&library, FLITE, "item_last_daughter")?,
            item_feat_present: symbol(&library, FLITE, "item_feat_present")?,
            item_feat_string: symbol(&library, FLITE, "item_feat_string")?,
            ffeature_float: symbol(&library, FLITE, "ffeature_float")?,
        };
        let init: unsafe extern "C" fn() -> c_int = symbol(&library, FLITE, "flite_init")?;
        (functions, init)
    };
    // SAFETY: `FLITE` runs this once, on one thread.
    unsafe { init() };
    let voices = [
        voice("libflite_cmu_us_rms.so.1", "register_cmu_us_rms")?,
        voice("libflite_cmu_us_awb.so.1", "register_cmu_us_awb")?,
        voice("libflite_cmu_us_slt.so.1", "register_cmu_us_slt")?,
        voice("libflite_cmu_us_kal.so.1", "register_cmu_us_kal")?,
    ];
    Ok(Flite { functions, voices, _library: library })
}

fn voice(name: &'static str, register: &'static str) -> Result<Voice, Missing> {
    let library = open(name)?;
    // SAFETY: every voice library of flite declares its register function like this; a null directory means the voice
    // data within the library.
    let handle = unsafe {
        let register: unsafe extern "C" fn(*const c_char) -> *mut c_void = symbol(&library, name, register)?;
        register(std::ptr::null())
    };
    if handle.is_null() {
        return Err(Missing::Library { library: name, reason: "the voice did not register".to_owned() });
    }
    Ok(Voice { handle, _library: library })
}

fn open(name: &'static str) -> Result<Library, Missing> {
    // SAFETY: the initialisers of flite's libraries do nothing but what the C runtime does for every library.
    unsafe { Library::new(name) }.map_err(|error| Missing::library(name, &error))
}

/// # Safety
///
/// `T` must be the type of the function, which must not be called after `library` is dropped.
unsafe fn symbol<T: Copy>(library: &Library, name: &'static str, symbol: &'static str) -> Result<T, Missing> {
    // SAFETY: as this function's own contract.
    let found = unsafe { library.get::<T>(symbol) };
    found.map(|it| *it).or(Err(Missing::Symbol { library: name, symbol }))
}

static FLITE: OnceLock<Result<Mutex<Flite>, Missing>> = OnceLock::new();
