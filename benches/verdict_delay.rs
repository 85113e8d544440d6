//! How long after a reading that tips the verdict is `opened` in the hands of a read_committed consumer? Receipt
//! minus the reading's append time, in a busy and in quiet partitions, at the default step, lateness and commit
//! interval: a step (1 s) and the lateness (1 s) are part of it by definition.
//!
//! `cargo bench --bench verdict_delay` (a local Kafka, or OPS_BROKERS; OPS_BENCH_CYCLES=20 breaches of each service).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hms_ops::bus::{Admin, Isolation, Next, Offsets, Producer, Reader, Record, Settings};
use hms_ops::local::kafka::{Options, from_env_or_start};
use hms_ops::model::incident::EventKind;
use hms_ops::model::reading::Reading;
use hms_ops::model::topic_files::{Overrides, declared};
use hms_ops::model::{ids::home_partition, topics::Topics};
use hms_ops::processor::{Processor, ProcessorOptions};
use hms_ops::{codec, sdk, telemetry::clock::now_ms};

const PARTITIONS: i32 = 8;
/// Services in the busy partition; every other partition has one.
const BUSY_SERVICES: usize = 7;
/// Readings of other services in the busy partition, a second.
const LOAD: u64 = 2_000;
const CYCLE: Duration = Duration::from_secs(7);
const BAD: f64 = 99.0;

fn main() {
    let cycles: u32 = std::env::var("OPS_BENCH_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let kafka = from_env_or_start(&Options::default()).expect("a Kafka");
    let settings = Settings::new(kafka.brokers(), "verdict-delay");
    let topics = Topics::new(&format!("bench{}.", std::process::id()));
    let prefix = topics.metrics.trim_end_matches("ops.metrics").to_owned();
    let files = declared(&Overrides { prefix, partitions: Some(PARTITIONS), ..Overrides::default() });
    Admin::new(&settings).expect("an admin client").create_missing(&files).expect("topics");
    let processor = Processor::start(ProcessorOptions::new(settings.clone(), topics.clone())).expect("a processor");
    let services = services();
    for (name, _) in &services {
        sdk::register(&settings, &topics, &spec(name), &sdk::register::Options::default()).expect("registered");
    }
    eprintln!("{} services, {} s to go", services.len(), cycles * CYCLE.as_secs() as u32);

    let tipped: Arc<Mutex<BTreeMap<String, i64>>> = Arc::default();
    let delays: Arc<Mutex<BTreeMap<bool, Vec<i64>>>> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| watch_readings(&settings, &topics, &tipped, &stop));
        scope.spawn(|| watch_incidents(&settings, &topics, &tipped, &delays, &stop));
        scope.spawn(|| load(&settings, &topics, &stop));
        emit(&settings, &topics, &services, cycles);
        stop.store(true, Ordering::Relaxed);
    });
    processor.stop().expect("the processor went well");
    report(&delays.lock().expect("no panic"));
}

/// Names by home partition; `true` in the busy one (0).
fn services() -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut wanted: BTreeMap<i32, usize> =
        (0..PARTITIONS).map(|p| (p, if p == 0 { BUSY_SERVICES } else { 1 })).collect();
    for number in 0.. {
        let name = format!("svc{number}");
        let home = home_partition(&name, PARTITIONS);
        if let Some(left) = wanted.get_mut(&home).filter(|left| **left > 0) {
            *left -= 1;
            found.push((name, home == 0));
        }
        if wanted.values().all(|left| *left == 0) {
            return found;
        }
    }
    found
}

/// One bad reading among a few is a breach; it is over when that has left the window.
fn spec(name: &str) -> String {
    format!(
        "id: {name}\nowner: bench\nsensors:\n  - {{name: q, interval: 1}}\nslo:\n  target: q\n  threshold: 30\n  \
         window_seconds: 5\n  min_samples: 1\n  recover_for: 0\n  flap_limit: 1000\n"
    )
}

