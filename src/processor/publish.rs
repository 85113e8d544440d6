//! Effects become records of the open transaction. Forwards wait until everything else is sent: they lie on
//! `ops.metrics`, whose readers an open transaction holds back.

use std::time::Duration;

use crate::bus::{Message, Outbox, Producer, Record};
use crate::codec;
use crate::model::incident::IncidentEvent;
use crate::model::reading::RejectReason;
use crate::model::rejected::{Kept, Rejected, keep_headers};
use crate::model::topics::Topics;
use crate::processor::cut::Cut;
use crate::processor::error::Result;
use crate::processor::read::FORWARDED;

/// The key of a partition's own record in `ops.state`.
pub const PARTITION_KEY: &str = "_partition";

/// A reading on its way home, copied: its bytes outlive the poll.
pub(super) struct Forward {
    home: i32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Forward {
    /// As it is, and from where.
    pub fn of(message: &Message<'_>, home: i32) -> Self {
        let append_ms = message.timestamp().ms().unwrap_or(0);
        let from = format!("{}/{}/{append_ms}", message.partition(), message.offset());
        let mut headers: Vec<_> = message
            .headers()
            .into_iter()
            .map(|header| (header.name.into_owned(), header.value.map(<[u8]>::to_vec)))
            .collect();
        headers.push((FORWARDED.to_owned(), Some(from.into_bytes())));
        Self { home, key: message.key().map(<[u8]>::to_vec), value: message.bytes().map(<[u8]>::to_vec), headers }
    }

    /// Sends it. `timestamp_ms` matters only where append times are made up.
    pub fn send(&self, outbox: &mut Outbox, topics: &Topics, timestamp_ms: Option<i64>) -> Result<()> {
        outbox.send(&self.record(&self.borrowed_headers(), topics, timestamp_ms))?;
        Ok(())
    }

    /// A guard taken away: sends it outside of any transaction.
    pub fn send_apart(&self, producer: &Producer, topics: &Topics, timestamp_ms: Option<i64>) -> Result<()> {
        producer.send(&self.record(&self.borrowed_headers(), topics, timestamp_ms), Duration::from_secs(10))?;
        Ok(())
    }

    fn borrowed_headers(&self) -> Vec<(&str, Option<&[u8]>)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect()
    }

    fn record<'a>(
        &'a self,
        headers: &'a [(&'a str, Option<&'a [u8]>)],
        topics: &'a Topics,
        timestamp_ms: Option<i64>,
    ) -> Record<'a> {
        Record {
            topic: &topics.metrics,
            partition: self.home,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers,
            timestamp_ms,
        }
    }
}

/// Sends events of incidents, with CloudEvents headers.
pub(super) fn incidents(outbox: &mut Outbox, topics: &Topics, partition: i32, events: &[IncidentEvent]) -> Result<()> {
    for event in events {
        let wire = codec::incident::wire(event);
        let headers: Vec<_> = wire.headers.iter().map(|(name, text)| (*name, Some(text.as_bytes()))).collect();
        outbox.send(&Record {
            topic: &topics.incidents,
            partition,
            key: Some(&wire.key),
            value: Some(&wire.value),
            headers: &headers,
            timestamp_ms: None,
        })?;
    }
    Ok(())
}

/// Sends a cut.
pub(super) fn cut(outbox: &mut Outbox, topics: &Topics, partition: i32, cut: &Cut) -> Result<()> {
    let rollups = cut.rollups.iter().map(|(service, value)| (service.as_bytes(), value));
    outbox.send_all(&topics.rollups, partition, rollups)?;
    let mut states: Vec<(&str, Vec<u8>)> =
        cut.services.iter().map(|service| (service.service.as_str(), codec::state::encode_service(service))).collect();
    states.push((PARTITION_KEY, codec::state::encode_partition(&cut.partition)));
    outbox.send_all(&topics.state, partition, states.iter().map(|(key, value)| (key.as_bytes(), value.as_slice())))?;
    Ok(())
}

/// Sends a dead letter.
pub(super) fn rejected(
    outbox: &mut Outbox,
    topics: &Topics,
    message: &Message<'_>,
    reason: RejectReason,
) -> Result<()> {
    let headers = message.headers();
    let (headers, headers_left_out) = keep_headers(headers.iter().map(|header| (&*header.name, header.value)));
    let letter = Rejected {
        reason,
        topic: topics.metrics.clone(),
        partition: message.partition(),
        offset: message.offset(),
        append_time: message.timestamp().ms().unwrap_or(0),
        value: Kept::of(message.bytes()),
        key: Kept::of(message.key()),
        headers,
        headers_left_out,
    };
    let value = codec::rejected::encode(&letter);
    // The key of a stranger's record may be anything; the letter keeps it, its own key stays small.
    let key = message.key().filter(|key| key.len() <= 256);
    outbox.send(&Record {
        topic: &topics.rejected,
        partition: message.partition(),
        key,
        value: Some(&value),
        headers: &[],
        timestamp_ms: None,
    })?;
    Ok(())
}
