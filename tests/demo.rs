//! `ops demo` happens: the binary tells both of its stories to the end, beat by beat, on a real Kafka.

use std::process::Command;
use std::sync::OnceLock;

use hms_ops::local::kafka::{Cluster, Options, from_env_or_start};

/// Never dropped, as statics are not: the broker notices by itself that this process is gone.
static CLUSTER: OnceLock<Cluster> = OnceLock::new();

/// What `ops demo` prints and its exit code, on the cluster of this run.
fn demo(flags: &[&str]) -> (String, Option<i32>) {
    let cluster = CLUSTER.get_or_init(|| from_env_or_start(&Options::default()).unwrap_or_else(|why| panic!("{why}")));
    let output = Command::new(env!("CARGO_BIN_EXE_ops"))
        .args(["demo", "--for", "90s", "--brokers", cluster.brokers()])
        .args(flags)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let told = String::from_utf8(output.stdout).unwrap();
    println!("{told}\n{errors}");
    (told, output.status.code())
}

/// The beats are there, one after the other.
fn assert_told(story: &str, beats: &[&str]) {
    let mut rest = story;
    for beat in beats {
        let Some((_, behind)) = rest.split_once(beat) else { panic!("{beat:?} is not told in its place:\n{story}") };
        rest = behind;
    }
}

/// queue 12 s -> over 30 s, opened, 2 -> 4, resolved: and nobody was paged.
#[test]
fn more_lanes_help_and_nobody_is_paged() {
    let (story, code) = demo(&[]);
    assert_told(
        &story,
        &[
            "activated",
            "12 s",
            "opened     DCA_Luggage_Scanner.1",
            "requested  scale_up compute=+2",
            "2 -> 4 replicas",
            "4 lanes",
            "resolved   DCA_Luggage_Scanner.1",
            "no page",
            "delay      opened",
            "incident   DCA_Luggage_Scanner.1, resolved",
            "vault      5 of its 5 records",
            "opened",
            "done scale_up",
            "resolved",
        ],
    );
    assert!(!story.contains("PAGE") && !story.contains("not told"), "{story}");
    assert_eq!(code, Some(0));
}

/// The same, but nobody is there to staff the new lanes: the page comes, the incident stays open.
#[test]
fn when_more_lanes_do_not_help_somebody_is_paged() {
    let (story, code) = demo(&["--no-help"]);
    assert_told(
        &story,
        &[
            "activated",
            "opened     DCA_Luggage_Scanner.1",
            "requested  scale_up compute=+2",
            "2 -> 4 replicas",
            "requested  page channel=tsa_ops severity=critical",
            "fresh readings are over it",
            "paged      tsa_ops",
            "incident   DCA_Luggage_Scanner.1, still open",
            "vault      7 of its 7 records",
            "done page",
        ],
    );
    assert!(story.contains("PAGE tsa_ops (critical)") && !story.contains("resolved   "), "{story}");
    assert_eq!(code, Some(0));
}
