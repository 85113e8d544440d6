//! `ops.actions`: what was done about incidents. Written by the actors; read by them after a crash, by the
//! archiver, the war room and `ops status`.

use super::incident::{Headers, cloud_event};
use super::{ACTION, Error, flat};
use crate::model::action::ActionEvent;

/// The value on the bus.
pub fn encode(event: &ActionEvent) -> Vec<u8> {
    flat::encode(&ACTION, event)
}

/// Reads a value of `ops.actions`.
pub fn decode(value: &[u8]) -> Result<ActionEvent, Error> {
    flat::decode(&ACTION, value)
}

/// CloudEvents 1.0 in binary mode; the id is unique, since a repeat has another attempt, and a human's word its time.
pub fn headers(event: &ActionEvent) -> Headers {
    let name = event.kind.name();
    let number = if event.kind.word().is_some() { event.at } else { event.attempt.into() };
    let id = format!("{}/{name}/{number}", event.action_id);
    cloud_event(name, event.service.as_str(), event.at, &id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::action::{ActionKind, Effect, Proposal, Word};
    use crate::model::{ActionId, IncidentId};
    use proptest::prelude::*;

    fn effect() -> impl Strategy<Value = Effect> {
        let side = || (prop::option::of(-1e9..1e9), prop::option::of(0..99_u64), prop::option::of(0..99_u64));
        (side(), side(), ".{0,9}").prop_map(|(before, after, basis)| Effect {
            before: before.0,
            before_n: before.1,
            before_over: before.2,
            after: after.0,
            after_n: after.1,
            after_over: after.2,
            basis,
        })
    }

    fn proposal() -> impl Strategy<Value = Proposal> {
        let goal = prop::collection::btree_map(".{0,9}", ".{0,9}", 0..5);
        (".{0,9}", ".{0,9}", goal, ".{0,9}", any::<i64>()).prop_map(|(reason, why, goal, hash, expires_at)| Proposal {
            reason,
            why,
            goal,
            hash,
            expires_at,
        })
    }

    fn word() -> impl Strategy<Value = Word> {
        (".{0,9}", ".{0,9}").prop_map(|(reason, hash)| Word { reason, hash })
    }

    fn kinds() -> impl Strategy<Value = ActionKind> {
        let map = || prop::collection::btree_map(".{0,9}", ".{0,9}", 0..5);
        prop_oneof![
            map().prop_map(|goal| ActionKind::Started { goal }),
            map().prop_map(|detail| ActionKind::Done { detail }),
            (".*", map()).prop_map(|(reason, detail)| ActionKind::Failed { reason, detail }),
            ".*".prop_map(|reason| ActionKind::Unknown { reason }),
            (".*", map()).prop_map(|(reason, detail)| ActionKind::Suppressed { reason, detail }),
            ".*".prop_map(|reason| ActionKind::Denied { reason }),
            Just(ActionKind::Expired),
            proposal().prop_map(ActionKind::Awaiting),
            word().prop_map(ActionKind::Approved),
            word().prop_map(ActionKind::Rejected),
            effect().prop_map(ActionKind::Verified),
            effect().prop_map(ActionKind::Ineffective),
            ".*".prop_map(|reason| ActionKind::Frozen { reason }),
            ".*".prop_map(|reason| ActionKind::Thawed { reason }),
        ]
    }

    proptest! {
        #[test]
        fn an_event_comes_back(
            kind in kinds(),
            at in any::<i64>(),
            target in prop::option::of(".*"),
            attempt in any::<u32>(),
            dry_run in any::<bool>(),
        ) {
            let incident: IncidentId = "svc.7".parse().unwrap();
            let event = ActionEvent {
                kind,
                action_id: ActionId::of(&incident, 1, 2),
                service: incident.service.clone(),
                incident,
                verb: "scale_up".to_owned(),
                actor: "autoscaler".to_owned(),
                at,
                target,
                attempt,
                dry_run,
            };
            let value = encode(&event);
            super::super::tests::apache_avro_reads(&ACTION, &value);
            prop_assert_eq!(&headers(&event)[1].1, &format!("hms.ops.{}", event.kind.name()));
            prop_assert_eq!(decode(&value), Ok(event));
        }
    }
}
