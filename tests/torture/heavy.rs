//! The heavy load: so many readings a second over so many series, two a service. Nine services in ten have a window of
//! five minutes, the tenth is nervous and opens and resolves all the time. Some readings arrive away from home, some
//! late, some are refused. Not a benchmark: the pace is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hms_ops::model::ids::home_partition;

use crate::campaign::Weight;
use crate::oracle::dice::Dice;
use crate::rig::fleet::{Fleet, PARTITIONS, now_ms};

/// Readings are sent in slots of this length.
const SLOT: Duration = Duration::from_millis(10);
/// A hiccup up to this long is made up for.
const MADE_UP: Duration = Duration::from_secs(1);

/// A running load.
pub struct Heavy {
    stopped: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    began: Instant,
    thread: JoinHandle<()>,
}

impl Heavy {
    /// Registers the services and begins.
    pub fn start(fleet: &Arc<Fleet>, weight: Weight, seed: u64) -> Self {
        let services: Vec<Service> = (0..weight.series.div_ceil(2)).map(Service::new).collect();
        let interval_ms = 1_000 * weight.series / weight.rate.max(1);
        services.iter().for_each(|service| fleet.register(&service.spec(interval_ms.max(1))));
        let (stopped, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, count, fleet) = (stopped.clone(), sent.clone(), fleet.clone());
        let thread = std::thread::spawn(move || {
            let mut dice = Dice::new(seed);
            let mut series = services.iter().flat_map(|service| [(service, "q"), (service, "r")]).cycle();
            let (mut next, mut owed) = (Instant::now(), 0);
            while !stop.load(Ordering::Relaxed) {
                owed += weight.rate * SLOT.as_millis() as u64;
                let now = now_ms();
                while owed >= 1_000 {
                    owed -= 1_000;
                    let Some((service, sensor)) = series.next() else { return };
                    service.emit(&fleet, sensor, now, &mut dice);
                    count.fetch_add(1, Ordering::Relaxed);
                }
                next = (next + SLOT).max(Instant::now() - MADE_UP);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            fleet.flush();
        });
        Self { stopped, sent, began: Instant::now(), thread }
    }

    /// Readings so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Readings a second that were really reached.
    pub fn rate(&self) -> u64 {
        (self.sent() as f64 / self.began.elapsed().as_secs_f64()) as u64
    }

    /// Stops, and waits until everything is acknowledged.
    pub fn stop(self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load failed");
    }
}

/// A service with the sensors `q` and `r`.
struct Service {
    place: u64,
    id: String,
    home: i32,
}

impl Service {
    fn new(place: u64) -> Self {
        let id = if place.is_multiple_of(10) { format!("nervous{place}") } else { format!("calm{place}") };
        Self { place, home: home_partition(&id, PARTITIONS), id }
    }

    fn is_nervous(&self) -> bool {
        self.place.is_multiple_of(10)
    }

    fn spec(&self, interval_ms: u64) -> String {
        let (id, interval) = (&self.id, interval_ms as f64 / 1_000.0);
        let slo = if self.is_nervous() {
            // Windows of 1 to 5 s.
            let window = 1 + self.place / 10 % 5;
            format!(
                "  window_seconds: {window}\n  min_samples: 3\n  recover_for: 0\n  flap_limit: 2\n  flap_window: 4\n"
            )
        } else {
            "  window_seconds: 300\n  recover_for: 10\n".to_owned()
        };
        let look = if self.is_nervous() { (4.0 * interval).max(1.0) } else { 30.0 };
        format!(
            "id: {id}\nowner: torture\nsensors:\n  - {{name: q, interval: {interval}}}\n  - {{name: r, unit: ratio, \
             interval: {interval}}}\nslo:\n  target: q\n  threshold: 30\n{slo}playbook:\n  - if: slo_breach\n    then: \
             scale_up compute=+1\n  - if: still_breach_after {look}\n    then: page channel=x\n  - if: r > 2 % for 3\n    \
             then: rollback deploy\n"
        )
    }

    /// One reading, most of the time a good one at home.
    fn emit(&self, fleet: &Fleet, sensor: &str, now: i64, dice: &mut Dice) {
        let (mut partition, mut sensor, mut ts, mut value) = (self.home, sensor, now, self.value(sensor, now));
        value += dice.between(-900, 900) as f64 / 1_000.0;
        match dice.below(1_000) {
            0..20 => partition = (self.home + 1 + dice.below(3) as i32) % PARTITIONS,
            20..25 => sensor = "unheard_of",
            25..35 => ts -= dice.between(300, 3_000),
            35..37 => ts -= 400_000,
            37 => ts += 60_000,
            38 => value = f64::NAN,
            _ => {}
        }
        fleet.emit_to(partition, &self.id, sensor, ts, value);
    }

    /// Each has its own bad times: the calm ones 40 s in 400 s, the nervous ones half of every few seconds.
    fn value(&self, sensor: &str, now: i64) -> f64 {
        let phase = |period: i64| (now + 977 * self.place as i64).rem_euclid(period);
        let is_bad = match (sensor, self.is_nervous()) {
            ("q", true) => phase(6_000) < 3_000,
            ("q", false) => phase(400_000) < 40_000,
            _ => phase(60_000) < 6_000,
        };
        match (sensor, is_bad) {
            ("q", true) => 40.0,
            ("q", false) => 10.0,
            (_, true) => 2.0,
            _ => -2.0,
        }
    }
}
