#![no_main]

#[path = "../../listeners/bridge/src"]
mod bridge {
    pub mod protocol;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| bridge::protocol::fuzz::listener(data));
