//! The drivers against the simulated world, over real HTTP: what a scale really does, what the API server itself
//! refuses, and that plain `kubectl` sees and does the same.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

use hms_ops::local::world::{SimulatedCluster, SimulatedDeployment};
use hms_ops::model::spec::Workload;
use hms_ops::world::WorldError;
use hms_ops::world::kubernetes::{Cluster, Options};
use hms_ops::world::scale::{Owner, ScaleState, Scaled};
use hms_ops::world::webhook::Webhook;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const SOON: Duration = Duration::from_secs(20);

async fn simulated() -> SimulatedCluster {
    let scanner = SimulatedDeployment { namespace: "default".into(), name: "scanner".into(), replicas: 2 };
    SimulatedCluster::start(ANY, Duration::from_millis(50), vec![scanner]).await.unwrap()
}

async fn driver(url: String) -> Cluster {
    Cluster::connect(&Options { server: Some(url), ..Options::default() }).await.unwrap()
}

async fn both() -> (SimulatedCluster, Cluster) {
    let simulated = simulated().await;
    let url = simulated.url();
    let driver = driver(url).await;
    timeout(SOON, simulated.wait_until_ready("default", "scanner", 2)).await.unwrap();
    (simulated, driver)
}

fn scanner() -> Workload {
    Workload { kind: "deployment".into(), name: "scanner".into(), namespace: None, context: None }
}

async fn set(driver: &Cluster, read: &ScaleState, to: u32) -> Result<Scaled, WorldError> {
    driver.set_replicas(&scanner(), &read.uid, &read.resource_version, to).await
}

#[tokio::test]
async fn scaling_up_and_down_moves_the_pods_and_the_generation() {
    let (simulated, driver) = both().await;
    let before = driver.scale_of(&scanner()).await.unwrap();
    assert_eq!((before.replicas, before.ready, before.generation, &before.managed_by), (2, Some(2), 1, &None));

    let written = set(&driver, &before, 4).await.unwrap();
    assert_eq!((written.replicas, &written.uid), (4, &before.uid));
    timeout(SOON, simulated.wait_until_ready("default", "scanner", 4)).await.unwrap();
    let after = driver.scale_of(&scanner()).await.unwrap();
    assert_eq!((after.replicas, after.ready, after.generation), (4, Some(4), 2));

    set(&driver, &after, 0).await.unwrap();
    timeout(SOON, simulated.wait_until_ready("default", "scanner", 0)).await.unwrap();
    let none = driver.scale_of(&scanner()).await.unwrap();
    assert_eq!((none.replicas, none.ready, none.generation), (0, Some(0), 3));

    let steps: Vec<_> = simulated.writes().iter().map(|write| (write.from, write.to)).collect();
    assert_eq!(steps, [(2, 4), (4, 0)]);
}

#[tokio::test]
async fn the_same_write_twice_is_refused_by_the_server() {
    let (simulated, driver) = both().await;
    let read = driver.scale_of(&scanner()).await.unwrap();
    set(&driver, &read, 4).await.unwrap();
    assert!(matches!(set(&driver, &read, 4).await, Err(WorldError::Conflict { .. })));
    assert_eq!(simulated.writes().len(), 1);
}

#[tokio::test]
async fn a_rival_between_read_and_write_wins() {
    let (simulated, driver) = both().await;
    let read = driver.scale_of(&scanner()).await.unwrap();
    assert!(simulated.scale_by_hand("default", "scanner", 7));
    let refused = set(&driver, &read, 4).await.unwrap_err();
    assert!(
        matches!(&refused, WorldError::Conflict { reason, .. } if reason.contains("has been modified")),
        "{refused}"
    );
    assert_eq!(simulated.replicas("default", "scanner"), Some(7));
}

#[tokio::test]
async fn a_deployment_that_was_made_again_is_another_one() {
    let (simulated, driver) = both().await;
    let old = driver.scale_of(&scanner()).await.unwrap();
    assert!(simulated.delete("default", "scanner"));
    assert!(matches!(driver.scale_of(&scanner()).await, Err(WorldError::NotFound { .. })));
    assert!(matches!(set(&driver, &old, 4).await, Err(WorldError::NotFound { .. })));

    assert!(simulated.create("default", "scanner", 2));
    timeout(SOON, simulated.wait_until_ready("default", "scanner", 2)).await.unwrap();
    let new = driver.scale_of(&scanner()).await.unwrap();
    assert_ne!(new.uid, old.uid);
    // Even at the version of today: the uid alone refuses it.
    let stolen = ScaleState { uid: old.uid, ..new };
    let refused = set(&driver, &stolen, 4).await.unwrap_err();
    assert!(matches!(&refused, WorldError::Conflict { reason, .. } if reason.contains("UID")), "{refused}");
    assert_eq!(simulated.replicas("default", "scanner"), Some(2));
}

