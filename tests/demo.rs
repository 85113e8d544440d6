//! `ops demo` happens: the binary tells both of its stories to the end, beat by beat, on a real Kafka; on its own simulated
//! Kubernetes, and beside `tests/kubernetes/run` on a real one (`--kubeconfig`).

use std::process::Command;
use std::sync::OnceLock;

use hms_ops::local::kafka::{Cluster, Options, from_env_or_start};
use tokio::runtime::Runtime;

#[path = "kubernetes/cluster.rs"]
mod kubernetes;

use kubernetes::Kubernetes;

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

/// A real Kubernetes with what the demo wants to find there, if there is one: the demo's own needs nothing.
struct Airport {
    runtime: Runtime,
    kubernetes: Option<Kubernetes>,
}

/// The demo's Deployment.
const LANES: &str = "dca-luggage-scanner";

impl Airport {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let kubernetes = kubernetes::real().map(|_| {
            runtime.block_on(async {
                let kubernetes = Kubernetes::start().await;
                kubernetes.create("Deployment", LANES, 2).await;
                kubernetes.wait_until_ready(LANES, 2).await;
                kubernetes
            })
        });
        Self { runtime, kubernetes }
    }

    /// `ops demo` with the flags and with what leads to this.
    fn demo(&self, flags: &[&str]) -> (String, Option<i32>) {
        let kubeconfig = self.kubernetes.as_ref().and_then(|kubernetes| kubernetes.options().kubeconfig.clone());
        let kubeconfig = kubeconfig.map(|path| format!("--kubeconfig={}", path.display()));
        demo(&flags.iter().copied().chain(kubeconfig.as_deref()).collect::<Vec<_>>())
    }

    /// The real one was scaled as it was told, and by nobody else.
    fn assert_scaled(&self) {
        let Some(kubernetes) = &self.kubernetes else { return };
        self.runtime.block_on(kubernetes.wait_until_ready(LANES, 4));
        assert_eq!(self.runtime.block_on(kubernetes.writes(LANES)), [(2, 4)]);
    }
}

/// The beats are there, one after the other.
fn assert_told(story: &str, beats: &[&str]) {
    let mut rest = story;
    for beat in beats {
        let Some((_, behind)) = rest.split_once(beat) else { panic!("{beat:?} is not told in its place:\n{story}") };
        rest = behind;
    }
}

/// What the vault holds: so many records, and one more if it was said before the end whether the scaling helped.
fn archived(story: &str, records: usize) -> String {
    let judged = [" verified scale_up", " ineffective scale_up"].iter().any(|effect| story.contains(effect));
    let records = records + usize::from(judged);
    format!("vault      {records} of its {records} records")
}

/// queue 12 s -> over 30 s, opened, 2 -> 4, resolved: and nobody was paged.
#[test]
fn more_lanes_help_and_nobody_is_paged() {
    let airport = Airport::new();
    let (story, code) = airport.demo(&[]);
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
            &archived(&story, 5),
            "opened",
            "done scale_up",
            "resolved",
        ],
    );
    assert!(!story.contains("PAGE") && !story.contains("not told"), "{story}");
    assert_eq!(code, Some(0));
    airport.assert_scaled();
}

/// The same, but nobody is there to staff the new lanes: the page comes, the incident stays open.
#[test]
fn when_more_lanes_do_not_help_somebody_is_paged() {
    let airport = Airport::new();
    let (story, code) = airport.demo(&["--no-help"]);
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
            &archived(&story, 7),
            "done page",
        ],
    );
    assert!(story.contains("PAGE tsa_ops (critical)") && !story.contains("resolved   "), "{story}");
    assert_eq!(code, Some(0));
    airport.assert_scaled();
}
