//! What was measured, as tables that a person likes to read.

use std::fmt::Write as _;

use super::delay::Delay;
use super::figure::{Figures, grouped};
use super::growth::Point;
use super::load::Load;
use super::race::{Lane, PROCESSOR, Race};
use super::receive::Receive;
use super::restore::Restore;

/// Everything that one call has measured; also its JSON.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Throughput.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<Race>,
    /// Restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<Restore>,
    /// Verdict delay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Growth.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub growth: Vec<Point>,
    /// Remote write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive: Option<Receive>,
}

impl Report {
    /// The text for stdout.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        self.throughput.as_ref().map_or(Ok(()), |race| throughput(out, race))?;
        self.restore.as_ref().map_or(Ok(()), |seen| restore(out, seen))?;
        self.delay.as_ref().map_or(Ok(()), |seen| delay(out, seen))?;
        self.receive.as_ref().map_or(Ok(()), |seen| receive(out, seen))?;
        if self.growth.is_empty() { Ok(()) } else { growth(out, &self.growth) }
    }
}

fn described(load: &Load) -> String {
    format!(
        "{} readings of {} services, {} a second of simulated time, windows of {} s",
        grouped(load.readings as f64),
        grouped(f64::from(load.series)),
        grouped(load.rate),
        load.window_ms / 1_000,
    )
}

/// Medians.
fn restore(out: &mut String, seen: &Restore) -> std::fmt::Result {
    writeln!(out, "\nrestore: killed after {}", described(&seen.load))?;
    let [first, last, cpu, peak] = seen.medians();
    let (lives, all) = (seen.first_commit_s.len(), seen.first_commit_s.iter().map(|s| format!("{s:.2}")));
    writeln!(
        out,
        "from start to the first commit {first:.2} s ({} s), of the last partition {last:.2} s; {cpu:.2} CPU s; {peak:.0} MiB; \
         medians of {lives} restarts",
        all.collect::<Vec<_>>().join(", "),
    )
}

fn receive(out: &mut String, seen: &Receive) -> std::fmt::Result {
    let Receive { core, series, samples_per_request, connections, flat_out, steady } = seen;
    let place = core.map_or_else(|| "wherever it likes".to_owned(), |core| format!("on core {core} alone"));
    writeln!(
        out,
        "\nremote write 1.0, {} series, {samples_per_request} samples a request, {connections} connections, the receiver {place}:\n",
        grouped(f64::from(*series)),
    )?;
    writeln!(
        out,
        "{:<10} {:>10} {:>14} {:>10} {:>8} {:>8} {:>8}",
        "", "samples/s", "a CPU second", "MiB", "p50 ms", "p99 ms", "max ms"
    )?;
    for (name, run) in [("flat out", flat_out), ("steady", steady)] {
        writeln!(
            out,
            "{name:<10} {:>10} {:>14} {:>10.0} {:>8.1} {:>8.1} {:>8.1}",
            grouped(run.per_second),
            grouped(run.per_cpu_second),
            run.peak_mib,
            run.p50_us as f64 / 1e3,
            run.p99_us as f64 / 1e3,
            run.max_us as f64 / 1e3,
        )?;
    }
    Ok(())
}

fn delay(out: &mut String, seen: &Delay) -> std::fmt::Result {
    let (wanted, came) = (grouped(seen.wanted_per_second), grouped(seen.per_second));
    writeln!(out, "\nverdict delay, real time, {came} other readings/s ({wanted} wanted), ms:\n")?;
    writeln!(out, "{:<14} {:>7} {:>8} {:>6} {:>6} {:>6}", "", "tipped", "opened", "p50", "p99", "max")?;
    for row in &seen.rows {
        let name = format!("lateness {} s", row.lateness_ms as f64 / 1e3);
        let opened = row.delays_ms.len();
        writeln!(out, "{name:<14} {:>7} {opened:>8} {:>6} {:>6} {:>6}", row.tipped, row.p50, row.p99, row.max)?;
    }
    Ok(())
}

fn growth(out: &mut String, points: &[Point]) -> std::fmt::Result {
    let readings = points.first().map_or(0, |point| point.load.readings);
    writeln!(out, "\ngrowth: {} readings for each line, one run\n", grouped(readings as f64))?;
    let title = format!(
        "{:>11} {:>11} {:>8} {:>8} {:>9} {:>8}",
        "readings/s", "warm", "CPU s/M", "warm", "peak MiB", "written"
    );
    writeln!(out, "{:>8} {:>9} {:>11} {title}", "series", "window s", "simulated/s")?;
    for point in points {
        let Figures { whole, warm, peak_mib, .. } = point.figures;
        let (series, window) = (grouped(f64::from(point.load.series)), point.load.window_ms / 1_000);
        write!(out, "{series:>8} {window:>9} {:>11}", grouped(point.load.rate))?;
        write!(out, " {:>11} {:>11}", grouped(whole.per_second), grouped(warm.per_second))?;
        write!(out, " {:>8.2} {:>8.2} {peak_mib:>9.0}", whole.cpu_s_per_million, warm.cpu_s_per_million)?;
        writeln!(out, " {:>8}", point.steady_share.map_or("-".to_owned(), |share| format!("{share:.3}")))?;
    }
    writeln!(out, "written: bytes for a byte read, in steady state")
}

