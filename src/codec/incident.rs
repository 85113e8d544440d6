//! `ops.incidents`: what happened to services. Written by the processor alone; read by the actors, the archiver,
//! the war room and foreign clients.
//!
//! The same event gives the same bytes, headers and id on every replay.

use jiff::Timestamp;

use super::{Error, INCIDENT, flat};
use crate::model::incident::{EventKind, IncidentEvent};

/// Names and texts of a record's headers.
pub type Headers = Vec<(&'static str, String)>;

/// The value on the bus. An estimate that is not finite is left out.
pub fn encode(event: &IncidentEvent) -> Vec<u8> {
    flat::encode(&INCIDENT, event)
}

/// Reads a value of `ops.incidents`.
pub fn decode(value: &[u8]) -> Result<IncidentEvent, Error> {
    flat::decode(&INCIDENT, value)
}

/// The event's name on the bus, in headers and in `--json`.
pub fn name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::SpecActivated { .. } => "spec_activated",
        EventKind::SpecRetired => "spec_retired",
        EventKind::Blind { .. } => "blind",
        EventKind::NoData => "no_data",
        EventKind::DataBack => "data_back",
        EventKind::Opened { .. } => "opened",
        EventKind::Requested { .. } => "requested",
        EventKind::Resolved { .. } => "resolved",
        EventKind::Closed { .. } => "closed",
        EventKind::EpisodeEnded { .. } => "episode_ended",
    }
}

/// The event's id: unique, and the same on every replay. Only the same text registered again and again with
/// another between and not one reading counted has one id for several `spec_activated`.
pub fn id(event: &IncidentEvent) -> String {
    let name = name(&event.kind);
    match &event.kind {
        EventKind::Opened { incident, .. }
        | EventKind::Resolved { incident, .. }
        | EventKind::Closed { incident, .. } => {
            format!("{incident}/{name}")
        }
        EventKind::Requested { incident, step, call, .. } => format!("{incident}/{name}/{step}.{call}"),
        EventKind::EpisodeEnded { episode, .. } => format!("{episode}/{name}"),
        EventKind::SpecActivated { from_partition, from_offset, .. } => {
            format!("{}/{name}/{from_partition}.{from_offset}/{}", event.service, event.spec_hash)
        }
        EventKind::SpecRetired => format!("{}/{name}/{}/{}", event.service, event.at, event.spec_hash),
        EventKind::Blind { .. } | EventKind::NoData | EventKind::DataBack => {
            format!("{}/{name}/{}", event.service, event.at)
        }
    }
}

/// CloudEvents 1.0 in binary mode. `id` is that of [`id`], unless the caller has a better one.
pub fn headers(event: &IncidentEvent, id: &str) -> Headers {
    cloud_event(name(&event.kind), event.service.as_str(), event.at, id)
}

/// An event as it lies on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// The service.
    pub key: Vec<u8>,
    /// See [`encode`].
    pub value: Vec<u8>,
    /// See [`headers`].
    pub headers: Headers,
}

/// The whole record of an event: what the processor sends, and what a replay must find.
pub fn wire(event: &IncidentEvent) -> Wire {
    Wire { key: event.service.as_str().as_bytes().to_vec(), value: encode(event), headers: headers(event, &id(event)) }
}

/// The headers of an event of ours. `at` in ms.
pub(super) fn cloud_event(name: &str, service: &str, at: i64, id: &str) -> Headers {
    vec![
        ("ce_specversion", "1.0".to_owned()),
        ("ce_type", format!("hms.ops.{name}")),
        ("ce_source", service.to_owned()),
        ("ce_time", rfc3339(at)),
        ("ce_id", id.to_owned()),
        ("content-type", "application/avro".to_owned()),
    ]
}

