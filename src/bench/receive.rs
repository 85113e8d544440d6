//! The receivers by remote write: how many samples a second, and how long an answer takes that waits for the cluster.
//!
//! The receiver is the real `ops collect`, kept on one core if that is wanted; requests are made and packed beforehand,
//! so that what is measured is not whoever sends them. Flat out every connection sends when its last request is answered.
//! Steady, requests leave by the clock, and an answer's time counts from when its request was to leave: who falls behind
//! is not let off.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::child::Child;
use super::error::{Error, Result};
use super::figure::rank;
use super::ground::{Ground, Time};
use super::{Bench, load};
use crate::collect::receive::wire::{put_bytes, put_double, put_varint};

/// As Prometheus sends them by default.
const SAMPLES: u32 = 2_000;
/// Of ours.
const CONNECTIONS: usize = 8;
/// Series of one service.
const PER_SERVICE: u32 = 10;
/// Before a run is measured.
const WARM_UP: Duration = Duration::from_secs(3);
/// How long the receiver may take to listen, and to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The receiver stays on this core.
    pub core: Option<u32>,
    /// Series that are written.
    pub series: u32,
    /// Samples a second of the steady run.
    pub steady: f64,
    /// Of each run.
    pub length: Duration,
}

/// What was.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Receive {
    /// The receiver stayed there.
    pub core: Option<u32>,
    /// Series that were written.
    pub series: u32,
    /// Of each request.
    pub samples_per_request: u32,
    /// At once.
    pub connections: usize,
    /// As fast as it answers.
    pub flat_out: Run,
    /// By the clock.
    pub steady: Run,
}

/// One run.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Run {
    /// Samples that were acknowledged, a second.
    pub per_second: f64,
    /// The same for a second of the receiver's processor time, all its threads and the kernel's work for it together.
    pub per_cpu_second: f64,
    /// Most resident memory, MiB.
    pub peak_mib: f64,
    /// Of the answers, us: nearest rank.
    pub p50_us: i64,
    /// Nearest rank.
    pub p99_us: i64,
    /// The longest.
    pub max_us: i64,
}

/// Measures both runs.
///
/// # Errors
/// The bus; the receiver ends, or refuses a request; readings are missing on the topic.
pub fn run(bench: &Bench<'_>, plan: &Plan) -> Result<Receive> {
    let ground = bench.ground("receive.", Time::Real)?;
    let services = (0..plan.series.div_ceil(PER_SERVICE)).map(service);
    ground.register(services.map(|name| (spec(&name), name)))?;
    let address = free_address()?;
    let mut child = Child::spawn("the receiver", command(bench, &ground, address, plan.core))?;
    wait_until_it_listens(address, &mut child)?;
    let bodies: Vec<Vec<u8>> =
        (0..plan.series.div_ceil(SAMPLES).max(CONNECTIONS as u32)).map(|n| body(n, plan.series)).collect();
    let acknowledged = AtomicU64::new(0);
    let job = Job { stop: bench.stop, address, bodies: &bodies, acknowledged: &acknowledged };
    job.measure(None, WARM_UP, &mut child)?;
    bench.tell.progress("remote write, flat out");
    let flat_out = job.measure(None, plan.length, &mut child)?;
    bench.tell.progress("remote write, steady");
    let steady = job.measure(Some(plan.steady), plan.length, &mut child)?;
    child.check()?;
    child.stop();
    let spans = ground.spans()?;
    let there = spans.iter().map(|(_, low, high)| (high - low) as u64).sum();
    Error::unless_equal("readings on the topic", acknowledged.into_inner(), there)?;
    let (core, series) = (plan.core, plan.series);
    Ok(Receive { core, series, samples_per_request: SAMPLES, connections: CONNECTIONS, flat_out, steady })
}

/// `ops collect`, if need be on one core.
fn command(bench: &Bench<'_>, ground: &Ground, address: SocketAddr, core: Option<u32>) -> Command {
    let ops = bench.command("collect", ground);
    let mut command = match core {
        None => ops,
        Some(core) => {
            let mut taskset = Command::new("taskset");
            taskset.args(["-c", &core.to_string()]).arg(ops.get_program()).args(ops.get_args());
            taskset
        }
    };
    command.args(["--no-scrape", "--listen", &address.to_string()]).env_remove("OPS_METRICS").env_remove("OPS_CONFIG");
    command
}

fn free_address() -> Result<SocketAddr> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.map_err(Error::io("finding a free port on 127.0.0.1"))
}

fn wait_until_it_listens(address: SocketAddr, child: &mut Child) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(address) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(Error::io("connecting to the receiver")(error)),
            Err(_) => child.check()?,
        }
        // Nothing tells of a port that is opened.
        thread::sleep(Duration::from_millis(20));
    }
}

fn service(number: u32) -> String {
    format!("bench{number:06}")
}

