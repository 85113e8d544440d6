//! `ops local-kafka`: the Kafka of demo and tests by itself, for tests in other languages. Hidden: no user needs it.

use std::io;

use serde_json::json;

use crate::local::kafka::{LocalKafka, Options};

/// A single-node Apache Kafka on loopback, until stdin ends. Without topics: `ops topics apply`.
///
/// Prints one line of JSON when it is there: its address (`brokers`) and the broker's process (`pid`).
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Runs until stdin ends, which it does with whoever started this.
pub fn run(_: &Args) -> anyhow::Result<bool> {
    let kafka = LocalKafka::start(&Options::default())?;
    println!("{}", json!({"brokers": kafka.brokers(), "pid": kafka.pid()?}));
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(true)
}
