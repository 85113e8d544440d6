//! What one reading costs, step by step: decode, home, step of the core, window, verdict, digest, encode; and what a
//! spec costs at start. They show where the time goes; what all of it comes to is `ops bench`'s business.
//!
//! `cargo bench --bench micro` (`-- decode` for some of them, `-- --sample-count 10` for a quick look). Where a bench
//! does many things at a time, the column `items/s` counts them: readings, instants, values.

use std::hint::black_box;
use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, Divan};
use hms_ops::codec;
use hms_ops::codec::ids::Ids;
use hms_ops::codec::reading::decode_with_any_name;
use hms_ops::model::ids::home_partition;
use hms_ops::model::reading::{Attributes, Reading};
use hms_ops::model::state::Rollup;
use hms_ops::processor::ahead::GROUP;
use hms_ops::processor::core::{Body, CUT_MS, Core, Effects, Elsewhere, Outcome, Record, SpecChange};
use hms_ops::spec;
use hms_ops::window::digest::{Sketch, estimate};
use hms_ops::window::panes::Panes;
use hms_ops::window::steps::Counters;

/// The processor's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Readings that one bench of the codec goes through: more than one, so that no branch is learnt by heart.
const RECORDS: usize = 1_000;
const BEGIN: i64 = 1_700_000_000_000;
const SECOND: i64 = 1_000;
const WINDOW: i64 = 300 * SECOND;
const SENSOR: &str = "queue_time_seconds";
const THRESHOLD: f64 = 30.0;

fn main() {
    Divan::from_args().main();
}

/// A queue that is nearly always short enough: about one reading in a hundred is over the threshold.
fn value(n: usize) -> f64 {
    let scattered = n.wrapping_mul(7_919) % 1_009;
    if scattered < 10 { THRESHOLD + 5.0 } else { scattered as f64 / 40.0 }
}

fn service(n: usize) -> String {
    format!("scanner-{n:06}")
}

/// 14 + 18 letters, a time, a value: 59 bytes on the bus.
fn reading(n: usize) -> Reading<'static> {
    let (service, sensor) = (service(n).into(), SENSOR.into());
    Reading { service, sensor, ts: BEGIN + n as i64, value: value(n), attributes: Attributes::new() }
}

mod decode {
    use super::*;

    /// Goes through all values; the bench's items are records.
    fn each(bencher: Bencher, values: Vec<Vec<u8>>) {
        bencher.counter(ItemsCount::new(values.len())).bench_local(|| {
            for value in black_box(&values) {
                let _ = black_box(decode_with_any_name(Ids::NONE, Some(b"scanner-000017"), Some(value), BEGIN));
            }
        });
    }

    #[divan::bench]
    fn avro_59_bytes(bencher: Bencher) {
        let values: Vec<_> = (0..RECORDS).map(|n| codec::reading::encode(&reading(n))).collect();
        assert_eq!(values[0].len(), 59);
        each(bencher, values);
    }

    #[divan::bench]
    fn wire_format_54_bytes(bencher: Bencher) {
        let mut ids = Ids::default();
        codec::formats().into_iter().zip(1..).for_each(|(format, id)| ids.write(format, id));
        let values: Vec<_> = (0..RECORDS).filter_map(|n| ids.frame(&codec::reading::encode(&reading(n)))).collect();
        assert_eq!(values[0].len(), 54);
        bencher.counter(ItemsCount::new(values.len())).bench_local(|| {
            for value in black_box(&values) {
                let _ = black_box(decode_with_any_name(&ids, Some(b"scanner-000017"), Some(value), BEGIN));
            }
        });
    }

    #[divan::bench]
    fn avro_with_two_attributes(bencher: Bencher) {
        let attributes: Attributes = [("pod", "scanner-7d4b9c-x2x9k"), ("version", "2026.11.3")]
            .map(|(name, text)| (name.into(), text.into()))
            .into();
        let values = (0..RECORDS).map(|n| Reading { attributes: attributes.clone(), ..reading(n) });
        each(bencher, values.map(|reading| codec::reading::encode(&reading)).collect());
    }

    #[divan::bench]
    fn avro_that_is_cut_off(bencher: Bencher) {
        let values = (0..RECORDS).map(|n| codec::reading::encode(&reading(n))).map(|mut value| {
            value.truncate(40);
            value
        });
        each(bencher, values.collect());
    }

