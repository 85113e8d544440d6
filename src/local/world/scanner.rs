//! The simulated airport scanner: passengers queue, lanes (replicas) serve them, and the queue time follows.
//! Pure: time comes in, a queue time comes out; the same calls give the same answers. The demo calls it.
//!
//! Passengers arrive at a rate that surges once. What the lanes cannot serve waits; the longer the queue, the more
//! passengers go elsewhere (so a short-handed scanner settles at a bad level instead of growing without end).
//!
//! ```text
//! queue time = TRANSIT + waiting / (lanes x SERVED)     and one measured value scatters a little around it
//!
//! 2 lanes, surge:   12 s .. 30 s (breach) .. 38 s, and there it stays
//! then 4 lanes:     38 s -> 25 s at once (two queues become four), then back to 12 s as the backlog drains
//! ```

/// Seconds that a passenger needs without any queue.
const TRANSIT_S: f64 = 12.0;
/// Passengers that one lane serves in a second.
const SERVED: f64 = 0.5;
/// Lanes for which the normal traffic and the surge are made.
const USUAL_LANES: f64 = 2.0;
/// Arrivals, as a share of what the usual lanes serve: before the surge and after.
const NORMAL: f64 = 0.8;
const SURGE: f64 = 1.8;
/// At this much waiting time nobody joins any more, seconds. With the surge's arrivals the usual lanes settle at
/// 26 s of waiting: `SURGE x (1 - 26 / 58.5) = 1`.
const NOBODY_JOINS_S: f64 = 58.5;
/// Largest deviation of one measured value, seconds.
const SCATTER_S: f64 = 0.4;
/// A scanner without lanes reports this, seconds: as long as its day.
const CLOSED_S: f64 = 600.0;
/// Longest step of the calculation, simulated seconds.
const STEP_S: f64 = 0.1;

/// How the story goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// When the surge begins, ms after the start (by the same clock as `dt_ms`).
    pub surge_after_ms: u64,
    /// Simulated seconds in a second: 10 makes a minute's queue in 6 s.
    pub speed: f64,
    /// Do more lanes than the usual two help? If not, they open without anybody to staff them.
    pub help: bool,
    /// Seed of the scatter.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { surge_after_ms: 8000, speed: 10.0, help: true, seed: 1 }
    }
}

/// The scanner at one moment.
#[derive(Clone, Debug)]
pub struct Scanner {
    options: Options,
    elapsed_ms: u64,
    /// Passengers in the queue.
    waiting: f64,
    random: u64,
}

impl Scanner {
    /// An empty queue, before the surge.
    pub fn new(options: Options) -> Self {
        Self { options, elapsed_ms: 0, waiting: 0.0, random: options.seed }
    }

    /// Lets `dt_ms` pass with `ready_replicas` lanes open; returns the queue time that is measured then, seconds.
    pub fn advance(&mut self, dt_ms: u64, ready_replicas: u32) -> f64 {
        let lanes = self.staffed(ready_replicas);
        let before_surge = self.options.surge_after_ms.saturating_sub(self.elapsed_ms).min(dt_ms);
        self.pass(before_surge, NORMAL, lanes);
        self.pass(dt_ms - before_surge, SURGE, lanes);
        self.elapsed_ms = self.elapsed_ms.saturating_add(dt_ms);
        let scatter = SCATTER_S * self.scatter();
        (self.queue_time(lanes) + scatter).min(CLOSED_S)
    }

    fn staffed(&self, ready_replicas: u32) -> f64 {
        let lanes = f64::from(ready_replicas);
        if self.options.help { lanes } else { lanes.min(USUAL_LANES) }
    }

    fn queue_time(&self, lanes: f64) -> f64 {
        if lanes > 0.0 { TRANSIT_S + self.waiting / (lanes * SERVED) } else { CLOSED_S }
    }

    /// Moves the queue on by `ms` of the caller's time with arrivals of `load` times the usual capacity.
    fn pass(&mut self, ms: u64, load: f64, lanes: f64) {
        let mut left_s = ms as f64 / 1000.0 * self.options.speed;
        let arriving = load * USUAL_LANES * SERVED;
        while left_s > 0.0 {
            let step_s = left_s.min(STEP_S);
            let waiting_s = self.queue_time(lanes) - TRANSIT_S;
            let joining = arriving * (1.0 - waiting_s / NOBODY_JOINS_S).max(0.0);
            self.waiting = (self.waiting + (joining - lanes * SERVED) * step_s).max(0.0);
            left_s -= step_s;
        }
    }

