//! The body of an INFO request that names a key.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hookswitch_fuzz::digits(input);
});
