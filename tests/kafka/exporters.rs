//! Two exporters that nobody here wrote, Debian's node exporter and Prometheus itself, scraped for a while beside plain
//! questions for the same pages. Run by `tests/foreign/exporters`, which fetches them.
//!
//! - Every sample of every page that was fetched is what Prometheus' own Python parser reads, in both formats.
//! - A reading of what stands still is the value on the page, bit by bit; one of a counter lies between the values of
//!   the question before and the question after it.
//! - Readings come every two seconds, and one scrape in between may be late: the machine is busy with other tests.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hms_ops::collect::scrape::text::{Format, Kind, Page, parse};

use crate::collect::{collect, readings};
use crate::rig::cluster::PATIENCE;
use crate::rig::fleet::{Fleet, now_ms};

/// A child that ends with the test.
struct Exporter {
    child: Child,
    port: u16,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // It has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Starts a program that is told its address, and waits until it answers.
fn start(program: PathBuf, arguments: impl Fn(u16) -> Vec<String>) -> Exporter {
    let port = free_port();
    let mut command = Command::new(program);
    command.args(arguments(port)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let exporter = Exporter { child: command.spawn().unwrap(), port };
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < deadline, "no exporter listens");
        // Nobody tells when it listens.
        std::thread::sleep(Duration::from_millis(50));
    }
    exporter
}

/// What curl would print of `/metrics`.
fn page(port: u16, accept: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    body.to_owned()
}

/// A sample as `samples.py` prints it.
type Told = (String, Vec<(String, String)>, String, Option<i64>);

fn ours(page: &Page<'_>) -> Vec<Told> {
    let told = |sample: &hms_ops::collect::scrape::text::Sample<'_>| {
        let mut labels: Vec<_> =
            sample.labels.iter().map(|(name, text)| ((*name).to_owned(), text.to_string())).collect();
        labels.sort();
        let bits = if sample.value.is_nan() { "nan".to_owned() } else { format!("{:016x}", sample.value.to_bits()) };
        // The Python library gives counters their new names.
        let is_old = page.kind(sample.name) == Some(Kind::Counter) && !sample.name.ends_with("_total");
        let name = if is_old { format!("{}_total", sample.name) } else { sample.name.to_owned() };
        (name, labels, bits, sample.timestamp_ms)
    };
    let mut told: Vec<_> = page.samples.iter().map(told).collect();
    told.sort();
    told
}

fn theirs(cache: &Path, format: &str, text: &str) -> Vec<Told> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("page");
    std::fs::write(&file, text).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/samples.py");
    let output = Command::new(cache.join("python/bin/python")).arg(script).arg(format).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    let mut told: Vec<Told> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    told.sort();
    told
}

/// Reads one page of an exporter in both formats, both ways; gives how many samples were compared.
fn compare(cache: &Path, port: u16) -> usize {
    let formats = [
        (Format::Plain, "plain", "text/plain"),
        (Format::OpenMetrics, "openmetrics", "application/openmetrics-text;version=1.0.0"),
    ];
    let compared = formats.map(|(format, name, accept)| {
        let text = page(port, accept);
        // An exporter that does not speak it answers in the other.
        let is_open = text.trim_end().ends_with("# EOF");
        let (format, name) = if is_open { (format, name) } else { (Format::Plain, "plain") };
        let read = parse(&text, format, |_| true).unwrap();
        let (ours, theirs) = (ours(&read), theirs(cache, name, &text));
        assert_eq!(ours.len(), theirs.len());
        ours.iter().zip(&theirs).for_each(|(ours, theirs)| assert_eq!(ours, theirs));
        ours.len()
    });
    compared.iter().sum()
}

/// What one question gave: when it was asked and answered (ms), and each sample by its text before the value.
struct Asked {
    from: i64,
    to: i64,
    values: BTreeMap<String, f64>,
}

/// A second, simple reader: the value is what stands behind the last blank.
fn ask(port: u16) -> Asked {
    let from = now_ms();
    let text = page(port, "text/plain");
    let values = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        Some((series.to_owned(), value.parse().ok()?))
    });
    Asked { from, to: now_ms(), values: values.collect() }
}