fn spec(name: &str) -> String {
    format!("id: {name}\nowner: bench\nsensors:\n  - {{name: {}, interval: 1}}\n", load::SENSOR)
}

/// A request of series `n * SAMPLES` on, around and around, with the labels that a pod has.
fn body(n: u32, series: u32) -> Vec<u8> {
    let (mut message, mut one, mut part) = (Vec::new(), Vec::new(), Vec::new());
    for place in 0..SAMPLES {
        let number = (n * SAMPLES + place) % series;
        let owner = service(number / PER_SERVICE);
        let pod = format!("{owner}-6d4cf56db6-{number:05}");
        let labels = [
            ("__name__", load::SENSOR),
            ("container", "app"),
            ("endpoint", "http-metrics"),
            ("instance", "10.0.12.171:8080"),
            ("job", "fleet"),
            ("namespace", "production"),
            ("pod", &pod),
            ("service", &owner),
        ];
        one.clear();
        for (name, value) in labels {
            part.clear();
            put_bytes(&mut part, 1, name.as_bytes());
            put_bytes(&mut part, 2, value.as_bytes());
            put_bytes(&mut one, 1, &part);
        }
        part.clear();
        put_double(&mut part, 1, f64::from(number % 97) + 0.25);
        put_varint(&mut part, 2, 1_700_000_000_000 + u64::from(n));
        put_bytes(&mut one, 2, &part);
        put_bytes(&mut message, 1, &one);
    }
    // A body of some hundred kilobytes fits.
    let packed = snap::raw::Encoder::new().compress_vec(&message).unwrap_or_default();
    let mut request = format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
         X-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    )
    .into_bytes();
    request.extend_from_slice(&packed);
    request
}

/// Who sends what where.
struct Job<'a> {
    stop: &'a AtomicBool,
    address: SocketAddr,
    bodies: &'a [Vec<u8>],
    acknowledged: &'a AtomicU64,
}

impl Job<'_> {
    /// For `length`, at `rate` samples a second or flat out.
    fn measure(&self, rate: Option<f64>, length: Duration, child: &mut Child) -> Result<Run> {
        let before = child.usage().cpu_s;
        let began = Instant::now();
        let took = thread::scope(|scope| {
            let senders: Vec<_> =
                (0..CONNECTIONS).map(|nth| scope.spawn(move || self.send(nth, rate, began, length))).collect();
            let join = |sender: thread::ScopedJoinHandle<'_, Result<Vec<i64>>>| {
                sender.join().unwrap_or_else(|panic| resume_unwind(panic))
            };
            senders.into_iter().map(join).collect::<Result<Vec<_>>>()
        })?;
        let seconds = began.elapsed().as_secs_f64();
        let usage = child.usage();
        let mut took: Vec<i64> = took.concat();
        took.sort_unstable();
        let samples = took.len() as f64 * f64::from(SAMPLES);
        Ok(Run {
            per_second: samples / seconds,
            per_cpu_second: samples / (usage.cpu_s - before),
            peak_mib: usage.peak_bytes as f64 / 1_048_576.0,
            p50_us: rank(&took, 500),
            p99_us: rank(&took, 990),
            max_us: rank(&took, 1_000),
        })
    }

    /// One connection: how long each answer took, us.
    fn send(&self, nth: usize, rate: Option<f64>, began: Instant, length: Duration) -> Result<Vec<i64>> {
        let failed = || Error::io("writing to the receiver");
        let stream = TcpStream::connect(self.address).map_err(failed())?;
        stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).map_err(failed())?;
        let mut reader = BufReader::new(&stream);
        // The n-th request of all leaves at n times this.
        let pace = rate.map(|rate| f64::from(SAMPLES) / rate);
        let mut took = Vec::new();
        for round in 0.. {
            let n = round * CONNECTIONS + nth;
            let due = pace.map_or_else(|| began.elapsed(), |pace| Duration::from_secs_f64(pace * n as f64));
            if due >= length || self.stop.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(due.saturating_sub(began.elapsed()));
            (&stream).write_all(&self.bodies[n % self.bodies.len()]).map_err(failed())?;
            answer(&mut reader)?;
            took.push(i64::try_from((began.elapsed() - due).as_micros()).unwrap_or(i64::MAX));
            self.acknowledged.fetch_add(u64::from(SAMPLES), Ordering::Relaxed);
        }
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(took) }
    }
}

/// Reads one answer; anything but 200 ends the measurement.
fn answer(reader: &mut BufReader<&TcpStream>) -> Result<()> {
    let failed = || Error::io("reading an answer of the receiver");
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let from = head.len();
        reader.read_line(&mut head).map_err(failed())?;
        let line = head[from..].trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).map_err(failed())?;
    if head.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let said = format!("{} {}", head.lines().next().unwrap_or_default(), String::from_utf8_lossy(&body));
    Err(failed()(std::io::Error::other(said)))
}