/// Each service: a few good readings, a bad one, silence. Phases differ, so that breaches fall anywhere in a step.
fn emit(settings: &Settings, topics: &Topics, services: &[(String, bool)], cycles: u32) {
    let producer = Producer::new(settings, 10_000).expect("a producer");
    let start = Instant::now();
    let mut plan: Vec<(Duration, usize, f64)> = Vec::new();
    for cycle in 0..cycles {
        for (place, _) in services.iter().enumerate() {
            let begin = CYCLE * cycle + Duration::from_millis((place as u64 * 377 + u64::from(cycle) * 191) % 1_000);
            let values = [(0, 10.0), (300, 10.0), (600, 10.0), (900, BAD)];
            plan.extend(values.map(|(after, value)| (begin + Duration::from_millis(after), place, value)));
        }
    }
    plan.sort_by_key(|(at, ..)| *at);
    for (at, place, value) in plan {
        thread::sleep((start + at).saturating_duration_since(Instant::now()));
        send(&producer, topics, &services[place].0, value);
    }
    thread::sleep(CYCLE);
}

fn load(settings: &Settings, topics: &Topics, stop: &AtomicBool) {
    let producer = Producer::new(settings, 100_000).expect("a producer");
    let name = (0..).map(|n| format!("load{n}")).find(|name| home_partition(name, PARTITIONS) == 0).expect("a name");
    let text = spec(&name).replace("flap_limit: 1000", "flap_limit: 3");
    sdk::register(settings, topics, &text, &sdk::register::Options::default()).expect("registered");
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..LOAD / 100 {
            send(&producer, topics, &name, 10.0);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn send(producer: &Producer, topics: &Topics, service: &str, value: f64) {
    let reading =
        Reading { service: service.into(), sensor: "q".into(), ts: now_ms(), value, attributes: BTreeMap::new() };
    let value = codec::reading::encode(&reading);
    let record = Record {
        topic: &topics.metrics,
        partition: home_partition(service, PARTITIONS),
        key: Some(service.as_bytes()),
        value: Some(&value),
        ..Record::default()
    };
    producer.send(&record, Duration::from_secs(5)).expect("room in the queue");
}

fn follow(settings: &Settings, topic: &str) -> Reader {
    let offsets = Offsets::new(settings).expect("a client");
    let ends = (0..PARTITIONS).map(|p| (p, offsets.watermarks(topic, p).expect("an answer").high));
    Reader::open(settings, topic, Isolation::Committed, ends.collect::<Vec<_>>()).expect("a reader")
}

/// Keeps the append time of each service's last bad reading.
fn watch_readings(settings: &Settings, topics: &Topics, tipped: &Mutex<BTreeMap<String, i64>>, stop: &AtomicBool) {
    let mut reader = follow(settings, &topics.metrics);
    while !stop.load(Ordering::Relaxed) {
        let Ok(Next::Record(message)) = reader.next(Duration::from_millis(100)) else { continue };
        let append = message.timestamp().ms().unwrap_or_default();
        let Ok(reading) = codec::reading::decode(message.key(), message.value(), append) else { continue };
        if reading.value == BAD {
            tipped.lock().expect("no panic").insert(reading.service.into_owned(), append);
        }
    }
}

fn watch_incidents(
    settings: &Settings,
    topics: &Topics,
    tipped: &Mutex<BTreeMap<String, i64>>,
    delays: &Mutex<BTreeMap<bool, Vec<i64>>>,
    stop: &AtomicBool,
) {
    let mut reader = follow(settings, &topics.incidents);
    while !stop.load(Ordering::Relaxed) {
        let Ok(Next::Record(message)) = reader.next(Duration::from_millis(100)) else { continue };
        let received = now_ms();
        let Ok(event) = codec::incident::decode(message.value().unwrap_or_default()) else { continue };
        if !matches!(event.kind, EventKind::Opened { .. }) {
            continue;
        }
        if let Some(append) = tipped.lock().expect("no panic").remove(event.service.as_str()) {
            let busy = message.partition() == 0;
            delays.lock().expect("no panic").entry(busy).or_default().push(received - append);
        }
    }
}

fn report(delays: &BTreeMap<bool, Vec<i64>>) {
    println!("{:<8} {:>5} {:>8} {:>8} {:>8}", "", "n", "p50 ms", "p99 ms", "max ms");
    for (busy, values) in delays {
        let mut values = values.clone();
        values.sort_unstable();
        let rank = |permille: usize| values[(permille * values.len()).div_ceil(1000).max(1) - 1];
        let name = if *busy { "busy" } else { "quiet" };
        let max = values.last().expect("an entry is not empty");
        println!("{name:<8} {:>5} {:>8} {:>8} {:>8}", values.len(), rank(500), rank(990), max);
    }
}