/// How the value of a sensor can be told from the pages.
enum Expected {
    /// It stands still: this series, to the last bit.
    Still(&'static str),
    /// It grows: between the question before and the one after.
    Grows(&'static str),
    /// It is not negative; how large it is, the unit tests tell.
    Some,
}

const NODE: [(&str, &str, Expected); 6] = [
    ("memory", "metric: node_memory_MemTotal_bytes", Expected::Still("node_memory_MemTotal_bytes")),
    ("boot", "metric: node_boot_time_seconds", Expected::Still("node_boot_time_seconds")),
    (
        "idle",
        "metric: node_cpu_seconds_total, match: {cpu: '0', mode: idle}",
        Expected::Grows("node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}"),
    ),
    ("switches", "metric: node_context_switches_total", Expected::Grows("node_context_switches_total")),
    ("switching", "metric: node_context_switches_total, take: rate", Expected::Some),
    ("gc", "metric: go_gc_duration_seconds, take: quantile 0.5", Expected::Some),
];

const PROMETHEUS: [(&str, &str, Expected); 4] = [
    ("start", "metric: process_start_time_seconds", Expected::Still("process_start_time_seconds")),
    (
        "appended",
        "metric: prometheus_tsdb_head_samples_appended_total, match: {type: float}",
        Expected::Grows("prometheus_tsdb_head_samples_appended_total{type=\"float\"}"),
    ),
    (
        "appending",
        "metric: prometheus_tsdb_head_samples_appended_total, match: {type: float}, take: rate",
        Expected::Some,
    ),
    (
        "answered",
        "metric: prometheus_http_request_duration_seconds, match: {handler: /metrics}, take: p95",
        Expected::Some,
    ),
];

fn spec(id: &str, port: u16, sensors: &[(&str, &str, Expected)]) -> String {
    let line = |(name, fields, _): &(&str, &str, Expected)| {
        format!("  - {{name: {name}, interval: 2, scrape_url: 'http://127.0.0.1:{port}/metrics', {fields}}}\n")
    };
    format!("id: {id}\nowner: test\nsensors:\n{}", sensors.iter().map(line).collect::<String>())
}

/// Checks the readings of a sensor against the questions; gives how many there were.
fn confirm(name: &str, list: &[(i64, f64)], expected: &Expected, asked: &[Asked]) -> usize {
    for (ts, value) in list {
        match expected {
            Expected::Some => assert!(*value >= 0.0, "{name}: {value}"),
            Expected::Still(series) => {
                let page = asked[0].values[*series];
                assert_eq!(value.to_bits(), page.to_bits(), "{name}: {value}, on the page {page}");
            }
            Expected::Grows(series) => {
                // A counter is not on the pages before it was first counted up.
                let page = |asked: &Asked| asked.values.get(*series).copied();
                let before = asked.iter().rev().filter(|asked| asked.to < *ts).find_map(page);
                // A reading has the time at which its page was asked for; it was answered within the interval.
                let after = asked.iter().filter(|asked| asked.from > ts + 2_000).find_map(page);
                let (low, high) = (before.unwrap_or(0.0), after.unwrap_or(f64::INFINITY));
                assert!((low..=high).contains(value), "{name} at {ts}: {value} is not in {low}..{high}");
            }
        }
    }
    list.len()
}

/// Both exporters for `OPS_SECONDS`, beside a question a second.
#[test]
#[ignore = "tests/foreign/exporters runs it"]
fn readings_of_real_exporters_are_what_their_pages_say() {
    let cache = PathBuf::from(std::env::var_os("OPS_EXPORTERS").expect("tests/foreign/exporters sets it"));
    let seconds: u64 = std::env::var("OPS_SECONDS").map_or(20, |text| text.parse().unwrap());
    let data = tempfile::tempdir().unwrap();
    let node = start(cache.join("usr/bin/prometheus-node-exporter"), |port| {
        vec![format!("--web.listen-address=127.0.0.1:{port}")]
    });
    let config = data.path().join("prometheus.yml");
    let job = format!("{{job_name: node, static_configs: [{{targets: ['127.0.0.1:{}']}}]}}", node.port);
    std::fs::write(&config, format!("global: {{scrape_interval: 1s}}\nscrape_configs: [{job}]\n")).unwrap();
    let prometheus = start(cache.join("usr/bin/prometheus"), |port| {
        vec![
            format!("--web.listen-address=127.0.0.1:{port}"),
            format!("--storage.tsdb.path={}", data.path().join("tsdb").display()),
            format!("--config.file={}", config.display()),
        ]
    });
    let fleet = Fleet::new("exporters");
    fleet.register(&spec("node", node.port, &NODE));
    fleet.register(&spec("prometheus", prometheus.port, &PROMETHEUS));
    let collector = collect(&fleet, "c1", &["127.0.0.1"]);

    let began = Instant::now();
    let (mut of_node, mut of_prometheus, mut compared) = (Vec::new(), Vec::new(), 0);
    let mut pages = 0;
    while began.elapsed() < Duration::from_secs(seconds) {
        let due = began + Duration::from_secs(of_node.len() as u64 + 1);
        of_node.push(ask(node.port));
        of_prometheus.push(ask(prometheus.port));
        if of_node.len() % 10 == 1 {
            compared += compare(&cache, node.port) + compare(&cache, prometheus.port);
            pages += 4;
        }
        // A question a second is the plan, not a wait.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    collector.stop();

    let found = readings(&fleet);
    let mut confirmed = 0;
    for (service, sensors, asked) in [("node", &NODE[..], &of_node), ("prometheus", &PROMETHEUS[..], &of_prometheus)] {
        for (name, _, expected) in sensors {
            let list = found.get(&(service.to_owned(), (*name).to_owned())).map_or(&[][..], Vec::as_slice);
            if matches!(expected, Expected::Still(_) | Expected::Grows(_)) {
                let apart = list.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap_or(i64::MAX);
                assert!(apart <= 4_500, "{service} {name}: {apart} ms without a reading");
                assert!(
                    list.len() as u64 * 2 + 10 >= seconds,
                    "{service} {name}: {} readings in {seconds} s",
                    list.len()
                );
            }
            assert!(!list.is_empty(), "{service} {name}: no reading");
            confirmed += confirm(name, list, expected, asked);
        }
    }
    println!("{confirmed} readings confirmed; {compared} samples of {pages} pages are those of the other parser");
}
