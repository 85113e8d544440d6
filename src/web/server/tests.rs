//! What a server stands, by real connections.

use std::io::{Read, Write};
use std::net::TcpStream;

use axum::routing::{get, post};
use serde_json::{Value, json};

use super::*;
use crate::web::extract::{Body, Json, Query};

/// Long enough that only what hangs reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

fn tight() -> Limits {
    Limits {
        body_bytes: 10_000,
        bodies_bytes: 20 * 1024,
        body_within: Duration::from_millis(200),
        head_bytes: 8 * 1024,
        head_within: Duration::from_millis(200),
        connections: 4,
        grace: Duration::from_secs(5),
    }
}

async fn length(body: Body) -> String {
    body.bytes.len().to_string()
}

async fn sum(Json(numbers): Json<Vec<i64>>) -> String {
    numbers.iter().sum::<i64>().to_string()
}

#[derive(serde::Deserialize)]
struct Ask {
    from: i64,
}

async fn ask(Query(ask): Query<Ask>) -> String {
    ask.from.to_string()
}

fn start(limits: Limits) -> Server {
    let router = Router::new().route("/length", post(length)).route("/sum", post(sum)).route("/ask", get(ask));
    Server::start(Options { limits, ..Options::new("test", "127.0.0.1:0".parse().unwrap()) }, router).unwrap()
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything until the server closes.
fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset after the answer is an end too.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

/// Status, head and body of the answer to a request on a connection of its own.
fn exchange(server: &Server, request: &str) -> (u16, String, String) {
    let mut stream = connect(server);
    stream.write_all(request.as_bytes()).unwrap();
    split(&rest(stream))
}

fn split(answer: &str) -> (u16, String, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (head[9..12].parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

fn post_to(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

fn problem(answer: &(u16, String, String)) -> Value {
    assert!(answer.1.contains("content-type: application/problem+json"), "{answer:?}");
    serde_json::from_str(&answer.2).unwrap()
}

#[test]
fn what_is_not_served_is_answered_with_a_problem_that_names_it() {
    let server = start(Limits::default());
    let answer = exchange(&server, "GET /nowhere?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let told = json!({
        "type": "urn:hms-ops:problem:not_found", "title": "There is no such thing here", "status": 404,
        "detail": "nothing is served at /nowhere", "instance": "/nowhere"
    });
    assert_eq!(problem(&answer), told);
    let answer = exchange(&server, "GET /length HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!((answer.0, problem(&answer)["type"].as_str()), (405, Some("urn:hms-ops:problem:method_not_allowed")));
    assert!(answer.1.contains("\r\nallow: post"), "{}", answer.1);
    let answer = exchange(&server, "GET /ask?from=x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!((answer.0, problem(&answer)["instance"].as_str()), (400, Some("/ask")));
}

#[test]
fn json_is_taken_as_json_and_what_is_none_says_where() {
    let server = start(Limits::default());
    let json = "Content-Type: application/json\r\n";
    assert_eq!(exchange(&server, &post_to("/sum", json, "[1,2]")).2, "3");
    assert_eq!(problem(&exchange(&server, &post_to("/sum", "", "[1,2]")))["status"], 415);
    let wrong = problem(&exchange(&server, &post_to("/sum", json, "[1,\nx]")));
    assert_eq!(wrong["status"], 400);
    assert!(wrong["detail"].as_str().unwrap().contains("line 2"), "{wrong}");
}

#[test]
fn a_body_over_the_limit_is_refused_whether_it_says_so_or_not() {
    let server = start(tight());
    assert_eq!(exchange(&server, &post_to("/length", "", &"x".repeat(10_000))).2, "10000");
    let head = "POST /length HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    // Nothing of the body is sent: it is refused for what it says.
    let said = exchange(&server, &format!("{head}Content-Length: 10001\r\n\r\n"));
    assert_eq!(problem(&said)["status"], 413);
    let chunked =
        exchange(&server, &format!("{head}Transfer-Encoding: chunked\r\n\r\n2711\r\n{}\r\n", "x".repeat(10_001)));
    assert_eq!(problem(&chunked)["status"], 413);
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    let server = start(tight());
    let mut stream = connect(&server);
    stream.write_all(b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx").unwrap();
    let answer = split(&rest(stream));
    assert_eq!(problem(&answer)["type"], "urn:hms-ops:problem:slow_body");
}

/// Two bodies that are on their way fill the memory; the third is told to come again, and comes when there is room.
#[test]
fn bodies_together_stay_within_the_memory_for_them() {
    let server = start(Limits { body_within: PATIENCE, ..tight() });
    let begun = || {
        let mut stream = connect(&server);
        stream
            .write_all(
                b"POST /length HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 10000\r\n\r\n",
            )
            .unwrap();
        stream
    };
    let (mut first, _second) = (begun(), begun());
    let third = || exchange(&server, &post_to("/length", "", &"x".repeat(9_000)));
    let deadline = std::time::Instant::now() + PATIENCE;
    let refused = loop {
        let answer = third();
        if answer.0 == 429 {
            break answer;
        }
        assert!(std::time::Instant::now() < deadline, "the memory never fills");
    };
    assert!(refused.1.contains("\r\nretry-after: 1"), "{}", refused.1);
    assert_eq!(problem(&refused)["type"], "urn:hms-ops:problem:overloaded");
    first.write_all(&[b'x'; 10_000]).unwrap();
    assert_eq!(split(&rest(first)).2, "10000");
    assert_eq!(third().2, "9000");
}

#[test]
fn slow_heads_idle_connections_and_long_heads_are_closed() {
    let server = start(tight());
    let mut slow = connect(&server);
    slow.write_all(b"GET /ask HTTP/1.1\r\nHo").unwrap();
    let idle = connect(&server);
    let mut kept = connect(&server);
    kept.write_all(b"GET /ask?from=1 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(!rest(slow).contains("200"));
    assert_eq!(rest(idle), "");
    assert!(rest(kept).contains("200"), "answered, then idle, then closed");
    let long = exchange(&server, &format!("GET /ask HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(9_000)));
    assert_eq!(long.0, 431);
}

fn answered(server: &Server) -> (u16, String, String) {
    exchange(server, "GET /ask?from=7 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

/// Each of them is told, none waits; who has a place keeps it, and a place that is given back is taken again.
#[test]
fn connections_beyond_the_limit_are_told_to_come_again() {
    let server = start(Limits { connections: 2, head_within: PATIENCE, ..tight() });
    let mut kept = connect(&server);
    let idle = connect(&server);
    let crowd: Vec<_> = (0..300).map(|_| connect(&server)).collect();
    let refused = answered(&server);
    assert_eq!((refused.0, problem(&refused)["type"].as_str()), (503, Some("urn:hms-ops:problem:unavailable")));
    assert!(refused.1.contains("\r\nretry-after: 5") && refused.1.contains("\r\nconnection: close"), "{}", refused.1);
    for stream in crowd {
        assert!(rest(stream).starts_with("HTTP/1.1 503"), "silent, and told all the same");
    }
    kept.write_all(b"GET /ask?from=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(split(&rest(kept)).2, "1");
    drop(idle);
    let deadline = std::time::Instant::now() + PATIENCE;
    while answered(&server).0 != 200 {
        assert!(std::time::Instant::now() < deadline, "the places are never given back");
    }
}

/// Whoever connects and says nothing has a place for as long as a head may take, no longer.
#[test]
fn the_places_of_the_silent_are_free_again() {
    let server = start(Limits { connections: 50, ..tight() });
    let silent: Vec<_> = (0..50).map(|_| connect(&server)).collect();
    let deadline = std::time::Instant::now() + PATIENCE;
    while answered(&server).0 != 200 {
        assert!(std::time::Instant::now() < deadline, "the silent keep their places");
    }
    for stream in silent {
        assert_eq!(rest(stream), "");
    }
}

#[test]
fn requests_in_hand_are_answered_at_the_end() {
    let server = start(Limits { body_within: PATIENCE, grace: PATIENCE, ..tight() });
    let mut stream = connect(&server);
    stream
        .write_all(b"POST /length HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        .unwrap();
    // It is in hand when it is told to go on.
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert!(told.starts_with(b"HTTP/1.1 100"), "{told:?}");
    let ending = std::thread::spawn(move || drop(server));
    stream.write_all(b"abc").unwrap();
    assert_eq!(split(&rest(stream)).2, "3");
    ending.join().unwrap();
}
