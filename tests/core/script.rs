//! What the world does to the bus in a run with crashes: the oracle's random logs, spread over several partitions,
//! with readings away from home, bytes that nobody can read, holes, attributes, and specs that come and go.

use std::collections::BTreeMap;

use hms_ops::codec;
use hms_ops::model::ServiceId;
use hms_ops::model::ids::home_partition;
use hms_ops::model::reading::Reading;
use hms_ops::processor::core::SpecChange;

use super::bus::{Bus, Metric};
use super::feed::{parse, reading_of};
use super::oracle::dice::Dice;
use super::oracle::{self, Entry, generate};

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// Somebody appends a record to a partition.
    Append(usize, Metric),
    /// A transaction of a stranger ends: its marker takes an offset.
    Hole(usize),
    /// A service is registered anew or unregistered.
    Registry(ServiceId, SpecChange),
}

impl Event {
    /// Makes it happen.
    pub fn happen(&self, bus: &mut Bus) {
        match self {
            Self::Append(partition, metric) => {
                bus.now = metric.append;
                bus.partitions[*partition].metrics.append(metric.clone(), None);
            }
            Self::Hole(partition) => bus.partitions[*partition].metrics.append_marker(),
            Self::Registry(id, change) => {
                match change {
                    SpecChange::Register(_) => drop(bus.specs.insert(id.clone(), change.clone())),
                    SpecChange::Retire(_) => drop(bus.specs.remove(id)),
                }
                bus.version += 1;
            }
        }
    }
}

/// A random script of about `size` events over `partitions`; the same for the same seed.
pub fn script(seed: u64, size: usize, partitions: usize) -> Vec<Event> {
    let mut dice = Dice::new(seed.rotate_left(17));
    let mut events = Vec::new();
    for entry in generate::log_of_size(seed, size) {
        if dice.chance(3) {
            events.push(Event::Hole(dice.below(partitions as u64) as usize));
        }
        events.push(match entry {
            Entry::Spec(text) => {
                let spec = parse(&text);
                Event::Registry(spec.id.clone(), SpecChange::Register(spec))
            }
            Entry::Retire(id) => {
                let id = ServiceId::new(&id).expect("an id");
                Event::Registry(id.clone(), SpecChange::Retire(id))
            }
            Entry::Record { append, reading } => append_to(&mut dice, partitions, append, reading.as_ref()),
        });
    }
    events
}

fn append_to(dice: &mut Dice, partitions: usize, append: i64, reading: Option<&oracle::Reading>) -> Event {
    let anywhere = dice.below(partitions as u64) as usize;
    if dice.chance(5) {
        let (key, value) = poison(dice);
        return Event::Append(anywhere, Metric { append, key, value, from: None });
    }
    let partition = match reading {
        Some(reading) if !dice.chance(10) => home_partition(&reading.service, partitions as i32) as usize,
        _ => anywhere,
    };
    let has_time = reading.is_none_or(|reading| reading.ts.is_some());
    let mut reading = reading_of(append, reading);
    if dice.chance(20) {
        reading.attributes = BTreeMap::from([("pod".into(), format!("p-{}", dice.below(9)).into())]);
    }
    let key = Some(reading.service.as_bytes().to_vec());
    let value = if reading.value.is_finite() && (!has_time || dice.chance(30)) {
        json(&reading, has_time).into_bytes()
    } else {
        codec::reading::encode(&reading)
    };
    Event::Append(partition, Metric { append, key, value: Some(value), from: None })
}

/// By any Kafka client: the key stands for the service, and the append time for the event time.
fn json(reading: &Reading<'_>, has_time: bool) -> String {
    let mut value = serde_json::json!({"sensor": reading.sensor, "value": reading.value});
    if has_time {
        value["ts"] = reading.ts.into();
    }
    if !reading.attributes.is_empty() {
        value["attributes"] = serde_json::to_value(&reading.attributes).expect("text is JSON");
    }
    value.to_string()
}

fn poison(dice: &mut Dice) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let reading = Reading {
        service: "s0".into(),
        sensor: "q".into(),
        ts: 1,
        value: f64::NEG_INFINITY,
        attributes: BTreeMap::new(),
    };
    let good = codec::reading::encode(&reading);
    let value = match dice.below(9) {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(b"\0\0\0\0\x07whatever".to_vec()),
        3 => Some(good[..good.len() - 1 - dice.below(20) as usize].to_vec()),
        4 => Some([&good[..], b"x"].concat()),
        5 => Some(br#"{"sensor":"q","value":1e999}"#.to_vec()),
        6 => Some(br#"{"service":"a/../b","sensor":"q","value":1}"#.to_vec()),
        7 => Some(vec![b'{'; 40_000]),
        _ => Some(good),
    };
    let key = [None, Some(b"s0".to_vec()), Some(b"\xff\xfe".to_vec())];
    (key[dice.below(3) as usize].clone(), value)
}