#[tokio::test]
async fn a_write_without_a_fence_is_not_even_sent() {
    let (simulated, driver) = both().await;
    let read = driver.scale_of(&scanner()).await.unwrap();
    for (uid, version) in [("", read.resource_version.as_str()), (read.uid.as_str(), "")] {
        let refused = driver.set_replicas(&scanner(), uid, version, 4).await;
        assert!(matches!(refused, Err(WorldError::Invalid { .. })));
    }
    assert!(simulated.writes().is_empty());
}

#[tokio::test]
async fn whoever_else_owns_the_replicas_is_found() {
    let (simulated, driver) = both().await;
    assert!(simulated.create("default", "gate", 1));
    simulated.add_autoscaler("default", "of-the-gate", "gate");
    simulated.add_autoscaler("other", "elsewhere", "scanner");
    assert_eq!(driver.scale_of(&scanner()).await.unwrap().managed_by, None);
    simulated.add_autoscaler("default", "of-the-scanner", "scanner");
    assert_eq!(driver.scale_of(&scanner()).await.unwrap().managed_by, Some(Owner::Hpa("of-the-scanner".into())));
    simulated.add_scaled_object("default", "queue-scaler", "scanner");
    assert_eq!(driver.scale_of(&scanner()).await.unwrap().managed_by, Some(Owner::Keda("queue-scaler".into())));
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let address = TcpListener::bind(ANY).await.unwrap().local_addr().unwrap();
    let driver = driver(format!("http://{address}")).await;
    assert!(matches!(driver.scale_of(&scanner()).await, Err(WorldError::Unreachable { .. })));
}

/// A receiver that takes one request, gives it back and answers `answer` (or nothing, if it is empty).
async fn answering(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let request = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let text = request(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        text
    });
    (url, request)
}

