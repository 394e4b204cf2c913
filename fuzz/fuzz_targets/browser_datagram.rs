//! A session description.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hookswitch_fuzz::browser_datagram(input);
});
