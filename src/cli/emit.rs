//! `ops emit`: readings onto the bus, one from the command line or many from stdin. What is checked and how it is
//! sent is in `sdk::emit`; how rows are written, in `history`.

use std::collections::BTreeMap;
use std::io;
use std::thread;
use std::time::Duration;

use anyhow::Context;

use super::connect::{Connect, pair};
use super::history::{self, Row};
use super::progress::{Progress, REDRAW};
use crate::model::reading::Reading;
use crate::sdk::emit::{Counts, Emitter};
use crate::sdk::retime::Retime;
use crate::telemetry::clock::now_ms;

/// So many refused rows are shown one by one; the rest is counted.
const SHOWN: u64 = 10;

/// Publishes readings and waits until the cluster has acknowledged every one.
///
/// Names are checked against the registered services. From --stdin come JSON lines
/// (`{"service":..,"sensor":..,"ts":..,"value":..}`) or CSV with a header (`timestamp,value`, also `sensor` and
/// `service`); what a row does not say is taken from --sensor, --service and the clock.
///
/// Exit code: 0 if every reading was delivered, 1 if some were refused here or not acknowledged, 2 if something
/// failed.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  ops emit queue_time_seconds 31.2 --service DCA_Luggage_Scanner\n  ops emit --stdin --service travel --sensor travel_time --retime 600 < history.csv"
)]
pub struct Args {
    /// The sensor.
    #[arg(value_name = "SENSOR", required_unless_present = "stdin", conflicts_with = "stdin", requires = "value")]
    name: Option<String>,
    /// The value.
    #[arg(value_name = "VALUE", allow_negative_numbers = true)]
    value: Option<f64>,
    /// Read many from stdin: JSON lines or CSV.
    #[arg(long)]
    stdin: bool,
    /// The service (of rows that name none).
    #[arg(long, env = "OPS_SERVICE", value_name = "ID")]
    service: Option<String>,
    /// The sensor of rows that name none.
    #[arg(long, value_name = "NAME", requires = "stdin")]
    sensor: Option<String>,
    /// Event time, ms since 1970 or a time stamp; now, if it is not given.
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "stdin")]
    ts: Option<i64>,
    /// An attribute of the reading (may be repeated): pod=scanner-1.
    #[arg(long = "attr", value_name = "KEY=VALUE", value_parser = pair)]
    attributes: Vec<(String, String)>,
    /// Map recorded time onto now, SPEED times as fast: each row is sent when it is due, with that time as its own.
    #[arg(long, value_name = "SPEED", value_parser = speed, requires = "stdin")]
    retime: Option<Retime>,
    #[command(flatten)]
    connect: Connect,
}

fn time(text: &str) -> Result<i64, String> {
    history::parse_time(text).map_err(|error| format!("{error:#}"))
}

fn speed(text: &str) -> Result<Retime, String> {
    text.parse().ok().and_then(Retime::new).ok_or_else(|| "a speed is a number above 0, such as 600".to_owned())
}

/// Emits; `Ok(false)` if some readings were refused or not acknowledged.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let (settings, topics) = args.connect.reach("ops-emit")?;
    let mut session = Session {
        args,
        emitter: Emitter::open(&settings, &topics)?,
        retime: args.retime,
        progress: Progress::new(),
        refused: 0,
    };
    let read = if args.stdin {
        history::read(io::stdin().lock(), |row| session.take(row)).context("reading stdin")
    } else {
        let (ts, sensor, value) = (args.ts, args.name.clone(), args.value.unwrap_or(f64::NAN));
        session.take(Row { line: 1, ts, service: None, sensor, value, attributes: BTreeMap::new() })
    };
    // What was taken before an error is still waited for and counted.
    let counts = session.emitter.flush();
    session.progress.clear();
    report(&counts, session.refused);
    read.map(|()| counts.is_complete() && session.refused == 0)
}

/// One run of the command.
struct Session<'a> {
    args: &'a Args,
    emitter: Emitter,
    retime: Option<Retime>,
    progress: Progress,
    refused: u64,
}

impl Session<'_> {
    /// Sends a row when it is due, or says why not.
    fn take(&mut self, row: Row) -> anyhow::Result<()> {
        let line = row.line;
        match self.reading(row) {
            Err(why) => self.refuse(line, why),
            Ok(reading) => {
                self.wait_until(reading.ts);
                if let Err(refused) = self.emitter.emit(&reading)? {
                    self.refuse(line, &refused.to_string());
                }
            }
        }
        self.draw();
        Ok(())
    }

    /// The reading that a row is, or why it is none.
    fn reading(&mut self, row: Row) -> Result<Reading<'static>, &'static str> {
        let service = row.service.or_else(|| self.args.service.clone());
        let sensor = row.sensor.or_else(|| self.args.sensor.clone());
        let ts = match (&mut self.retime, row.ts) {
            (None, ts) => ts.unwrap_or_else(now_ms),
            (Some(retime), Some(ts)) => retime.due(ts, now_ms()),
            (Some(_), None) => return Err("it has no timestamp to be retimed"),
        };
        let given = self.args.attributes.iter().cloned().chain(row.attributes);
        Ok(Reading {
            service: service.ok_or("of which service? Give --service ID or set OPS_SERVICE")?.into(),
            sensor: sensor.ok_or("of which sensor? Give --sensor NAME")?.into(),
            ts,
            value: row.value,
            attributes: given.map(|(name, text)| (name.into(), text.into())).collect(),
        })
    }

    /// With `--retime`, waits until the host's clock says `ts`.
    fn wait_until(&mut self, ts: i64) {
        if self.retime.is_none() {
            return;
        }
        loop {
            let ahead = u64::try_from(ts.saturating_sub(now_ms())).unwrap_or(0);
            if ahead == 0 {
                return;
            }
            self.draw();
            thread::sleep(Duration::from_millis(ahead).min(REDRAW));
        }
    }

    fn draw(&mut self) {
        let (emitter, refused) = (&self.emitter, self.refused);
        self.progress.show(|| {
            let (sent, on_their_way) = emitter.progress();
            format!("{sent} sent, {on_their_way} on their way, {refused} refused")
        });
    }

    fn refuse(&mut self, line: u64, why: &str) {
        self.refused += 1;
        if self.refused <= SHOWN {
            self.progress.clear();
            let place = if self.args.stdin { format!("line {line}: ") } else { String::new() };
            eprintln!("refused: {place}{why}");
        }
        if self.refused == SHOWN + 1 {
            self.progress.clear();
            eprintln!("refused: more follow and are only counted");
        }
    }
}

/// The counts at the end, for people.
fn report(counts: &Counts, refused: u64) {
    let mut parts = vec![format!("{} delivered", counts.delivered)];
    if refused > 0 {
        parts.push(format!("{refused} refused"));
    }
    parts.extend(counts.failed.iter().map(|(reason, n)| format!("{n} not taken by the cluster ({reason})")));
    if counts.pending > 0 {
        parts.push(format!("{} not acknowledged in time: they may have arrived", counts.pending));
    }
    eprintln!("{}", parts.join(", "));
}
