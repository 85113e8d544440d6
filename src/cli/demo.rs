//! `ops demo`: everything in one process, and the story that shows it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{anyhow, bail};
use jiff::SignedDuration;

use crate::cli::stop::StopSignal;
use crate::local::demo::{self, Options};

/// See it work: a local Kafka, a simulated airport scanner that gets into trouble, and everything that helps it.
///
/// Needs a JDK 17 or newer with Maven or KAFKA_HOME, or Docker, or a running Kafka (OPS_BROKERS). Nothing is left behind.
///
/// Exit code: 0 if the story happened, 1 if not, 2 on errors.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  ops demo                      until Ctrl-C; scale by hand and watch
  ops demo --for 60s            for scripts: ends as soon as the story is told
  ops demo --for 60s --no-help  scaling does not help, so somebody is paged")]
pub struct Args {
    /// End after this time, counted from when everything is up, or as soon as the story is told.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// More lanes do not help: nobody is there to staff them.
    #[arg(long)]
    no_help: bool,
    /// Scale in this Kubernetes instead of the simulated one; it must have deployment/dca-luggage-scanner with 2
    /// replicas.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Archive into this directory, and leave it there.
    #[arg(long, value_name = "DIR")]
    keep_vault: Option<PathBuf>,
    /// Use this cluster instead of a local one, HOST:PORT[,HOST:PORT...]; the demo's topics are removed at the end.
    #[arg(long, env = "OPS_BROKERS", value_name = "HOST:PORT")]
    brokers: Option<String>,
}

/// Plays it; the answer is whether the story happened.
///
/// # Errors
/// What it needs is not there, or a part of it ended.
pub fn run(args: Args) -> anyhow::Result<bool> {
    let options = Options {
        brokers: args.brokers.map(|brokers| brokers.trim().to_owned()).filter(|brokers| !brokers.is_empty()),
        duration: args.duration,
        help: !args.no_help,
        kubeconfig: args.kubeconfig,
        keep_vault: args.keep_vault,
        colour: super::colour(&io::stdout()),
        program: std::env::args().next().unwrap_or_else(|| "ops".to_owned()),
    };
    let signal = StopSignal::install()?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    let play = std::thread::Builder::new()
        .name("demo".to_owned())
        .spawn(move || demo::run(&options, &asked, Box::new(io::stdout())))?;
    signal.wait_until(|| play.is_finished());
    stop.store(true, Ordering::Relaxed);
    // Everybody ends in order, which takes a second; who asks again does not want to wait for it.
    signal.wait_until(|| play.is_finished());
    if !play.is_finished() {
        bail!("interrupted before everything had ended in order");
    }
    Ok(play.join().map_err(|_| anyhow!("the demo panicked"))??)
}

/// `60s`, `2m`, or a number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let duration = seconds.or_else(|| text.parse::<SignedDuration>().ok()?.try_into().ok());
    duration.filter(|duration| !duration.is_zero()).ok_or_else(|| "write it as 60s or 2m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_or_is_seconds() {
        for (text, seconds) in [("90s", 90), ("2m", 120), ("45", 45)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "0s", "-5s", "soon"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
