//! A WAV or MP3 file.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hookswitch_fuzz::audio_file(input);
});
