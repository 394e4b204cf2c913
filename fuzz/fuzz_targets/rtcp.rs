//! An RTCP compound packet.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hookswitch_fuzz::rtcp(input);
});
