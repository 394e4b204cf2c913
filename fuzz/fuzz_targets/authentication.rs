//! Challenges, credentials, Authentication-Info.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hookswitch_fuzz::authentication(input);
});
