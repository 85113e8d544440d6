//! Readings by the clock: a thread that emits for many services at a steady pace until it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hms_ops::model::ids::home_partition;

use super::fleet::{Fleet, PARTITIONS, ids, now_ms};

/// A running load. Stopped when dropped.
pub struct Load {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Calls `emit` for each of `services` once a `pace`, with the place of the service in the list, its id, and
    /// the time in ms.
    pub fn start(
        fleet: &Arc<Fleet>,
        services: &[String],
        pace: Duration,
        mut emit: impl FnMut(&Fleet, usize, &str, i64) + Send + 'static,
    ) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let (fleet, services, stop) = (fleet.clone(), services.to_vec(), stopped.clone());
        let thread = std::thread::spawn(move || {
            let mut next = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                let now = now_ms();
                for (place, service) in services.iter().enumerate() {
                    emit(&fleet, place, service, now);
                }
                // The pace is the point; a late round is not made up for.
                next = (next + pace).max(Instant::now());
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            fleet.flush();
        });
        Self { stopped, thread: Some(thread) }
    }

    /// Stops, and waits until everything is acknowledged.
    pub fn stop(mut self) {
        assert!(self.join(), "the load failed");
    }

    /// Says whether all went well.
    fn join(&mut self) -> bool {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.take().is_none_or(|thread| thread.join().is_ok())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.join();
    }
}

/// A service whose incidents open and resolve within seconds.
pub fn nervous(id: &str) -> String {
    format!(
        "id: {id}\nowner: test\nsensors:\n  - {{name: q, interval: 0.1}}\n\
         slo:\n  target: q\n  threshold: 30\n  window_seconds: 1\n  step: 0.25\n  lateness: 0.25\n  min_samples: 5\n  \
         recover_for: 0\n  flap_limit: 2\n  flap_window: 2\n\
         playbook:\n  - if: slo_breach\n    then: scale_up compute=+1\n  - if: still_breach_after 0.5\n    then: page channel=x\n  \
         - if: recovered\n    then: page channel=y\n"
    )
}

/// Bad for 1.5 s of every 3 s, each service at its own time: several turns a second.
fn restless(place: usize, now: i64) -> f64 {
    let phase = (now + 250 * i64::try_from(place).unwrap()).rem_euclid(3_000);
    if phase < 1_500 { 40.0 } else { 10.0 }
}

/// Three nervous services in each partition, and their readings. One in five arrives away from home, one in twenty is
/// of a sensor that nobody knows: forwards and dead letters are part of the transactions too.
pub fn start(fleet: &Arc<Fleet>) -> Load {
    start_as(fleet, nervous)
}

/// The same, of services with another spec.
pub fn start_as(fleet: &Arc<Fleet>, spec: impl Fn(&str) -> String) -> Load {
    let services = ids("k", 3);
    services.iter().for_each(|id| fleet.register(&spec(id)));
    let mut count = 0;
    Load::start(fleet, &services, Duration::from_millis(50), move |fleet, place, id, now| {
        count += 1;
        let away = i32::from(count % 5 == 0);
        let sensor = if count % 20 == 7 { "unheard_of" } else { "q" };
        let partition = (home_partition(id, PARTITIONS) + away) % PARTITIONS;
        fleet.emit_to(partition, id, sensor, now, restless(place, now));
    })
}
