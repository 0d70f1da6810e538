#![no_main]

#[path = "../../cli/src"]
mod cli {
    pub(crate) mod file;
}
#[path = "../../cli/src/config"]
mod config {
    mod surroundings;
    pub(crate) use surroundings::Surroundings;
}
use cli::file;

libfuzzer_sys::fuzz_target!(|data: &[u8]| file::fuzz::programs(data));
