//! `ops.targets`: how targets are, and which collectors live. Written by collectors; read by them and by `ops status`.

use super::{Error, TARGET, flat};
use crate::model::target::TargetRecord;

/// The value on the bus.
pub fn encode(record: &TargetRecord) -> Vec<u8> {
    flat::encode(&TARGET, record)
}

/// Reads a value of `ops.targets`.
pub fn decode(value: &[u8]) -> Result<TargetRecord, Error> {
    flat::decode(&TARGET, value)
}

#[cfg(test)]
mod tests {
    use super::super::tests::apache_avro_reads;
    use super::*;
    use crate::model::ServiceId;
    use crate::model::target::{Beat, ServiceTargets, Target};

    #[test]
    fn both_kinds_of_records_come_back() {
        let target = |up, reason: Option<&str>, scraped_at| Target {
            sensor: "q".to_owned(),
            url: "http://h/m".to_owned(),
            interval_ms: 5_000,
            up,
            reason: reason.map(str::to_owned),
            scraped_at,
            took_ms: 3,
            samples: 7,
        };
        let service = ServiceTargets {
            service: ServiceId::new("s").unwrap(),
            collector: "c1".to_owned(),
            at: 9,
            targets: vec![target(true, None, Some(8)), target(false, Some("it\nis down"), None)],
        };
        let beat = Beat { collector: "c1".to_owned(), at: -1, owned: vec![0, 11], adopted: vec![] };
        for record in [TargetRecord::Service(service), TargetRecord::Collector(beat)] {
            let value = encode(&record);
            apache_avro_reads(&TARGET, &value);
            assert_eq!(decode(&value), Ok(record));
        }
        assert!(matches!(decode(&flat::encode(&TARGET, &serde_json::json!({}))), Err(Error::Malformed { .. })));
    }
}
