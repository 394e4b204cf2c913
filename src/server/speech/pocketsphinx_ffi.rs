//! The C interface of pocketsphinx 5prealpha (`libpocketsphinx.so.3`, `libsphinxbase.so.3`), loaded at run time and
//! wrapped so that nothing outside this file is unsafe.
//!
//! Each [`Decoder`] is used by one thread at a time; decoders share nothing but the code and the read-only mapping of
//! the acoustic model.
#![expect(unsafe_code, reason = "calls into pocketsphinx, a C library")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};

use libloading::Library;

use super::library::Missing;

/// One recogniser with its model, dictionary and the utterance it is in.
#[derive(Debug)]
pub(super) struct Decoder {
    api: &'static Api,
    handle: *mut c_void,
    in_utterance: bool,
}

/// A word as decoded, fillers and silence included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// As in the dictionary: alternatives end in `(2)`, fillers are in brackets.
    pub word: String,
    /// Its first frame of 10 ms.
    pub first_frame: u32,
    /// Its last frame of 10 ms.
    pub last_frame: u32,
}

/// Why there is no decoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecoderError {
    /// The libraries are not there.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// Pocketsphinx refused the models.
    #[error("pocketsphinx did not start: {0}")]
    Refused(String),
}

/// Whether the libraries can be loaded.
///
/// # Errors
///
/// What is missing, with the command that installs it.
pub(super) fn probe() -> Result<(), Missing> {
    api()?;
    Ok(())
}

impl Decoder {
    /// A decoder with these options of pocketsphinx, as pairs of name and value.
    ///
    /// # Errors
    ///
    /// If the library is missing, or refuses the options or the files they name.
    pub(super) fn new(options: &[(&str, &str)]) -> Result<Self, DecoderError> {
        let api = api()?;
        let words = std::iter::once("hookswitch").chain(options.iter().flat_map(|(name, value)| [*name, *value]));
        let words: Result<Vec<CString>, _> = words.map(CString::new).collect();
        let words = words.map_err(|error| DecoderError::Refused(error.to_string()))?;
        let mut pointers: Vec<*mut c_char> = words.iter().map(|it| it.as_ptr().cast_mut()).collect();
        let count = c_int::try_from(pointers.len()).map_err(|error| DecoderError::Refused(error.to_string()))?;
        // Starting and freeing decoders is serialised: the library's error log is global.
        let guard = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: `pointers` are `count` NUL-terminated strings that outlive the call, which copies them; the options'
        // definitions are the library's own static table.
        let config =
            unsafe { (api.cmd_ln_parse_r)(std::ptr::null_mut(), (api.ps_args)(), count, pointers.as_mut_ptr(), 1) };
        if config.is_null() {
            return Err(DecoderError::Refused("it does not know an option".to_owned()));
        }
        // SAFETY: `config` is live; the decoder keeps a reference of its own, so ours is given back whether or not it
        // started.
        let handle = unsafe {
            let handle = (api.ps_init)(config);
            (api.cmd_ln_free_r)(config);
            handle
        };
        drop(guard);
        if handle.is_null() {
            return Err(DecoderError::Refused("it cannot use the model, dictionary or language model".to_owned()));
        }
        Ok(Self { api, handle, in_utterance: false })
    }

    /// Begins an utterance, unless one has begun. Whether it could.
    pub(super) fn start(&mut self) -> bool {
        if !self.in_utterance {
            // SAFETY: `handle` is live and `&mut self` keeps other threads out.
            self.in_utterance = unsafe { (self.api.ps_start_utt)(self.handle) } == 0;
        }
        self.in_utterance
    }

    /// Decodes the next samples, 16 kHz, of the utterance. Whether it could.
    pub(super) fn process(&mut self, samples: &[i16]) -> bool {
        if !self.in_utterance {
            return false;
        }
        // SAFETY: as in `start`; the samples are read during the call only.
        unsafe { (self.api.ps_process_raw)(self.handle, samples.as_ptr(), samples.len(), 0, 0) >= 0 }
    }

