//! The walls between the rooms, held by reading the source: who may know whom.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Rooms that must stay pure: no bus, no runtime, no clock, no logging.
const PURE: [&str; 21] = [
    "src/model",
    "src/spec",
    "src/codec",
    "src/window",
    "src/processor/core",
    "src/processor/ahead",
    "src/processor/service",
    "src/processor/incident",
    "src/processor/cut",
    "src/processor/backtest",
    "src/processor/metadata",
    "src/processor/rollups",
    "src/processor/replay",
    "src/processor/gap",
    "src/processor/counts",
    "src/collect/scrape/text",
    "src/collect/scrape/take",
    "src/collect/scrape/histogram",
    "src/collect/scrape/roster",
    "src/collect/scrape/health",
    "src/collect/scrape/down",
];

fn sources(root: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut stack = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(root)];
    while let Some(dir) = stack.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                stack.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_path_buf(), text));
            }
        }
    }
    found
}

/// Code lines (comments and the unit tests at the end left out) that hold one of `words`.
fn offences(files: &[(PathBuf, String)], inside: impl Fn(&Path) -> bool, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| inside(path)) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap_or_default();
            if let Some(word) = words.iter().find(|word| line.contains(*word)) {
                found.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    found
}

#[test]
fn only_the_bus_knows_rdkafka() {
    let files = sources("src");
    let found = offences(&files, |path| !path.starts_with("src/bus"), &["rdkafka"]);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_decides_knows_no_clock_no_runtime_no_log_and_no_bus() {
    let files = sources("src");
    let pure = |path: &Path| PURE.iter().any(|room| path.to_str().unwrap().starts_with(room));
    let words = [
        "tokio",
        "tracing",
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "crate::bus",
        "crate::telemetry",
        "std::fs",
        "std::net",
        "std::env",
        "thread_rng",
        "rand::",
    ];
    let found = offences(&files, pure, &words);
    assert!(found.is_empty(), "{found:#?}");
    assert!(files.iter().filter(|(path, _)| pure(path)).count() > 5, "the pure rooms were not found");
}

#[test]
fn rooms_know_only_what_lies_below_them() {
    let files = sources("src");
    let found = [
        offences(&files, |path| path.starts_with("src/processor"), &["crate::actors", "crate::vault", "crate::world"]),
        offences(&files, |path| path.starts_with("src/actors"), &["crate::processor", "crate::window"]),
        offences(&files, |path| !path.starts_with("src/cli") && path != Path::new("src/main.rs"), &["crate::cli"]),
        offences(&files, |path| path.starts_with("src/bus"), &["crate::processor", "crate::actors", "crate::window"]),
        offences(
            &files,
            |path| path.starts_with("src/collect"),
            &["crate::processor", "crate::actors", "crate::vault", "crate::window"],
        ),
        // What it knows the bus carries, with its settings.
        offences(
            &files,
            |path| !path.starts_with("src/registry") && !path.starts_with("src/cli"),
            &["crate::registry"],
        ),
        // What measures looks from outside, and nobody is made for it.
        offences(
            &files,
            |path| path.starts_with("src/bench"),
            &["crate::actors", "crate::vault", "crate::world", "crate::sdk"],
        ),
        offences(&files, |path| !path.starts_with("src/bench") && !path.starts_with("src/cli"), &["crate::bench"]),
    ]
    .concat();
    assert!(found.is_empty(), "{found:#?}");
}

/// What a wheel carries into a stranger's process is only what it needs; an allocator that overrides `malloc` there
/// would be the end of it.
#[test]
fn who_only_emits_and_asks_gets_no_services_no_http_and_no_allocator() {
    let tree = |features: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "tree",
            "--offline",
            "--locked",
            "--prefix",
            "none",
            "--edges",
            "normal,build",
            "--format",
            "{lib}",
        ]);
        let output = cargo.args(features).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let heavy = ["kube", "axum", "hyper", "reqwest", "lettre", "rustls", "clap", "mimalloc", "tracing_subscriber"];
    let found = |tree: &str| heavy.iter().filter(|name| tree.lines().any(|line| line == **name)).count();
    assert_eq!(found(&tree(&["--package", "hms-ops", "--no-default-features"])), 0);
    assert_eq!(found(&tree(&["--package", "hms-ops"])), heavy.len(), "the control: they are there by default");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> =
        sources("src").into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn no_file_passes_500_lines() {
    let long: Vec<_> = ["src", "tests"]
        .into_iter()
        .flat_map(sources)
        .filter(|(_, text)| text.lines().count() > 500)
        .map(|(path, text)| format!("{}: {}", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn a_wall_that_is_breached_is_reported() {
    let files = vec![(PathBuf::from("src/window/x.rs"), "use rdkafka::Message; // rdkafka".to_owned())];
    assert_eq!(offences(&files, |_| true, &["rdkafka"]), ["src/window/x.rs:1: rdkafka"]);
}
