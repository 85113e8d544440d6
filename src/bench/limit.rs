//! The limit: what the client library reaches on the same topic with the same settings, when nothing is done with a
//! record but counting it. It runs in a process of its own, as everything that is measured does.

use std::io::{self, Read as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::error::Result;
use crate::bus::bare::{self, Form, Span};
use crate::bus::{Error, Offsets, Settings};

/// Between two numbers on stdout.
const TELL: Duration = Duration::from_millis(50);

/// Counts a topic in `threads` threads, each with its share of the partitions; prints how many records it has seen, now
/// and then and at the end. Then waits for the end of stdin: whoever measures looks at the process once more.
///
/// # Errors
/// The bus.
pub fn count(settings: &Settings, topic: &str, form: Form, threads: usize) -> Result<()> {
    let offsets = Offsets::new(settings)?;
    let mut shares: Vec<Vec<Span>> = vec![Vec::new(); threads.max(1)];
    for partition in 0..offsets.partitions(topic)? {
        let held = offsets.watermarks(topic, partition)?;
        shares[partition as usize % threads.max(1)].push((partition, held.low, held.high));
    }
    let (total, told) = (AtomicU64::new(0), Mutex::new(Instant::now()));
    let work = |spans: &[Span]| -> std::result::Result<(), Error> {
        let mut before = 0;
        bare::count(settings, topic, spans, form, |seen| {
            let sum = total.fetch_add(seen.records - before, Ordering::Relaxed) + seen.records - before;
            before = seen.records;
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.elapsed() >= TELL {
                println!("{sum}");
                *told = Instant::now();
            }
        })
        .map(drop)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = shares.iter().map(|spans| scope.spawn(|| work(spans))).collect();
        // A panic goes on in us.
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    println!("{}", total.load(Ordering::Relaxed));
    // Whatever ends the wait ends the work.
    let _ = io::stdin().read(&mut [0]);
    Ok(())
}
