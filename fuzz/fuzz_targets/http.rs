#![no_main]

#[path = "../../listeners/gateway/src"]
mod gateway {
    pub(crate) mod fuzz;
}
#[path = "../../listeners/gateway/src/http"]
mod http {
    pub(crate) mod fuzz;
    mod said;

    /// As in the gateway.
    pub(crate) const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
}
#[path = "../../listeners/gateway/src/rest"]
mod rest {
    pub(crate) mod fuzz;
    mod given;
    mod refusal;
}
#[path = "../../listeners/gateway/src/distsuper"]
mod distsuper {
    mod fault;
    pub(crate) mod fuzz;
    mod read;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::fuzz::http(data));
