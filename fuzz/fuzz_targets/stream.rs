//! A SIP stream that arrives in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hookswitch_fuzz::stream(input);
});
