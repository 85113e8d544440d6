//! What a service serves at `/metrics`, as whoever scrapes it sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::rig::cluster::PATIENCE;
use crate::rig::fleet::Ops;

/// Where a process serves something: it says so when it starts, as `http://ADDRESS` and what `follows`.
pub fn address(ops: &Ops, follows: &str) -> String {
    let found = |said: &str| {
        let mut addresses = said.split("http://").skip(1).filter_map(|rest| {
            let end =
                rest.find(|char: char| !(char.is_ascii_digit() || matches!(char, '.' | ':'))).unwrap_or(rest.len());
            let (address, rest) = rest.split_at(end);
            (address.parse::<SocketAddr>().is_ok() && rest.starts_with(follows)).then(|| address.to_owned())
        });
        addresses.next()
    };
    until(|| found(&ops.said()), || format!("it serves nothing\n{}", ops.said()))
}

/// Status line and body of a GET.
pub fn get(address: &str, path: &str) -> (String, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

/// Status line and body of a POST of JSON.
pub fn post(address: &str, path: &str, json: &str) -> (String, String) {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json");
    ask(address, &format!("{head}\r\nContent-Length: {}\r\n\r\n{json}", json.len()))
}

fn ask(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// The status line of what is well.
pub fn ok() -> String {
    "HTTP/1.1 200 OK".to_owned()
}

/// The samples of a text by name and labels.
pub fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// The families of a text: under which name each is asked for, and what of it can be.
pub fn families(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let families = types.map(|(name, kind)| match kind {
        "counter" => (format!("{name}_total"), vec![format!("{name}_total")]),
        "histogram" => (name.to_owned(), ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).to_vec()),
        "gauge" => (name.to_owned(), vec![name.to_owned()]),
        _ => panic!("{name} is a {kind}"),
    });
    families.map(|(name, parts)| (name, parts.into_iter().collect())).collect()
}

/// Asks until there is an answer.
pub fn until<T>(ask: impl Fn() -> Option<T>, never: impl Fn() -> String) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{}", never());
        // Neither a file nor a page of numbers tells that it has changed.
        std::thread::sleep(Duration::from_millis(20));
    }
}
