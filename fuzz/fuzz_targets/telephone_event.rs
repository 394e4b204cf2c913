//! An RFC 4733 payload.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hookswitch_fuzz::telephone_event(input);
});
