//! The oracle itself: it must agree with the worked examples before it may judge the production core.

#[path = "oracle/mod.rs"]
mod oracle;

use std::fs;
use std::path::{Path, PathBuf};

use oracle::json::{counts_to_json, first_difference, same};

fn in_tests(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}

fn vectors() -> Vec<oracle::Vector> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(in_tests("vectors")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 38, "only {} vectors were found", files.len());
    files.iter().map(|file| oracle::load(&fs::read_to_string(file).unwrap())).collect()
}

#[test]
fn oracle_agrees_with_every_vector() {
    let mut disagreements = Vec::new();
    for vector in vectors() {
        let outcome = oracle::run(&vector.log);
        if let Some(difference) = first_difference(&vector.expect, &outcome.events()) {
            disagreements.push(format!("{}: {difference}", vector.name));
        }
        let counts = counts_to_json(&outcome.counts);
        if !same(&vector.counts, &counts) {
            disagreements.push(format!("{}: counts {} expected, {counts} found", vector.name, vector.counts));
        }
    }
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}