    #[divan::bench]
    fn json_as_an_sdk_writes_it(bencher: Bencher) {
        let text = |n| {
            let Reading { service, sensor, ts, value, .. } = reading(n);
            format!(r#"{{"service":"{service}","sensor":"{sensor}","ts":{ts},"value":{value}}}"#).into_bytes()
        };
        each(bencher, (0..RECORDS).map(text).collect());
    }

    #[divan::bench]
    fn json_with_two_attributes(bencher: Bencher) {
        let text = |n| {
            let Reading { service, sensor, ts, value, .. } = reading(n);
            format!(
                r#"{{"service": "{service}", "sensor": "{sensor}", "ts": {ts}, "value": {value}, "attributes": {{"pod": "scanner-7d4b9c-x2x9k", "version": "2026.11.3"}}}}"#
            )
            .into_bytes()
        };
        each(bencher, (0..RECORDS).map(text).collect());
    }

    #[divan::bench]
    fn json_with_escapes_and_unknown_fields(bencher: Bencher) {
        let text = |n| {
            let Reading { service, sensor, ts, value, .. } = reading(n);
            format!(r#"{{"unit":"s\u0065c","service":"{service}","sensor":"{sensor}","ts":{ts},"value":{value},"x":[1,{{}}]}}"#)
                .into_bytes()
        };
        each(bencher, (0..RECORDS).map(text).collect());
    }

    #[divan::bench]
    fn json_that_is_cut_off(bencher: Bencher) {
        let text = |n| format!(r#"{{"service":"{}","sensor":"{SENSOR}","ts":17"#, service(n)).into_bytes();
        each(bencher, (0..RECORDS).map(text).collect());
    }
}

mod encode {
    use super::*;

    #[divan::bench]
    fn reading_59_bytes(bencher: Bencher) {
        let reading = reading(17);
        bencher.bench_local(|| codec::reading::encode(black_box(&reading)));
    }

    /// Readings that a series got since the last cut.
    #[divan::bench(args = [20, 1_000])]
    fn rollup_of(bencher: Bencher, readings: usize) {
        let rollup = rollup(readings);
        let mut value = Vec::new();
        bencher.bench_local(|| {
            value.clear();
            codec::state::encode_rollup(black_box(&rollup), &mut value);
        });
    }

    #[divan::bench(args = [20, 1_000])]
    fn decode_rollup_of(bencher: Bencher, readings: usize) {
        let mut bytes = Vec::new();
        codec::state::encode_rollup(&rollup(readings), &mut bytes);
        bencher.bench_local(|| codec::state::decode_rollup(black_box(&bytes)));
    }

    /// What the core itself publishes.
    fn rollup(readings: usize) -> Rollup {
        let mut fleet = Fleet::new(1, readings / 10);
        fleet.run(2 * CUT_MS);
        let cut = fleet.effects.cuts.pop().expect("a cut every 10 s");
        let (_, value) = cut.rollups.iter().next().expect("of the one series");
        codec::state::decode_rollup(value).expect("what was encoded")
    }
}

#[divan::bench]
fn home_partition_of_14_letters(bencher: Bencher) {
    let names: Vec<_> = (0..RECORDS).map(service).collect();
    bencher
        .counter(ItemsCount::new(RECORDS))
        .bench_local(|| black_box(&names).iter().map(|name| home_partition(name, 8)).sum::<i32>());
}

/// Services with one series and an SLO each, whose windows are full.
struct Fleet {
    core: Core,
    effects: Effects,
    readings: Vec<Reading<'static>>,
    /// Readings a second and series.
    rate: usize,
    now: i64,
    count: usize,
}

impl Fleet {
    fn new(series: usize, rate: usize) -> Self {
        let (mut core, mut effects) = (Core::new(0, 1), Effects::default());
        let parse = |n| SpecChange::Register(Arc::new(spec::parse(&text(n)).expect("a spec").spec));
        core.apply((0..series).map(parse), 0, &mut effects);
        effects.clear();
        Self { core, effects, readings: (0..series).map(reading).collect(), rate, now: BEGIN, count: 0 }
    }

    /// Readings in order, evenly over the time; keeps the effects of the last cut alone.
    fn run(&mut self, for_ms: i64) {
        let rounds = for_ms as usize / SECOND as usize * self.rate;
        let begin = self.now;
        for round in 0..rounds {
            self.now = begin + (round as i64 + 1) * for_ms / rounds as i64;
            // As the worker does it.
            for group in self.readings.chunks_mut(GROUP) {
                let mut places = [None; GROUP];
                self.core.look_ahead(group.iter().map(Some), &mut places);
                for (reading, place) in group.iter_mut().zip(places) {
                    (reading.ts, reading.value) = (self.now - 20, value(self.count));
                    let body = Body::Reading(reading);
                    let record = Record {
                        offset: self.count as i64,
                        append_ms: self.now,
                        body,
                        elsewhere: Elsewhere::default(),
                    };
                    if !self.effects.cuts.is_empty() && self.now % CUT_MS == 0 {
                        self.effects.clear();
                    }
                    let outcome = self.core.step_at(place, record, &mut self.effects);
                    debug_assert_eq!(outcome, Outcome::Counted { late: false });
                    self.count += 1;
                }
            }
        }
    }
}

fn text(n: usize) -> String {
    format!(
        "id: {}\nowner: TSA\nsensors:\n  - {{name: {SENSOR}, unit: seconds}}\n\
         slo:\n  target: {SENSOR}\n  threshold: {THRESHOLD}\n  window_seconds: 300\n\
         playbook:\n  - if: slo_breach\n    then: scale_up compute=+2\n  - if: still_breach_after 60\n    \
         then: page channel=tsa_ops, severity=critical\n  - always:\n    log_to: HMS-DTA\n",
        service(n)
    )
}

/// A cut, ten instants of every service and all the readings between, at 1,000 readings a second in 100 series and
/// 20,000 in 10,000. Its items are readings.
#[divan::bench(args = [(100, 10), (10_000, 2)], sample_count = 20, sample_size = 1)]
fn step_of_the_core_over_10_s(bencher: Bencher, (series, rate): (usize, usize)) {
    let mut fleet = Fleet::new(series, rate);
    fleet.run(WINDOW + CUT_MS);
    bencher.counter(ItemsCount::new(series * rate * 10)).bench_local(|| fleet.run(CUT_MS));
}

mod window {
    use super::*;

    fn full() -> Panes {
        let mut panes = Panes::new(WINDOW, SECOND);
        (0..300).for_each(|n| count(&mut panes, n));
        panes
    }

    fn count(panes: &mut Panes, n: usize) {
        let value = value(n);
        panes.count(BEGIN + n as i64 * SECOND, Counters::one(value > THRESHOLD, value > 0.9 * THRESHOLD));
    }

    /// One reading, one step on, the nearest-rank p95 of the window: what 300 steps cost a second of a series.
    #[divan::bench]
    fn count_advance_and_judge(bencher: Bencher) {
        let (mut panes, mut n) = (full(), 300);
        let slo = spec::parse(&text(0)).expect("a spec").spec.slo.expect("an slo");
        bencher.bench_local(|| {
            count(&mut panes, n);
            let window = panes.advance(BEGIN + n as i64 * SECOND);
            n += 1;
            window.over > window.n - slo.rank(window.n)
        });
    }

    /// Every step of it, as an escalation looks at its fresh part.
    #[divan::bench]
    fn sum_of_300_steps(bencher: Bencher) {
        let panes = full();
        bencher.bench_local(|| black_box(&panes).sum(BEGIN - SECOND, BEGIN + WINDOW));
    }
}

mod digest {
    use super::*;

    fn values(count: usize) -> Vec<f64> {
        (0..count).map(value).collect()
    }

    #[divan::bench(args = [17, 1_000])]
    fn sketch_of_values(bencher: Bencher, count: usize) {
        let values = values(count);
        bencher.counter(ItemsCount::new(count)).bench_local(|| Sketch::of(black_box(&values), 1, 2));
    }

    /// What a window of 300 s shows, from cuts of so many values.
    #[divan::bench(args = [17, 1_000])]
    fn estimate_over_30_sketches_of(bencher: Bencher, count: usize) {
        let values: Vec<_> = (0..30).map(|_| values(count)).collect();
        let sketches: Vec<_> = values.iter().map(|values| Sketch::of(values, 1, 2)).collect();
        bencher.bench_local(|| {
            estimate(black_box(&sketches).iter().filter_map(|sketch| sketch.digest(0, 2)).collect(), 0.95)
        });
    }
}

mod spec_text {
    use super::*;

    #[divan::bench]
    fn parse_the_reference_example(bencher: Bencher) {
        let text = include_str!("../examples/scanner.ops.yaml");
        bencher.bench_local(|| spec::parse(black_box(text)).expect("a spec"));
    }

    /// What every service has in the benches above.
    #[divan::bench]
    fn parse_a_short_one(bencher: Bencher) {
        let text = text(17);
        bencher.bench_local(|| spec::parse(black_box(&text)).expect("a spec"));
    }
}
