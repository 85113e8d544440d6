//! `ops backtest`: a spec over history, or a recorded log, through the production core and without Kafka.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::bus::{Frames, Isolation, Next, Offsets, Reader};
use crate::cli::connect::Connect;
use crate::cli::history::{self, Number, Row};
use crate::codec;
use crate::model::ServiceId;
use crate::model::incident::{EventKind, IncidentEvent};
use crate::model::reading::Reading;
use crate::model::spec::Spec;
use crate::processor::backtest::Backtest;
use crate::processor::core::SpecChange;
use crate::processor::counts::Counts;
use crate::processor::words::sentence;

/// Run a spec over history and show the incidents and requests it would have had.
///
/// History is CSV (`timestamp,value`, and optionally `sensor`, `service`) or JSON lines
/// (`{"ts":..,"sensor":..,"value":..}`). Rows are taken as appended at their own time; a tick every second
/// lies between them and after the end, until no timer can fire.
///
/// With `topic:NAME` as DATA, the readings of the spec's service in that topic (ops.metrics), with the append times and
/// the ticks that are there.
///
/// With a single file, `ops backtest LOG.json` runs a recorded log:
/// `{"log":[{"spec":"..."},{"append":MS,"ts":MS,"sensor":"..","value":1.0},{"append":MS},{"retire":"ID"}]}`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  ops backtest scanner.ops.yaml last-week.csv\n  ops backtest scanner.ops.yaml last-week.csv --diff stricter.ops.yaml"
)]
pub struct Args {
    /// SPEC and DATA (a file or topic:NAME), or a LOG.json alone.
    #[arg(required = true, num_args = 1..=2, value_names = ["SPEC", "DATA"])]
    files: Vec<PathBuf>,
    /// A second spec over the same data: show what it would have changed.
    #[arg(long, value_name = "SPEC")]
    diff: Option<PathBuf>,
    /// One event a line, then the counts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

/// A topic that says nothing for so long is not read to its end.
const STALL: Duration = Duration::from_secs(15);

type Answer = (Vec<IncidentEvent>, Counts);

/// Runs it. `Ok(true)` always: a history with incidents is no failure.
///
/// # Errors
/// If a file cannot be read or a spec does not parse.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let answer = match args.files.as_slice() {
        [log] => {
            if args.diff.is_some() {
                bail!("--diff compares two specs over data: ops backtest SPEC DATA --diff OTHER");
            }
            run_log(log)?
        }
        [spec, data] => run_spec(spec, data, &args.connect)?,
        _ => bail!("give SPEC and DATA, or a LOG.json alone"),
    };
    let mut out = std::io::stdout().lock();
    if let Some(other) = &args.diff {
        let other = run_spec(other, &args.files[1], &args.connect)?;
        return show_diff(&mut out, &answer.0, &other.0).map(|()| true);
    }
    if args.json {
        show_json(&mut out, &answer)?
    } else {
        show_text(&mut out, &answer)?
    }
    Ok(true)
}

/// An entry of a recorded log.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    spec: Option<String>,
    retire: Option<String>,
    append: Option<i64>,
    ts: Option<i64>,
    service: Option<String>,
    sensor: Option<String>,
    value: Option<Number>,
    #[serde(default)]
    attributes: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Log {
    log: Vec<Entry>,
}

fn run_log(path: &Path) -> anyhow::Result<Answer> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let log: Log = serde_json::from_str(&text).with_context(|| format!("{} is no log", path.display()))?;
    let mut specs = log.log.iter().filter_map(|entry| entry.spec.as_deref());
    let default = specs.next().map(parse).transpose()?.map(|spec| spec.id.to_string()).unwrap_or_default();
    let mut backtest = Backtest::default();
    for (place, entry) in log.log.iter().enumerate() {
        take_entry(&mut backtest, entry, &default).with_context(|| format!("{}: log[{place}]", path.display()))?;
    }
    Ok(backtest.finish())
}

fn take_entry(backtest: &mut Backtest, entry: &Entry, default_service: &str) -> anyhow::Result<()> {
    if let Some(text) = &entry.spec {
        backtest.apply(SpecChange::Register(parse(text)?));
    } else if let Some(id) = &entry.retire {
        backtest.apply(SpecChange::Retire(ServiceId::new(id).with_context(|| format!("{id:?} is no service id"))?));
    } else {
        let append = entry.append.context("neither spec, retire nor append")?;
        match (&entry.sensor, &entry.value) {
            (Some(sensor), Some(value)) => backtest.reading(
                append,
                &Reading {
                    service: entry.service.as_deref().unwrap_or(default_service).into(),
                    sensor: sensor.into(),
                    ts: entry.ts.unwrap_or(append),
                    value: value.value()? + 0.0,
                    attributes: entry.attributes.iter().map(|(name, text)| (name.into(), text.into())).collect(),
                },
            ),
            (None, None) => backtest.tick(append),
            _ => bail!("a reading has both sensor and value"),
        }
    }
    Ok(())
}

fn parse(text: &str) -> anyhow::Result<Arc<Spec>> {
    Ok(Arc::new(crate::spec::parse(text).map_err(|findings| anyhow::anyhow!("{findings}"))?.spec))
}