    /// Ends the utterance, if one has begun. Its result stays until the next begins.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.in_utterance) {
            // SAFETY: as in `start`. A failure leaves no hypothesis, which reads as an empty result.
            unsafe { (self.api.ps_end_utt)(self.handle) };
        }
    }

    /// What was decoded so far.
    pub(super) fn text(&mut self) -> String {
        let mut score = 0_i32;
        // SAFETY: as in `start`. The text lives until the next call; it is copied at once.
        unsafe {
            let text = (self.api.ps_get_hyp)(self.handle, &raw mut score);
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        }
    }

    /// The words of what was decoded, with their frames. The library counts frames since the decoder started; the first
    /// segment, which is where the utterance begins, is frame 0 here.
    pub(super) fn segments(&mut self) -> Vec<Segment> {
        let mut segments: Vec<Segment> = vec![];
        // SAFETY: as in `start`. `ps_seg_next` frees the iterator it is given when it returns null, and the loop always
        // runs to that point; words live in the dictionary and are copied.
        unsafe {
            let mut segment = (self.api.ps_seg_iter)(self.handle);
            while !segment.is_null() {
                let (mut first, mut last) = (0, 0);
                (self.api.ps_seg_frames)(segment, &raw mut first, &raw mut last);
                let word = (self.api.ps_seg_word)(segment);
                if !word.is_null() {
                    segments.push(Segment {
                        word: CStr::from_ptr(word).to_string_lossy().into_owned(),
                        first_frame: u32::try_from(first).unwrap_or(0),
                        last_frame: u32::try_from(last).unwrap_or(0),
                    });
                }
                segment = (self.api.ps_seg_next)(segment);
            }
        }
        let origin = segments.first().map_or(0, |it| it.first_frame);
        for segment in &mut segments {
            segment.first_frame = segment.first_frame.saturating_sub(origin);
            segment.last_frame = segment.last_frame.saturating_sub(origin);
        }
        segments
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let _guard = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: `handle` came from `ps_init`, is owned by this decoder and is not used after this.
        unsafe { (self.api.ps_free)(self.handle) };
    }
}

// SAFETY: a decoder has no thread affinity; `&mut self` everywhere lets one thread at a time use it.
unsafe impl Send for Decoder {}

#[derive(Debug)]
struct Api {
    ps_args: unsafe extern "C" fn() -> *const c_void,
    ps_init: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    ps_free: unsafe extern "C" fn(*mut c_void) -> c_int,
    ps_start_utt: unsafe extern "C" fn(*mut c_void) -> c_int,
    ps_process_raw: unsafe extern "C" fn(*mut c_void, *const i16, usize, c_int, c_int) -> c_int,
    ps_end_utt: unsafe extern "C" fn(*mut c_void) -> c_int,
    ps_get_hyp: unsafe extern "C" fn(*mut c_void, *mut i32) -> *const c_char,
    ps_seg_iter: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    ps_seg_next: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    ps_seg_word: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    ps_seg_frames: unsafe extern "C" fn(*mut c_void, *mut c_int, *mut c_int),
    cmd_ln_parse_r: unsafe extern "C" fn(*mut c_void, *const c_void, i32, *mut *mut c_char, i32) -> *mut c_void,
    cmd_ln_free_r: unsafe extern "C" fn(*mut c_void) -> c_int,
    _libraries: [Library; 2],
}

fn api() -> Result<&'static Api, Missing> {
    API.get_or_init(load).as_ref().map_err(Clone::clone)
}

fn load() -> Result<Api, Missing> {
    const BASE: &str = "libsphinxbase.so.3";
    const SPHINX: &str = "libpocketsphinx.so.3";
    let base = open(BASE)?;
    let sphinx = open(SPHINX)?;
    // SAFETY: each type is the function's declaration in the headers of 5prealpha, whose interface the names' `.so.3`
    // fixes (`size_t` is `usize`, `int32` is `i32`); the libraries are never unloaded, as `API` is a static.
    unsafe {
        let quiet: unsafe extern "C" fn(*const c_void, *mut c_void) = symbol(&base, BASE, "err_set_callback")?;
        let no_file: unsafe extern "C" fn(*mut c_void) = symbol(&base, BASE, "err_set_logfp")?;
        // Without a callback the library logs nothing, and without a file it does not print its options either. It
        // would otherwise write hundreds of lines to standard error for every decoder.
        quiet(std::ptr::null(), std::ptr::null_mut());
        no_file(std::ptr::null_mut());
        Ok(Api {
            ps_args: symbol(&sphinx, SPHINX, "ps_args")?,
            ps_init: symbol(&sphinx, SPHINX, "ps_init")?,
            ps_free: symbol(&sphinx, SPHINX, "ps_free")?,
            ps_start_utt: symbol(&sphinx, SPHINX, "ps_start_utt")?,
            ps_process_raw: symbol(&sphinx, SPHINX, "ps_process_raw")?,
            ps_end_utt: symbol(&sphinx, SPHINX, "ps_end_utt")?,
            ps_get_hyp: symbol(&sphinx, SPHINX, "ps_get_hyp")?,
            ps_seg_iter: symbol(&sphinx, SPHINX, "ps_seg_iter")?,
            ps_seg_next: symbol(&sphinx, SPHINX, "ps_seg_next")?,
            ps_seg_word: symbol(&sphinx, SPHINX, "ps_seg_word")?,
            ps_seg_frames: symbol(&sphinx, SPHINX, "ps_seg_frames")?,
            cmd_ln_parse_r: symbol(&base, BASE, "cmd_ln_parse_r")?,
            cmd_ln_free_r: symbol(&base, BASE, "cmd_ln_free_r")?,
            _libraries: [base, sphinx],
        })
    }
}

fn open(name: &'static str) -> Result<Library, Missing> {
    // SAFETY: the initialisers of these libraries do nothing but what the C runtime does for every library.
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

static API: OnceLock<Result<Api, Missing>> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());