/// A time as text, to the millisecond; the first or last that can be written if it lies beyond.
fn rfc3339(ms: i64) -> String {
    let range = Timestamp::MIN.as_millisecond()..=Timestamp::MAX.as_millisecond();
    let time = Timestamp::from_millisecond(ms.clamp(*range.start(), *range.end())).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::incident::{Basis, CloseReason, Fresh, Recovered, Verdict};
    use crate::model::{ActionId, IncidentId, ServiceId, SpecHash};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn count() -> impl Strategy<Value = u64> {
        0..=i64::MAX as u64
    }

    fn double() -> impl Strategy<Value = f64> {
        prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL
    }

    fn incidents() -> impl Strategy<Value = IncidentId> {
        ("[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", any::<u64>())
            .prop_map(|(service, generation)| IncidentId { service: ServiceId::new(&service).unwrap(), generation })
    }

    fn verdicts() -> impl Strategy<Value = Verdict> {
        (double(), any::<i64>(), any::<i64>(), count(), count(), count(), prop::option::of(double())).prop_map(
            |(threshold, window_from, window_to, n, over, rank, p95_estimate)| Verdict {
                threshold,
                window_from,
                window_to,
                n,
                over,
                rank,
                p95_estimate,
            },
        )
    }

    fn kinds() -> impl Strategy<Value = EventKind> {
        let args = prop::collection::btree_map(".{0,9}", ".{0,9}", 0..9);
        let basis =
            prop::sample::select(vec![Basis::Opened, Basis::Resolved, Basis::FreshData, Basis::InsufficientFreshData]);
        let reason = prop::sample::select(vec![CloseReason::Superseded, CloseReason::Unregistered]);
        let text = || ".{0,40}".prop_map(|text| text.into());
        let verdict = prop::option::of(verdicts());
        let recovered = prop::option::of(verdicts().prop_map(|v| Recovered {
            n: v.n,
            over: v.over,
            rank: v.rank,
            p95_estimate: v.p95_estimate,
        }));
        let fresh = prop::option::of(verdicts().prop_map(|v| Fresh { n: v.n, over: v.over, rank: v.rank }));
        prop_oneof![
            (text(), any::<i32>(), any::<i32>(), any::<i64>()).prop_map(
                |(text, semantics, from_partition, from_offset)| EventKind::SpecActivated {
                    text,
                    semantics,
                    from_partition,
                    from_offset
                }
            ),
            prop::sample::select(vec![EventKind::SpecRetired, EventKind::NoData, EventKind::DataBack]),
            (any::<i64>(), any::<i64>()).prop_map(|(from, to)| EventKind::Blind { from, to }),
            (incidents(), text(), incidents(), any::<u32>(), any::<bool>(), verdict).prop_map(
                |(incident, cause, episode, openings, flapping, verdict)| EventKind::Opened {
                    incident,
                    cause,
                    episode,
                    openings,
                    flapping,
                    verdict
                }
            ),
            (incidents(), 1..9_u32, any::<u32>(), text(), args, basis, fresh).prop_map(
                |(incident, step, call, verb, args, basis, fresh)| EventKind::Requested {
                    action_id: ActionId::of(&incident, step, call),
                    incident,
                    step,
                    call,
                    verb,
                    args,
                    basis,
                    fresh
                }
            ),
            (incidents(), text(), any::<i64>(), recovered).prop_map(|(incident, cause, opened_at, recovered)| {
                EventKind::Resolved { incident, cause, opened_at, recovered }
            }),
            (incidents(), text(), any::<i64>(), reason).prop_map(|(incident, cause, opened_at, reason)| {
                EventKind::Closed { incident, cause, opened_at, reason }
            }),
            (incidents(), any::<u32>()).prop_map(|(episode, openings)| EventKind::EpisodeEnded { episode, openings }),
        ]
    }

    fn event(kind: EventKind, at: i64) -> IncidentEvent {
        IncidentEvent { kind, service: ServiceId::new("svc").unwrap(), spec_hash: SpecHash::of("text"), at }
    }

    proptest! {
        #[test]
        fn an_event_comes_back(kind in kinds(), at in any::<i64>()) {
            let event = event(kind, at);
            let value = encode(&event);
            let json = serde_json::to_value(&event).unwrap();
            prop_assert_eq!(json["event"].as_str(), Some(name(&event.kind)));
            super::super::tests::apache_avro_reads(&INCIDENT, &value);
            prop_assert_eq!(decode(&value), Ok(event));
        }

        #[test]
        fn a_value_that_is_cut_off_is_an_error(kind in kinds(), end in any::<prop::sample::Index>()) {
            let value = encode(&event(kind, 1));
            let end = end.index(value.len());
            prop_assert_eq!(decode(&value[..end]), Err(Error::Truncated { record: "incident" }));
        }
    }

    /// apache-avro's own maps are written in the order of a hash table, another one in each process.
    #[test]
    fn the_bytes_are_the_same_on_every_replay() {
        let incident: IncidentId = "svc.1".parse().unwrap();
        let args: BTreeMap<_, _> = ["b", "a", "workload.kind", "c"].map(|k| (k.to_owned(), k.to_uppercase())).into();
        let kind = EventKind::Requested {
            action_id: ActionId::of(&incident, 1, 1),
            incident,
            step: 1,
            call: 1,
            verb: "page".into(),
            args,
            basis: Basis::Opened,
            fresh: None,
        };
        let value = encode(&event(kind, 1_700_000_000_000));
        let map = b"\x08\x02a\x02A\x02b\x02B\x02c\x02C\x1aworkload.kind\x1aWORKLOAD.KIND\x00";
        assert!(value.windows(map.len()).any(|part| part == map), "the arguments are not sorted");
    }

    #[test]
    fn headers_are_those_of_cloud_events() {
        let event = event(EventKind::NoData, 1_700_000_000_050);
        let expected = [
            ("ce_specversion", "1.0"),
            ("ce_type", "hms.ops.no_data"),
            ("ce_source", "svc"),
            ("ce_time", "2023-11-14T22:13:20.050Z"),
            ("ce_id", "svc/no_data/1700000000050"),
            ("content-type", "application/avro"),
        ];
        assert_eq!(headers(&event, &id(&event)), expected.map(|(name, text)| (name, text.to_owned())));
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!((rfc3339(i64::MIN).as_str(), rfc3339(i64::MAX).len()), ("-009999-01-02T01:59:59.000Z", 24));
    }
}
