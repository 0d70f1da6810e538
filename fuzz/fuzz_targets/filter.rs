#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dsbus_schema::fuzz::filter(data));
