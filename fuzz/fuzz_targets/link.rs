#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dsbus_supervisor::fuzz::link(data));
