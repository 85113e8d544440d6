//! The local Kafka itself.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hms_ops::local::kafka::{LocalKafka, Options};

/// Set in the process that plays the parent.
const ROLE: &str = "HMS_OPS_TEST_PARENT";

/// This test runs twice: here, and (with [`ROLE`] set) as the parent of a broker that is killed without warning.
#[test]
fn the_broker_ends_with_its_parent_after_kill_9() {
    if env::var_os(ROLE).is_some() {
        let kafka = LocalKafka::start(&Options::default()).unwrap();
        println!("broker {} {}", kafka.brokers(), kafka.scratch().display());
        loop {
            thread::park();
        }
    }
    let mut parent = Command::new(env::current_exe().unwrap())
        .args(["--exact", "local::the_broker_ends_with_its_parent_after_kill_9", "--nocapture"])
        .env(ROLE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find_map(|line| line.split_once("broker ").map(|(_, rest)| rest.to_owned()));
    let line = line.expect("the parent ended before its broker was ready");
    let (brokers, scratch) = line.split_once(' ').unwrap();
    assert!(TcpStream::connect(brokers).is_ok() && Path::new(scratch).exists());

    parent.kill().unwrap();
    parent.wait().unwrap();

    let killed = Instant::now();
    while TcpStream::connect(brokers).is_ok() || Path::new(scratch).exists() {
        assert!(killed.elapsed() < Duration::from_secs(30), "the broker at {brokers} outlives its parent");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn dropping_the_broker_ends_it_and_removes_its_files() {
    let kafka = LocalKafka::start(&Options::default()).unwrap();
    let (brokers, scratch) = (kafka.brokers().to_owned(), kafka.scratch().to_owned());
    assert!(TcpStream::connect(&brokers).is_ok() && scratch.exists());
    drop(kafka);
    assert!(TcpStream::connect(&brokers).is_err() && !scratch.exists());
}