/// Reads one request with its body.
async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() >= length.parse().unwrap() {
                return text;
            }
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "the request breaks off");
        bytes.extend_from_slice(&buffer[..read]);
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_or_garbage_has_an_unknown_outcome() {
    for answer in
        ["", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n<html", "HTTP/1.1 504 x\r\ncontent-length: 0\r\n\r\n"]
    {
        let (url, _request) = answering(answer).await;
        let unknown = driver(url).await.set_replicas(&scanner(), "u", "1", 4).await.unwrap_err();
        assert!(matches!(unknown, WorldError::Unknown { .. }), "{answer:?}: {unknown}");
    }
}

#[tokio::test]
async fn a_write_is_sent_once_whatever_the_server_says() {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let driver = driver(format!("http://{}", listener.local_addr().unwrap())).await;
    let workload = scanner();
    let write = driver.set_replicas(&workload, "u", "1", 4);
    let mut requests = 0;
    let busy = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            requests += 1;
            stream.write_all(b"HTTP/1.1 503 x\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    };
    let answer = tokio::select! {
        answer = write => answer,
        () = busy => unreachable!("it accepts for ever"),
    };
    assert!(matches!(answer, Err(WorldError::Unknown { .. })), "{answer:?}");
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn a_webhook_sends_its_key_and_its_headers() {
    let (url, request) = answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let headers = BTreeMap::from([("authorization".to_owned(), "Bearer abc".to_owned())]);
    let webhook = Webhook::new(&format!("{url}/page?team=tsa"), &headers).unwrap();
    webhook.post("k-1", &json!({"text": "queue"})).await.unwrap();
    let request = request.await.unwrap();
    assert!(request.starts_with("post /page?team=tsa http/1.1\r\n"), "{request}");
    for part in ["idempotency-key: k-1\r\n", "authorization: bearer abc\r\n", "{\"text\":\"queue\"}"] {
        assert!(request.contains(part), "{part} in {request}");
    }
}

#[tokio::test]
async fn what_a_receiver_answers_decides_what_is_known() {
    type Expected = fn(&WorldError) -> bool;
    let cases: [(&str, Expected); 8] = [
        (
            "HTTP/1.1 429 x\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nslow",
            |error| matches!(error, WorldError::Refused { status: 429, retry_after_ms: Some(7000), reason, .. } if reason == "slow"),
        ),
        ("HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n", |error| {
            matches!(error, WorldError::Refused { status: 503, .. })
        }),
        ("HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n", |error| matches!(error, WorldError::Unknown { .. })),
        ("HTTP/1.1 400 x\r\ncontent-length: 0\r\n\r\n", |error| {
            matches!(error, WorldError::Refused { status: 400, .. })
        }),
        ("HTTP/1.1 403 x\r\ncontent-length: 0\r\n\r\n", |error| matches!(error, WorldError::Forbidden { .. })),
        ("HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n", |error| matches!(error, WorldError::NotFound { .. })),
        ("HTTP/1.1 302 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", |error| {
            matches!(error, WorldError::Refused { status: 302, .. })
        }),
        ("", |error| matches!(error, WorldError::Unknown { .. })),
    ];
    for (answer, expected) in cases {
        let (url, _request) = answering(answer).await;
        let error = Webhook::new(&url, &BTreeMap::new()).unwrap().post("k", &json!({})).await.unwrap_err();
        assert!(expected(&error), "{answer:?}: {error}");
    }
    let (url, _request) = answering("HTTP/1.1 409 Conflict\r\ncontent-length: 0\r\n\r\n").await;
    Webhook::new(&url, &BTreeMap::new()).unwrap().post("k", &json!({})).await.expect("409 is done before");
}

#[tokio::test]
async fn a_webhook_to_nobody_was_not_sent() {
    let address = TcpListener::bind(ANY).await.unwrap().local_addr().unwrap();
    let webhook = Webhook::new(&format!("http://{address}/t0ken"), &BTreeMap::new()).unwrap();
    let error = webhook.post("k", &json!({})).await.unwrap_err();
    assert!(matches!(error, WorldError::Unreachable { .. }), "{error}");
    assert!(!error.to_string().contains("t0ken"), "{error}");
    let large = json!("x".repeat(300 * 1024));
    assert!(matches!(webhook.post("k", &large).await, Err(WorldError::Invalid { .. })));
}

/// Plain `kubectl` without a kubeconfig, its caches in a scratch directory; `None` where it is not installed.
struct Kubectl {
    server: String,
    scratch: tempfile::TempDir,
}

impl Kubectl {
    async fn of(simulated: &SimulatedCluster) -> Option<Self> {
        let found = Command::new("kubectl").args(["version", "--client"]).output().await;
        if !found.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: kubectl is not installed");
            return None;
        }
        Some(Self { server: simulated.url(), scratch: tempfile::tempdir().unwrap() })
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new("kubectl");
        command.arg(format!("--server={}", self.server)).args(arguments.split(' '));
        command.env("HOME", self.scratch.path()).env_remove("KUBECONFIG").kill_on_drop(true);
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
    let (simulated, _driver) = both().await;
    let Some(kubectl) = Kubectl::of(&simulated).await else { return };
    let deployments = kubectl.run("get deployments").await;
    assert!(deployments.starts_with("NAME READY UP-TO-DATE AVAILABLE AGE\nscanner 2/2 2 2 "), "{deployments}");
    let pods = kubectl.run("get pods -l app=scanner").await;
    assert_eq!(pods.matches("1/1 Running 0 ").count(), 2, "{pods}");
    let yaml = kubectl.run("get deployment scanner -o yaml").await;
    assert!(yaml.contains("kind: Deployment\n") && yaml.contains("replicas: 2\n"), "{yaml}");
    simulated.add_autoscaler("default", "of-the-scanner", "scanner");
    let autoscalers = kubectl.run("get hpa -A").await;
    assert!(autoscalers.contains("default of-the-scanner Deployment/scanner 1 10 "), "{autoscalers}");
    let missing = kubectl.output("get deployment gate").await;
    let said = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(said, "Error from server (NotFound): deployments.apps \"gate\" not found\n");
}

#[tokio::test]
async fn kubectl_scales_and_patches_and_the_driver_sees_it() {
    let (simulated, driver) = both().await;
    let Some(kubectl) = Kubectl::of(&simulated).await else { return };
    let before = driver.scale_of(&scanner()).await.unwrap();
    kubectl.run("scale deployment/scanner --replicas=5").await;
    assert!(matches!(set(&driver, &before, 4).await, Err(WorldError::Conflict { .. })));
    kubectl.run("rollout status deployment/scanner --timeout=10s").await;
    let after = driver.scale_of(&scanner()).await.unwrap();
    assert_eq!((after.replicas, after.ready, after.generation), (5, Some(5), 2));

    kubectl.run("patch deployment scanner -p {\"spec\":{\"replicas\":3}}").await;
    kubectl.run("patch deployment scanner --type=merge -p {\"spec\":{\"replicas\":1}}").await;
    let steps: Vec<_> = simulated.writes().into_iter().map(|write| (write.from, write.to)).collect();
    assert_eq!(steps, [(2, 5), (5, 3), (3, 1)]);
    assert!(simulated.writes().iter().all(|write| write.user_agent.starts_with("kubectl/")));

    let refused = kubectl.output("scale deployment/scanner --replicas=9 --current-replicas=7").await;
    assert!(!refused.status.success());
    assert_eq!(simulated.replicas("default", "scanner"), Some(1));
}

#[tokio::test]
async fn kubectl_watches_the_driver_scale() {
    let (simulated, driver) = both().await;
    let Some(kubectl) = Kubectl::of(&simulated).await else { return };
    let mut child = kubectl.command("get deployment scanner -w").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = timeout(SOON, lines.next_line()).await.expect("no news").unwrap().expect("the watch ended");
        line.split_whitespace().take(4).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(next().await, "NAME READY UP-TO-DATE AVAILABLE");
    assert_eq!(next().await, "scanner 2/2 2 2");
    let read = driver.scale_of(&scanner()).await.unwrap();
    set(&driver, &read, 4).await.unwrap();
    while next().await != "scanner 4/4 4 4" {}
    child.kill().await.unwrap();
}
