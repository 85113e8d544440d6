//! Any bytes as a record of our own topics: a hostile hand may write there too.
#![no_main]

#[path = "../checks.rs"]
#[allow(dead_code)]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::records(data));
