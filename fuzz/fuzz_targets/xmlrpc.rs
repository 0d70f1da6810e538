#![no_main]

#[path = "../../listeners/gateway/src/rpc"]
mod rpc {
    pub mod fuzz;
    mod request;
    mod value;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| rpc::fuzz::xmlrpc(data));
