//! Any text as a condition and as an action of a playbook, within a spec that is good otherwise.
#![no_main]

#[path = "../checks.rs"]
#[allow(dead_code)]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::playbook(data));
