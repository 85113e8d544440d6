//! Watches something work: how far it is by what it commits (or says), what it uses by its process.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::Bench;
use super::broker::BrokerUsage;
use super::child::{Child, Usage};
use super::error::{Error, Result};
use super::figure::{Figures, Stretch};
use super::ground::Ground;
use crate::bus::bare::Span;
use crate::bus::onlooker::Onlooker;

/// Between two looks at committed offsets: nobody tells when they move.
const LOOK: Duration = Duration::from_millis(50);
/// Whoever does not move for so long will not.
const PATIENCE: Duration = Duration::from_secs(180);
/// Warm is after this share of the records.
const COLD: f64 = 0.4;

/// Is the rest what counts as warm?
pub fn is_warm(done: u64, expected: u64) -> bool {
    done as f64 >= COLD * expected as f64
}

/// How far something is.
pub trait Progress {
    /// Waits for news, not longer than a look takes; records done so far.
    ///
    /// # Errors
    /// The bus.
    fn done(&mut self) -> Result<u64>;
}

/// By the offsets that its group has committed.
pub struct Offsets {
    onlooker: Onlooker,
    spans: Vec<Span>,
}

impl Offsets {
    /// Of `group`, over `spans` of the input.
    ///
    /// # Errors
    /// Wrong settings.
    pub fn new(ground: &Ground, group: &str, spans: Vec<Span>) -> Result<Self> {
        let onlooker = Onlooker::new(&ground.settings, group, &ground.topics.metrics, ground.partitions)?;
        Ok(Self { onlooker, spans })
    }
}

impl Progress for Offsets {
    fn done(&mut self) -> Result<u64> {
        thread::sleep(LOOK);
        let committed = self.onlooker.committed()?;
        let done = self.spans.iter().zip(committed).map(|((_, low, high), committed)| {
            let done = committed.map_or(*low, |(at, _)| at).clamp(*low, *high) - low;
            u64::try_from(done).unwrap_or(0)
        });
        Ok(done.sum())
    }
}

/// By the numbers that it prints, one a line.
pub struct Lines {
    numbers: Receiver<u64>,
    last: u64,
}

impl Lines {
    /// Reads them in a thread that ends with them.
    pub fn new(stdout: impl Read + Send + 'static) -> Self {
        let (send, numbers) = channel();
        thread::spawn(move || {
            let numbers = BufReader::new(stdout).lines().map_while(std::io::Result::ok);
            for number in numbers.filter_map(|line| line.trim().parse().ok()) {
                if send.send(number).is_err() {
                    return;
                }
            }
        });
        Self { numbers, last: 0 }
    }
}

impl Progress for Lines {
    fn done(&mut self) -> Result<u64> {
        match self.numbers.recv_timeout(LOOK) {
            Ok(number) => self.last = number,
            Err(RecvTimeoutError::Timeout) => {}
            // The child has ended, which its owner will notice.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(LOOK),
        }
        Ok(self.last)
    }
}

/// One look.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    done: u64,
    usage: Usage,
    broker: Option<BrokerUsage>,
}

/// How the watching ended.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// What was seen.
    pub figures: Figures,
    /// Records done: at least what was expected.
    pub done: u64,
}

/// Watches `child`, and the broker beside it, until `progress` says `expected`.
///
/// # Errors
/// It ends, or stands still; the user is impatient.
pub fn until(
    bench: &Bench<'_>,
    expected: u64,
    child: &mut Child,
    progress: &mut dyn Progress,
    mut tell: impl FnMut(u64),
) -> Result<Watched> {
    let started = Instant::now();
    let sample = |at: Instant, done: u64, child: &mut Child| {
        let broker = bench.broker.and_then(|broker| broker.usage());
        Sample { at, done, usage: child.usage(), broker }
    };
    let mut samples = vec![sample(started, 0, child)];
    let mut moved = started;
    loop {
        let done = progress.done()?;
        let before = samples.last().map_or(0, |sample| sample.done);
        if done != before {
            moved = Instant::now();
            samples.push(sample(moved, done, child));
            tell(done);
            if done >= expected {
                return Ok(Watched { figures: figures(&samples), done });
            }
        } else if moved.elapsed() > PATIENCE {
            let (name, lines, seconds) = (child.name().to_owned(), child.last_lines(), PATIENCE.as_secs());
            return Err(Error::Stalled { name, consumed: done, expected, seconds, lines });
        }
        child.check()?;
        if bench.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
    }
}

/// Of at least one sample, of which the first was before anything moved.
fn figures(samples: &[Sample]) -> Figures {
    let (Some(begin), Some(end)) = (samples.first(), samples.last()) else { return Figures::default() };
    // What came before the first commit came at an unknown time, unless there was no other.
    let first = samples.iter().find(|sample| sample.done > 0 && sample.done < end.done).unwrap_or(begin);
    let cold = (end.done as f64 * COLD) as u64;
    let warm = samples.iter().find(|sample| sample.done >= cold.max(1) && sample.done < end.done).unwrap_or(first);
    Figures {
        whole: stretch(first, end),
        warm: stretch(warm, end),
        start_cpu_s: first.usage.cpu_s,
        start_s: first.at.duration_since(begin.at).as_secs_f64(),
        peak_mib: end.usage.peak_bytes as f64 / f64::from(1 << 20),
    }
}

fn stretch(from: &Sample, to: &Sample) -> Stretch {
    let readings = to.done - from.done;
    let seconds = to.at.duration_since(from.at).as_secs_f64();
    let cpu_s = to.usage.cpu_s - from.usage.cpu_s;
    Stretch {
        readings,
        seconds,
        per_second: readings as f64 / seconds,
        cpu_s_per_million: cpu_s / readings as f64 * 1e6,
        broker: from.broker.zip(to.broker).map(|(from, to)| to.since(from, readings, seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_before_the_first_commit_is_not_measured() {
        let start = Instant::now();
        let sample = |ms: u64, done: u64, cpu_s: f64| Sample {
            at: start + Duration::from_millis(ms),
            done,
            usage: Usage { cpu_s, peak_bytes: 1 << 20 },
            broker: None,
        };
        let samples = [sample(0, 0, 0.5), sample(5_000, 100, 3.0), sample(5_500, 500, 3.2), sample(6_000, 1_100, 3.5)];
        let figures = figures(&samples);
        assert_eq!((figures.whole.readings, figures.whole.per_second, figures.start_cpu_s), (1_000, 1_000.0, 3.0));
        assert_eq!((figures.warm.readings, figures.warm.per_second), (600, 1_200.0));
        assert!((figures.whole.cpu_s_per_million - 500.0).abs() < 1e-6 && figures.peak_mib == 1.0, "{figures:?}");
        let all_at_once = super::figures(&samples[..2]);
        assert_eq!((all_at_once.whole.readings, all_at_once.whole.seconds), (100, 5.0));
    }
}
