//! A message of the speech protocol, to a server or a client.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hookswitch_fuzz::speech_protocol(input);
});
