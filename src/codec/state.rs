//! `ops.rollups` and `ops.state`: what a cut writes. Written by the processor; read by its restores, the war room
//! and `ops status`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::binary::{Cursor, Fault, put_blocks, put_bytes, put_count, put_double, put_long};
use super::reading::put_attributes;
use super::{Error, ROLLUP, STATE, flat};
use crate::model::decimals;
use crate::model::state::{Centroid, LatestReading, PartitionRecord, Rollup, RollupPane, ServiceRecord};

/// What a record of `ops.state` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateRecord {
    /// A service; the key is its id.
    Service(ServiceRecord),
    /// The partition; the key is `_partition`.
    Partition(PartitionRecord),
}

/// `StateRecord` without a copy.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum StateView<'a> {
    Service(&'a ServiceRecord),
    Partition(&'a PartitionRecord),
}

/// The value on `ops.state` of a service.
pub fn encode_service(record: &ServiceRecord) -> Vec<u8> {
    flat::encode(&STATE, &StateView::Service(record))
}

/// The value on `ops.state` of the partition.
pub fn encode_partition(record: &PartitionRecord) -> Vec<u8> {
    flat::encode(&STATE, &StateView::Partition(record))
}

/// Reads a value of `ops.state`.
pub fn decode_state(value: &[u8]) -> Result<StateRecord, Error> {
    flat::decode(&STATE, value)
}

/// Appends the value on `ops.rollups`.
pub fn encode_rollup(rollup: &Rollup, out: &mut Vec<u8>) {
    ROLLUP.begin_in(out);
    put_bytes(out, rollup.service.as_bytes());
    put_bytes(out, rollup.sensor.as_bytes());
    put_long(out, rollup.cut_position);
    put_long(out, rollup.cut_clock);
    put_count(out, rollup.n);
    put_count(out, rollup.late);
    for value in [rollup.min, rollup.max, rollup.sum, rollup.last] {
        put_double(out, value);
    }
    for time in [rollup.first_ts, rollup.last_ts, rollup.seen] {
        put_long(out, time);
    }
    let mut end = rollup.panes.first().map_or(0, |pane| pane.end);
    put_long(out, end);
    put_blocks(out, rollup.panes.iter(), |out, pane| {
        put_long(out, pane.end.wrapping_sub(std::mem::replace(&mut end, pane.end)));
        put_count(out, pane.n);
        put_count(out, pane.over);
        put_count(out, pane.unrecovered);
    });
    put_blocks(out, rollup.latest.iter(), |out, latest| {
        put_long(out, latest.ts);
        put_double(out, latest.value);
        put_attributes(out, &latest.attributes);
    });
    put_values(out, &rollup.values);
    put_blocks(out, rollup.centroids.iter(), |out, centroid| {
        put_double(out, centroid.mean);
        put_double(out, centroid.weight);
    });
}

/// As whole numbers of their last decimal, if they are decimals.
fn put_values(out: &mut Vec<u8>, values: &[f64]) {
    let (decimals, wholes) = decimals::split(values).unwrap_or_default();
    let doubles = if wholes.is_empty() { values } else { &[] };
    put_blocks(out, doubles.iter(), |out, value| put_double(out, *value));
    put_long(out, decimals as i64);
    put_blocks(out, wholes.iter(), |out, whole| put_long(out, *whole));
}

fn values(cursor: &mut Cursor<'_>) -> Result<Vec<f64>, Fault> {
    let mut values = cursor.array(Cursor::double)?;
    let decimals = usize::try_from(cursor.int()?).unwrap_or(usize::MAX);
    cursor.blocks(|cursor| {
        values.push(decimals::value(cursor.long()?, decimals).ok_or(Fault::Malformed("decimals"))?);
        Ok(())
    })?;
    Ok(values)
}

/// Reads a value of `ops.rollups`.
pub fn decode_rollup(value: &[u8]) -> Result<Rollup, Error> {
    ROLLUP.read(value, |cursor| {
        Ok(Rollup {
            service: cursor.string()?.into(),
            sensor: cursor.string()?.into(),
            cut_position: cursor.long()?,
            cut_clock: cursor.long()?,
            n: cursor.count()?,
            late: cursor.count()?,
            min: cursor.double()?,
            max: cursor.double()?,
            sum: cursor.double()?,
            last: cursor.double()?,
            first_ts: cursor.long()?,
            last_ts: cursor.long()?,
            seen: cursor.long()?,
            panes: panes(cursor)?,
            latest: cursor.array(latest)?,
            values: values(cursor)?,
            centroids: cursor.array(|cursor| Ok(Centroid { mean: cursor.double()?, weight: cursor.double()? }))?,
        })
    })
}

/// Each pane says how far it is from the one before.
fn panes(cursor: &mut Cursor<'_>) -> Result<Vec<RollupPane>, Fault> {
    let mut end = cursor.long()?;
    cursor.array(|cursor| {
        end = end.wrapping_add(cursor.long()?);
        Ok(RollupPane { end, n: cursor.count()?, over: cursor.count()?, unrecovered: cursor.count()? })
    })
}

fn latest(cursor: &mut Cursor<'_>) -> Result<LatestReading, Fault> {
    let (ts, value, mut attributes) = (cursor.long()?, cursor.double()?, BTreeMap::new());
    cursor.blocks(|cursor| {
        attributes.insert(cursor.string()?.to_owned(), cursor.string()?.to_owned());
        Ok(())
    })?;
    Ok(LatestReading { ts, value, attributes })
}

#[cfg(test)]
mod tests {
    use super::super::tests::apache_avro_reads;
    use super::*;
    use crate::model::ServiceId;
    use crate::model::state::{
        ActiveRecord, AheadRecord, EpisodeRecord, LookRecord, MachineRecord, OpenRecord, VerdictKind,
    };
    use proptest::prelude::*;

    fn count() -> impl Strategy<Value = u64> {
        0..=i64::MAX as u64
    }

    fn attributes() -> impl Strategy<Value = BTreeMap<String, String>> {
        prop::collection::btree_map(".{0,6}", ".{0,6}", 0..4)
    }

    /// Infinities included: the sum of readings of 1e308 is one.
    fn double() -> impl Strategy<Value = f64> {
        prop::num::f64::NORMAL | prop::num::f64::INFINITE | prop::num::f64::ZERO
    }

    fn panes() -> impl Strategy<Value = RollupPane> {
        (any::<i64>(), count(), count(), count()).prop_map(|(end, n, over, unrecovered)| RollupPane {
            end,
            n,
            over,
            unrecovered,
        })
    }

    fn latest_readings() -> impl Strategy<Value = LatestReading> {
        (any::<i64>(), double(), attributes()).prop_map(|(ts, value, attributes)| LatestReading {
            ts,
            value,
            attributes,
        })
    }

    fn rollups() -> impl Strategy<Value = Rollup> {
        let names = (".{0,9}", ".{0,9}");
        let longs = any::<[i64; 5]>();
        let doubles = [double(), double(), double(), double()];
        let centroid = (double(), double()).prop_map(|(mean, weight)| Centroid { mean, weight });
        let lists = (
            prop::collection::vec(panes(), 0..4),
            prop::collection::vec(latest_readings(), 0..3),
            prop_oneof![
                prop::collection::vec(double(), 0..32),
                prop::collection::vec((-99_999..99_999_i32).prop_map(|n| f64::from(n) / 1e3), 0..32),
            ],
            prop::collection::vec(centroid, 0..9),
        );
        (names, longs, doubles, count(), count(), lists).prop_map(
            |((service, sensor), longs, [min, max, sum, last], n, late, (panes, latest, values, centroids))| Rollup {
                service: service.into(),
                sensor: sensor.into(),
                cut_position: longs[0],
                cut_clock: longs[1],
                n,
                late,
                min,
                max,
                sum,
                last,
                first_ts: longs[2],
                last_ts: longs[3],
                seen: longs[4],
                panes,
                latest,
                values,
                centroids,
            },
        )
    }

    fn open() -> impl Strategy<Value = OpenRecord> {
        let looks = prop::collection::vec(any::<(u32, i64)>(), 0..3);
        (any::<u64>(), any::<i64>(), prop::option::of(".*"), attributes(), looks).prop_map(
            |(generation, opened_at, spec, attributes, looks)| OpenRecord {
                id: format!("svc.{generation}").parse().unwrap(),
                opened_at,
                spec,
                attributes,
                looks: looks.into_iter().map(|(step, due)| LookRecord { step, due }).collect(),
            },
        )
    }

    fn machines() -> impl Strategy<Value = MachineRecord> {
        let episode = any::<(u64, u32, i64, Option<i64>, bool)>().prop_map(
            |(generation, openings, last_opened, last_resolved, flapping)| EpisodeRecord {
                id: format!("svc.{generation}").parse().unwrap(),
                openings,
                last_opened,
                last_resolved,
                flapping,
            },
        );
        let occurrence = prop::option::of(attributes());
        ("[a-z]{0,9}", any::<i64>(), prop::option::of(open()), prop::option::of(episode), occurrence).prop_map(
            |(phase, held_ms, incident, episode, occurrence)| MachineRecord {
                phase,
                held_ms,
                incident,
                episode,
                occurrence,
            },
        )
    }

    fn services() -> impl Strategy<Value = ServiceRecord> {
        let verdict = prop::option::of(prop::sample::select(vec![
            VerdictKind::Healthy,
            VerdictKind::Breached,
            VerdictKind::Insufficient,
            VerdictKind::NoData,
        ]));
        let machines = prop::collection::vec(machines(), 0..4);
        let active = (".*", any::<i64>(), any::<bool>(), any::<Option<i64>>(), verdict, machines).prop_map(
            |(spec, windows_from, over_limit, alive_since, verdict, machines)| ActiveRecord {
                spec,
                windows_from,
                over_limit,
                alive_since,
                verdict,
                machines,
            },
        );
        (count(), any::<i64>(), prop::option::of(active)).prop_map(|(generation, cut_position, active)| ServiceRecord {
            service: ServiceId::new("svc").unwrap(),
            generation,
            cut_position,
            active,
        })
    }

    proptest! {
        #[test]
        fn a_rollup_comes_back(rollup in rollups()) {
            let mut value = Vec::new();
            encode_rollup(&rollup, &mut value);
            apache_avro_reads(&ROLLUP, &value);
            prop_assert_eq!(decode_rollup(&value), Ok(rollup));
        }

        #[test]
        fn a_service_comes_back(record in services()) {
            let value = encode_service(&record);
            apache_avro_reads(&STATE, &value);
            prop_assert_eq!(decode_state(&value), Ok(StateRecord::Service(record)));
        }

        #[test]
        fn a_partition_comes_back(
            partition in any::<i32>(),
            cut_position in any::<i64>(),
            times in any::<[Option<i64>; 3]>(),
            ahead in any::<Option<(i64, i64)>>(),
        ) {
            let [clock, suspended_since, full_cut_clock] = times;
            let ahead = ahead.map(|(cut_clock, until)| AheadRecord { cut_clock, until });
            let record = PartitionRecord { partition, cut_position, clock, suspended_since, full_cut_clock, ahead };
            let value = encode_partition(&record);
            apache_avro_reads(&STATE, &value);
            prop_assert_eq!(decode_state(&value), Ok(StateRecord::Partition(record)));
        }

        #[test]
        fn bytes_of_nobody_are_an_error(tail in prop::collection::vec(any::<u8>(), 0..99)) {
            for format in [&STATE, &ROLLUP] {
                let mut value = format.begin(0);
                value.extend(&tail);
                // Not a panic; whether it is an error depends on the bytes.
                let _ = (decode_state(&value), decode_rollup(&value));
            }
            prop_assert!(decode_state(&tail).is_err());
        }
    }

    #[test]
    fn a_record_that_is_neither_service_nor_partition_is_malformed() {
        let value = flat::encode(&STATE, &serde_json::json!({}));
        assert!(matches!(decode_state(&value), Err(Error::Malformed { record: "state", .. })));
    }
}