fn throughput(out: &mut String, race: &Race) -> std::fmt::Result {
    writeln!(out, "throughput: {}, {} partitions", described(&race.load), race.load.partitions)?;
    let runs = race.lanes.first().map_or(0, |lane| lane.runs.len());
    let filled = grouped(race.filled_per_second);
    writeln!(out, "filled at {filled}/s; medians of {runs} runs; warm: the last 60 % of the readings")?;
    writeln!(out, "{}\n", warmed_up(race))?;
    let width = race.lanes.iter().map(|lane| lane.name.len()).max().unwrap_or(0);
    let title = format!("{:>11} {:>11} {:>8} {:>8} {:>9}", "readings/s", "warm", "CPU s/M", "warm", "peak MiB");
    writeln!(out, "{:width$} {title} {:>8} {:>8} {:>8}", "", "events", "broker", "compiles")?;
    for lane in &race.lanes {
        let Figures { whole, warm, peak_mib, .. } = lane.median;
        write!(out, "{:width$} {:>11} {:>11}", lane.name, grouped(whole.per_second), grouped(warm.per_second))?;
        write!(out, " {:>8.2} {:>8.2}", whole.cpu_s_per_million, warm.cpu_s_per_million)?;
        let events = lane.runs.last().and_then(|run| run.events).map_or(String::new(), |n| n.to_string());
        write!(out, " {peak_mib:>9.0} {events:>8}")?;
        match whole.broker {
            Some(broker) => writeln!(out, " {:>8.2} {:>8.2}", broker.cpu_s_per_million, broker.compiling_cores)?,
            None => writeln!(out, " {:>8} {:>8}", "-", "-")?,
        }
    }
    writeln!(out, "broker: its CPU s for a million readings; compiles: what of it are its compilers, cores\n")?;
    if let (Some(limit), Some(ours)) = (race.limit(), race.lane(PROCESSOR)) {
        let speed = ratio(ours.median.whole.per_second, limit.median.whole.per_second);
        let cost = ratio(ours.median.whole.cpu_s_per_million, limit.median.whole.cpu_s_per_million);
        writeln!(out, "processor / bare consumer: {speed} of its readings/s, {cost} x its CPU a reading")?;
        differences(out, ours)?;
        for peer in race.lanes.iter().filter(|lane| lane.is_peer) {
            compared(out, ours, peer)?;
        }
        written(out, ours)?;
    }
    Ok(())
}

/// How the broker was warmed up.
fn warmed_up(race: &Race) -> String {
    let compiled: Vec<String> =
        race.warm_ups.iter().flatten().map(|part| format!("{:.2}", part.compiling_cores)).collect();
    match (race.warm_ups.len(), compiled.is_empty()) {
        (0, _) => "the broker was not warmed up".to_owned(),
        (rounds, true) => format!("the broker was warmed up in {rounds} round(s), unseen"),
        (rounds, false) => {
            format!("the broker was warmed up in {rounds} round(s); its compilers took {} cores", compiled.join(", "))
        }
    }
}

/// A question mark where one of the two is less than can be measured, as the CPU time of a few readings is.
fn ratio(a: f64, b: f64) -> String {
    if a > 0.0 && b > 0.0 { format!("{:.2}", a / b) } else { "?".to_owned() }
}

/// A peer beside us.
fn compared(out: &mut String, ours: &Lane, peer: &Lane) -> std::fmt::Result {
    let (a, b) = (&ours.median, &peer.median);
    writeln!(
        out,
        "processor / {}: {} x its readings/s ({} x warm), {} x its readings a CPU second ({} x warm), {} of its memory",
        peer.name,
        ratio(a.whole.per_second, b.whole.per_second),
        ratio(a.warm.per_second, b.warm.per_second),
        ratio(b.whole.cpu_s_per_million, a.whole.cpu_s_per_million),
        ratio(b.warm.cpu_s_per_million, a.warm.cpu_s_per_million),
        ratio(a.peak_mib, b.peak_mib),
    )?;
    if !differences(out, peer)? {
        writeln!(out, "  its events are equal to ours")?;
    }
    peer.notes.iter().try_for_each(|note| writeln!(out, "  {note}"))
}

/// The first run whose events differ; says whether there is one.
fn differences(out: &mut String, lane: &Lane) -> Result<bool, std::fmt::Error> {
    let Some(run) = lane.runs.iter().find(|run| !run.differences.is_empty()) else { return Ok(false) };
    writeln!(out, "  its events DIFFER (here: the processor's first run, there: {}):", lane.name)?;
    run.differences.iter().try_for_each(|line| writeln!(out, "    {line}"))?;
    Ok(true)
}

/// What we wrote for what we read.
fn written(out: &mut String, ours: &Lane) -> std::fmt::Result {
    let Some(written) = ours.runs.last().and_then(|run| run.written.as_ref()) else { return Ok(()) };
    match written.steady_share {
        Some(share) => write!(out, "written for a byte read, in steady state: {share:.3} (")?,
        None => write!(out, "written (no cut of a steady state among it): (")?,
    }
    let parts = written.topics.iter().map(|(name, part)| {
        let bytes = if written.steady_share.is_some() { part.steady_bytes } else { part.bytes };
        format!("{name} {} kB", grouped(bytes as f64 / 1e3))
    });
    writeln!(out, "{})", parts.collect::<Vec<_>>().join(", "))?;
    match written.stored_share {
        Some(share) => writeln!(out, "stored for a byte stored of the input, packed as it was sent: {share:.3}"),
        None => Ok(()),
    }
}
