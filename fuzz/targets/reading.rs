//! Any bytes as key, value and headers of a record of `ops.metrics`.
#![no_main]

#[path = "../checks.rs"]
#[allow(dead_code)]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::reading(data));
