//! `ops local-kubernetes`: the simulated Kubernetes API of demo and tests by itself, for tests in other languages. Hidden: no
//! user needs it.

use std::io;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use crate::local::world::{SimulatedCluster, SimulatedDeployment};

/// A Kubernetes API on loopback that runs nothing, until stdin ends. Prints one line of JSON when it is there: its address
/// (`url`).
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A deployment that is there from the start.
    #[arg(value_name = "NAMESPACE/NAME=REPLICAS", value_parser = deployment)]
    deployments: Vec<SimulatedDeployment>,
}

fn deployment(text: &str) -> Result<SimulatedDeployment, String> {
    let parse = || {
        let (place, replicas) = text.split_once('=')?;
        let (namespace, name) = place.split_once('/')?;
        let replicas = replicas.parse().ok()?;
        Some(SimulatedDeployment { namespace: namespace.to_owned(), name: name.to_owned(), replicas })
    };
    parse().ok_or_else(|| "write it as default/scanner=2".to_owned())
}

/// Runs until stdin ends, which it does with whoever started this.
pub fn run(args: Args) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let start = SimulatedCluster::start(([127, 0, 0, 1], 0).into(), Duration::from_millis(100), args.deployments);
    let cluster = runtime.block_on(start).context("cannot serve the simulated API")?;
    println!("{}", json!({"url": cluster.url()}));
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(true)
}
