//! Plain `kubectl` sees and does on the simulated API what it does on a real one.

use std::process::Output;

use hms_ops::world::WorldError;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::cluster::{Kubernetes, SOON, read, scanner};

/// `kubectl` as somebody who may do everything, its caches in a scratch directory; `None` where it is not installed.
struct Kubectl<'a> {
    kubernetes: &'a Kubernetes,
}

impl<'a> Kubectl<'a> {
    async fn of(kubernetes: &'a Kubernetes) -> Option<Self> {
        let found = Command::new("kubectl").args(["version", "--client"]).output().await;
        if !found.is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("OPS_TEST_REQUIRE_TOOLS").is_none(), "kubectl is not installed");
            eprintln!("skipped: kubectl is not installed");
            return None;
        }
        Some(Self { kubernetes })
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new("kubectl");
        command.arg(self.kubernetes.kubectl()).args(arguments.split(' '));
        command.env("HOME", self.kubernetes.scratch()).env_remove("KUBECONFIG").kill_on_drop(true);
        command
    }

    async fn output(&self, arguments: &str) -> Output {
        timeout(SOON, self.command(arguments).output()).await.expect("kubectl hangs").unwrap()
    }

    /// What it prints, runs of spaces made one.
    async fn run(&self, arguments: &str) -> String {
        let output = self.output(arguments).await;
        assert!(output.status.success(), "kubectl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
    }
}

#[tokio::test]
async fn kubectl_gets_what_is_there() {
    let kubernetes = Kubernetes::with_scanner(2).await;
    let Some(kubectl) = Kubectl::of(&kubernetes).await else { return };
    let deployments = kubectl.run("get deployments").await;
    assert!(deployments.starts_with("NAME READY UP-TO-DATE AVAILABLE AGE\nscanner 2/2 2 2 "), "{deployments}");
    let pods = kubectl.run("get pods -l app=scanner").await;
    assert_eq!(pods.matches("1/1 Running 0 ").count(), 2, "{pods}");
    let yaml = kubectl.run("get deployment scanner -o yaml").await;
    assert!(yaml.contains("kind: Deployment\n") && yaml.contains("replicas: 2\n"), "{yaml}");
    kubernetes.add_autoscaler("of-the-scanner", "scanner").await;
    let autoscalers = kubectl.run("get hpa").await;
    let expected = "NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE\n\
                    of-the-scanner Deployment/scanner cpu: <unknown>/80% 1 10 ";
    assert!(autoscalers.starts_with(expected), "{autoscalers}");
    kubernetes.create("StatefulSet", "store", 1).await;
    kubernetes.wait_until_ready("store", 1).await;
    let sets = kubectl.run("get statefulsets").await;
    assert!(sets.starts_with("NAME READY AGE\nstore 1/1 "), "{sets}");
    let missing = kubectl.output("get deployment gate").await;
    let said = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(said, "Error from server (NotFound): deployments.apps \"gate\" not found\n");
}

#[tokio::test]
async fn kubectl_scales_and_patches_and_the_driver_sees_it() {
    let kubernetes = Kubernetes::with_scanner(2).await;
    let Some(kubectl) = Kubectl::of(&kubernetes).await else { return };
    let driver = kubernetes.driver().await;
    let before = read(&driver).await;
    kubectl.run("scale deployment/scanner --replicas=5").await;
    let late = driver.set_replicas(&scanner(), &before.uid, &before.resource_version, 4).await;
    assert!(matches!(late, Err(WorldError::Conflict { .. })));
    kubectl.run("rollout status deployment/scanner --timeout=60s").await;
    kubernetes.wait_until_ready("scanner", 5).await;
    let after = read(&driver).await;
    assert_eq!((after.replicas, after.ready, after.generation), (5, Some(5), 2));

    kubectl.run("patch deployment scanner -p {\"spec\":{\"replicas\":3}}").await;
    kubectl.run("patch deployment scanner --type=merge -p {\"spec\":{\"replicas\":1}}").await;
    assert_eq!(kubernetes.writes("scanner").await, [(2, 5), (5, 3), (3, 1)]);

    let refused = kubectl.output("scale deployment/scanner --replicas=9 --current-replicas=7").await;
    assert!(!refused.status.success());
    assert_eq!(kubernetes.replicas("scanner").await, 1);
}

#[tokio::test]
async fn kubectl_watches_the_driver_scale() {
    let kubernetes = Kubernetes::with_scanner(2).await;
    let Some(kubectl) = Kubectl::of(&kubernetes).await else { return };
    let mut child = kubectl.command("get deployment scanner -w").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = timeout(SOON, lines.next_line()).await.expect("no news").unwrap().expect("the watch ended");
        line.split_whitespace().take(4).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(next().await, "NAME READY UP-TO-DATE AVAILABLE");
    assert_eq!(next().await, "scanner 2/2 2 2");
    let driver = kubernetes.driver().await;
    let before = read(&driver).await;
    driver.set_replicas(&scanner(), &before.uid, &before.resource_version, 4).await.unwrap();
    while next().await != "scanner 4/4 4 4" {}
    child.kill().await.unwrap();
}
