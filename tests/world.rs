//! The drivers over real HTTP, against servers that fail, lie and hang. What a sound Kubernetes does with what the
//! driver of it asks is in `tests/kubernetes.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hms_ops::local::world::{SimulatedCluster, SimulatedDeployment};
use hms_ops::model::spec::Workload;
use hms_ops::world::WorldError;
use hms_ops::world::kubernetes::{Cluster, Options};
use hms_ops::world::scale::Owner;
use hms_ops::world::webhook::Webhook;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const SOON: Duration = Duration::from_secs(20);

async fn driver(url: String) -> Cluster {
    Cluster::connect(&Options { server: Some(url), ..Options::default() }).await.unwrap()
}

fn scanner() -> Workload {
    Workload { kind: "deployment".into(), name: "scanner".into(), namespace: None, context: None }
}

/// (A HorizontalPodAutoscaler is found in tests/kubernetes, and KEDA's on a real API.)
#[tokio::test]
async fn a_scaled_object_that_owns_the_replicas_is_found() {
    let scanner_2 = SimulatedDeployment { namespace: "default".into(), name: "scanner".into(), replicas: 2 };
    let simulated = SimulatedCluster::start(ANY, Duration::from_millis(50), vec![scanner_2]).await.unwrap();
    let driver = driver(simulated.url()).await;
    timeout(SOON, simulated.wait_until_ready("default", "scanner", 2)).await.unwrap();
    simulated.add_scaled_object("other", "elsewhere", "scanner");
    assert_eq!(driver.scale_of(&scanner()).await.unwrap().managed_by, None);
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
