//! A URI, a name-addr, a Via, a host.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hookswitch_fuzz::uri(input);
});