fn run_spec(spec: &Path, data: &Path, connect: &Connect) -> anyhow::Result<Answer> {
    let text = std::fs::read_to_string(spec).with_context(|| spec.display().to_string())?;
    let spec = parse(&text).with_context(|| format!("{} (ops check shows more)", spec.display()))?;
    if let Some(topic) = data.to_str().and_then(|data| data.strip_prefix("topic:")) {
        return run_topic(&spec, topic, connect);
    }
    let input = BufReader::new(File::open(data).with_context(|| data.display().to_string())?);
    let mut backtest = Backtest::default();
    backtest.apply(SpecChange::Register(spec.clone()));
    history::read(input, |row| {
        let reading = reading_of(row, &spec)?;
        backtest.idle_until(reading.ts);
        backtest.reading(reading.ts, &reading);
        Ok(())
    })
    .with_context(|| data.display().to_string())?;
    backtest.run_out();
    Ok(backtest.finish())
}

/// The home partition of the service as it is in the log. What is not of this service only moves the clock.
fn run_topic(spec: &Arc<Spec>, topic: &str, connect: &Connect) -> anyhow::Result<Answer> {
    let (settings, _) = connect.reach("ops-backtest")?;
    let offsets = Offsets::new(&settings)?;
    let home = spec.id.home(offsets.partitions(topic)?);
    let low = offsets.watermarks(topic, home)?.low;
    let mut reader = Reader::open(&settings, topic, Isolation::Committed, [(home, low)])?.until_now(&offsets)?;
    let mut backtest = Backtest::default();
    let mut frames = Frames::new(&settings, STALL);
    backtest.apply(SpecChange::Register(spec.clone()));
    loop {
        match reader.next(STALL)? {
            Next::Record(message) => {
                let append = message.timestamp().ms().unwrap_or(0);
                let (ids, value) = (frames.of(message.bytes())?, message.bytes());
                match codec::reading::decode_with_any_name(ids, message.key(), value, append) {
                    Ok(reading) if reading.service == spec.id.as_str() && reading.is_named_well() => {
                        backtest.reading(append, &reading);
                    }
                    _ => backtest.tick(append),
                }
            }
            Next::End => return Ok(backtest.finish()),
            Next::Idle => bail!("{topic} has not answered for {} s", STALL.as_secs()),
        }
    }
}

/// A row belongs to the spec's service and, unless it says otherwise, to the SLO's target or the only sensor.
fn reading_of(row: Row, spec: &Spec) -> anyhow::Result<Reading<'static>> {
    let default = match (&spec.slo, spec.sensors.as_slice()) {
        (Some(slo), _) => Some(&spec.sensors[slo.target]),
        (None, [only]) => Some(only),
        _ => None,
    };
    let sensor = row.sensor.or_else(|| default.map(|sensor| sensor.name.to_string()));
    Ok(Reading {
        service: row.service.unwrap_or_else(|| spec.id.to_string()).into(),
        sensor: sensor
            .with_context(|| format!("row {}: no sensor, and the spec has several without an slo", row.line))?
            .into(),
        ts: row.ts.with_context(|| format!("row {}: no timestamp", row.line))?,
        value: row.value + 0.0,
        attributes: row.attributes.into_iter().map(|(name, text)| (name.into(), text.into())).collect(),
    })
}

fn show_json(out: &mut impl Write, (events, counts): &Answer) -> anyhow::Result<()> {
    for event in events {
        writeln!(out, "{}", serde_json::to_string(event)?)?;
    }
    let mut counts = serde_json::to_value(counts)?;
    counts["event"] = "counts".into();
    writeln!(out, "{counts}")?;
    Ok(())
}

fn show_text(out: &mut impl Write, (events, counts): &Answer) -> anyhow::Result<()> {
    for event in events {
        writeln!(out, "{}", sentence(event))?;
    }
    let opened = events.iter().filter(|event| matches!(event.kind, EventKind::Opened { .. })).count();
    let requested = events.iter().filter(|event| matches!(event.kind, EventKind::Requested { .. })).count();
    writeln!(out, "{opened} incidents, {requested} requests from {} readings ({} late)", counts.counted, counts.late)?;
    for (reason, n) in &counts.rejected {
        writeln!(out, "{n} readings rejected: {reason}")?;
    }
    Ok(())
}

/// Lines that only one of two runs has; what both have is counted.
fn show_diff(out: &mut impl Write, old: &[IncidentEvent], new: &[IncidentEvent]) -> anyhow::Result<()> {
    let lines = |events: &[IncidentEvent]| -> BTreeSet<String> {
        events.iter().filter(|event| !matches!(event.kind, EventKind::SpecActivated { .. })).map(sentence).collect()
    };
    let (old, new) = (lines(old), lines(new));
    for line in old.union(&new) {
        match (old.contains(line), new.contains(line)) {
            (true, false) => writeln!(out, "- {line}")?,
            (false, true) => writeln!(out, "+ {line}")?,
            _ => {}
        }
    }
    writeln!(out, "{} lines the same", old.intersection(&new).count())?;
    Ok(())
}
