//! What the fuzz targets of `fuzz/` hold, with their seeds and with every input that ever failed: mended for good, and
//! without a nightly compiler.

#[path = "../fuzz/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

/// Runs a target's check over its seeds.
fn over_seeds(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // A panic names the seed.
        println!("{}", path.display());
        check(&fs::read(&path).unwrap());
        seeds += 1;
    }
    assert!(seeds >= 8, "only {seeds} seeds of {target}");
}

#[test]
fn readings_of_strangers_never_panic_and_come_back() {
    over_seeds("reading", checks::reading);
}

#[test]
fn texts_of_strangers_never_panic_and_findings_have_a_place() {
    over_seeds("spec", checks::spec);
}

#[test]
fn steps_of_strangers_never_panic_and_findings_have_a_place() {
    over_seeds("playbook", checks::playbook);
}

#[test]
fn records_of_our_own_topics_never_panic_and_come_back() {
    over_seeds("records", checks::records);
}