    /// The next of a sequence in [-1, 1] that depends on the seed alone (SplitMix64).
    fn scatter(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DT_MS: u64 = 100;

    /// Queue times of `seconds` seconds, ten a second.
    fn run(scanner: &mut Scanner, seconds: u64, lanes: u32) -> Vec<f64> {
        (0..seconds * 1000 / DT_MS).map(|_| scanner.advance(DT_MS, lanes)).collect()
    }

    fn last(times: &[f64]) -> f64 {
        times[times.len() - 1]
    }

    #[test]
    fn before_the_surge_the_queue_is_steady_at_12_s() {
        let times = run(&mut Scanner::new(Options::default()), 8, 2);
        assert!(times.iter().all(|time| (11.5..12.5).contains(time)), "{times:?}");
        assert!(times.windows(2).any(|pair| pair[0] != pair[1]), "no scatter");
    }

    #[test]
    fn two_lanes_breach_some_seconds_after_the_surge_and_settle_at_38_s() {
        let mut scanner = Scanner::new(Options::default());
        run(&mut scanner, 8, 2);
        let times = run(&mut scanner, 30, 2);
        let breach = times.iter().position(|time| *time > 30.0).unwrap() as u64 * DT_MS;
        assert!((2000..6000).contains(&breach), "breach after {breach} ms");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] < 2.0), "it jumps: {times:?}");
        assert!(times[100..].iter().all(|time| (35.0..39.0).contains(time)), "{times:?}");
    }

    #[test]
    fn two_more_lanes_bring_it_below_20_s_and_back_to_12() {
        let mut scanner = Scanner::new(Options::default());
        run(&mut scanner, 23, 2);
        let times = run(&mut scanner, 30, 4);
        assert!(times[0] < 27.0, "{}", times[0]);
        let healed = times.iter().position(|time| *time < 20.0).unwrap() as u64 * DT_MS;
        assert!(healed < 5000, "healed after {healed} ms");
        assert!((11.5..13.0).contains(&last(&times)), "{}", last(&times));
    }

    #[test]
    fn one_more_lane_helps_less_than_two() {
        let settled = |lanes| {
            let mut scanner = Scanner::new(Options::default());
            run(&mut scanner, 15, 2);
            last(&run(&mut scanner, 30, lanes))
        };
        let (two, three, four) = (settled(2), settled(3), settled(4));
        assert!(four + 2.0 < three && three + 2.0 < two, "{four} {three} {two}");
    }

    #[test]
    fn without_help_more_lanes_change_nothing() {
        let options = Options { help: false, ..Options::default() };
        let (mut few, mut many) = (Scanner::new(options), Scanner::new(options));
        assert_eq!(run(&mut few, 40, 2), run(&mut many, 40, 10));
        assert!(many.advance(DT_MS, 10) > 35.0);
    }

    #[test]
    fn the_same_calls_give_the_same_queue_and_another_seed_another_scatter() {
        let options = Options::default();
        let times = |seed| run(&mut Scanner::new(Options { seed, ..options }), 20, 2);
        assert_eq!(times(7), times(7));
        assert_ne!(times(7), times(8));
    }

    #[test]
    fn the_size_of_the_steps_does_not_matter() {
        let (mut fine, mut coarse) = (Scanner::new(Options::default()), Scanner::new(Options::default()));
        for _ in 0..1000 {
            fine.advance(20, 2);
        }
        coarse.advance(20_000, 2);
        assert!((fine.waiting - coarse.waiting).abs() < 0.1, "{} {}", fine.waiting, coarse.waiting);
    }

    #[test]
    fn a_closed_scanner_keeps_its_queue_and_says_so() {
        let mut scanner = Scanner::new(Options::default());
        run(&mut scanner, 12, 2);
        let waiting = scanner.waiting;
        assert!(scanner.advance(1000, 0) > 500.0);
        assert!(scanner.waiting >= waiting);
    }
}
