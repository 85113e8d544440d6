//! Reading what the processor has written, and `ops.metrics` as the core takes it. Shared by whoever takes a
//! partition over and by audits; decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use crate::bus::{self, Frames, Header, Isolation, Message, Next, Offsets, Reader, Settings};
use crate::codec;
use crate::codec::ids::Ids;
use crate::codec::state::StateRecord;
use crate::model::ServiceId;
use crate::model::reading::{Reading, RejectReason};
use crate::model::state::{PartitionRecord, Rollup, ServiceRecord};
use crate::processor::core::{Body, Elsewhere, Record};
use crate::processor::error::{Error, Result};

/// The header of a reading that was found outside its home: `partition/offset/append time`.
pub(super) const FORWARDED: &str = "ops-from";
/// Our own topics answer within this, or something is wrong.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// What does not come for so long is asked for again from the beginning, so that a stop or a rebalance is noticed. A
/// transaction that nobody fenced holds records back until its timeout, and as long again until that is seen.
const READ_PATIENCE: Duration = Duration::from_secs(30);
/// How much earlier than needed rollups are looked for, ms: their append time is a broker's, not the partition's clock.
const SLACK_MS: i64 = 60_000;

/// A record of `ops.metrics` as the core takes it, borrowed from the message.
pub(super) struct Decoded<'a> {
    offset: i64,
    append_ms: i64,
    /// Called anything: what the core does not know by name it looks at.
    reading: std::result::Result<Reading<'a>, RejectReason>,
    elsewhere: Elsewhere,
}

impl<'a> Decoded<'a> {
    /// Reads a record, whose schema id, if it has one, is in `ids`. Of a record whose series is registered where it lies
    /// that is all; of any other [`Self::tell`] has to be asked for.
    #[inline(always)]
    pub fn of(ids: &Ids, message: &'a Message<'_>) -> Self {
        let append_ms = message.timestamp().ms().unwrap_or(0);
        let plain = message.bytes().and_then(|value| codec::reading::decode_plain(ids, value)).map(Ok);
        let reading = plain.unwrap_or_else(|| {
            let stand_in = origin(&message.headers()).and_then(first_append_ms).unwrap_or(append_ms);
            codec::reading::decode_with_any_name(ids, message.key(), message.bytes(), stand_in)
        });
        Self { offset: message.offset(), append_ms, reading, elsewhere: Elsewhere::default() }
    }

    /// What its headers tell about its place. The client copies them, even where there are none, so it is asked only
    /// if it matters.
    pub fn tell(&mut self, message: &Message<'_>) {
        let headers = message.headers();
        let named = headers.iter().map(|header| (&*header.name, header.value));
        self.elsewhere = if origin(&headers).is_some() {
            Elsewhere::Stay
        } else if codec::reading::is_movable(message.key(), message.bytes(), named) {
            Elsewhere::Forward
        } else {
            Elsewhere::Refuse
        };
    }

    /// Reads a record and all that is told of it.
    pub fn whole(ids: &Ids, message: &'a Message<'_>) -> Self {
        let mut decoded = Self::of(ids, message);
        decoded.tell(message);
        decoded
    }

    /// What it says, if it can be read.
    pub fn reading(&self) -> std::result::Result<&Reading<'a>, RejectReason> {
        self.reading.as_ref().map_err(|reason| *reason)
    }

    pub fn record(&self) -> Record<'_> {
        let body = match &self.reading {
            Ok(reading) => Body::Reading(reading),
            Err(reason) => Body::Unreadable(*reason),
        };
        Record { offset: self.offset, append_ms: self.append_ms, body, elsewhere: self.elsewhere }
    }
}

/// The header that says that a record was found in another partition first, and where.
fn origin<'a>(headers: &'a [Header<'_>]) -> Option<&'a Header<'a>> {
    headers.iter().find(|header| header.name == FORWARDED)
}

/// The append time there, ms: stands in for a `ts` that the record does not have.
fn first_append_ms(origin: &Header<'_>) -> Option<i64> {
    std::str::from_utf8(origin.value?).ok()?.rsplit('/').next()?.parse().ok()
}

/// Reads partitions of a topic to their ends, or until `take` has enough.
pub(super) fn read_out(
    reader: &mut Reader,
    topic: &str,
    mut take: impl FnMut(&Message<'_>) -> std::result::Result<ControlFlow<()>, String>,
) -> Result<()> {
    let mut waited = Duration::ZERO;
    while waited < READ_PATIENCE {
        match reader.next(READ_TIMEOUT)? {
            Next::Record(message) => {
                waited = Duration::ZERO;
                let taken = take(&message).map_err(|reason| Error::State {
                    topic: topic.to_owned(),
                    partition: message.partition(),
                    offset: message.offset(),
                    reason,
                })?;
                if taken.is_break() {
                    return Ok(());
                }
            }
            Next::End => return Ok(()),
            Next::Idle => {
                waited += READ_TIMEOUT;
                tracing::warn!(topic, ?waited, "waiting for the log");
            }
        }
    }
    let (operation, place) = ("reading the log back", bus::error::Place::topic(topic));
    Err(bus::Error::TimedOut { operation, place, waited }.into())
}

/// [`read_out`] of `ops.metrics`. What names its schema by an id that the registry does not explain is not passed over: it
/// is not known how it was judged.
pub(super) fn read_metrics(
    reader: &mut Reader,
    settings: &Settings,
    topic: &str,
    mut take: impl FnMut(&Message<'_>, &Decoded<'_>) -> ControlFlow<()>,
) -> Result<()> {
    let mut frames = Frames::new(settings, READ_PATIENCE);
    let mut unanswered = None;
    read_out(reader, topic, |message| {
        let ids = match frames.of(message.bytes()) {
            Ok(ids) => ids,
            Err(error) => {
                unanswered = Some(error);
                return Ok(ControlFlow::Break(()));
            }
        };
        Ok(take(message, &Decoded::whole(ids, message)))
    })?;
    unanswered.map_or(Ok(()), |error| Err(error.into()))
}

/// The newest records of a partition of `ops.state`.
#[derive(Default)]
pub(super) struct State {
    pub partition: Option<PartitionRecord>,
    pub services: BTreeMap<ServiceId, ServiceRecord>,
}

impl State {
    /// Takes the next value of the topic; tombstones say nothing.
    ///
    /// # Errors
    /// It is none of ours.
    pub fn take(&mut self, value: Option<&[u8]>) -> std::result::Result<(), String> {
        let Some(value) = value else { return Ok(()) };
        match codec::state::decode_state(value).map_err(|error| error.to_string())? {
            StateRecord::Partition(record) => self.partition = Some(record),
            StateRecord::Service(record) => {
                self.services.insert(record.service.clone(), record);
            }
        }
        Ok(())
    }

    /// The services, as a restore takes them.
    pub fn records(&self) -> Vec<ServiceRecord> {
        self.services.values().cloned().collect()
    }
}

/// Which rollups of a partition a restore needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    /// Those of the cuts at or after this clock, ms.
    pub from_clock: i64,
    /// And at or before this position of `ops.metrics`.
    pub through: i64,
}

/// Rollups by partition, in the order of their cuts.
pub(super) type Rollups = BTreeMap<i32, Vec<Rollup>>;

/// Reads rollups. Cuts only grow in their clock, so it is enough to begin at one that is older; where append times
/// mislead, all are read.
///
/// # Errors
/// The bus does not answer; a rollup that cannot be read.
pub(super) fn read_rollups(
    settings: &Settings,
    topic: &str,
    offsets: &Offsets,
    needs: &BTreeMap<i32, Need>,
) -> Result<Rollups> {
    let (mut starts, mut lows) = (BTreeMap::new(), BTreeMap::new());
    for (&partition, need) in needs {
        let low = offsets.watermarks(topic, partition)?.low;
        let early = need.from_clock.saturating_sub(SLACK_MS).max(0);
        let guess = match offsets.at_time(topic, &[partition], early)?.pop() {
            Some((_, Some(offset))) => offset.max(low),
            _ => low,
        };
        starts.insert(partition, guess);
        lows.insert(partition, low);
    }
    let (mut found, oldest) = read_rollups_from(settings, topic, offsets, &starts, needs)?;
    let misled = |partition: &i32| {
        starts[partition] > lows[partition]
            && oldest.get(partition).is_none_or(|oldest| oldest >= &needs[partition].from_clock)
    };
    let again: BTreeMap<i32, i64> =
        lows.iter().filter(|(partition, _)| misled(partition)).map(|(p, low)| (*p, *low)).collect();
    if !again.is_empty() {
        found.extend(read_rollups_from(settings, topic, offsets, &again, needs)?.0);
    }
    Ok(found)
}

/// The rollups that are needed, and the clock of the first that was met.
fn read_rollups_from(
    settings: &Settings,
    topic: &str,
    offsets: &Offsets,
    starts: &BTreeMap<i32, i64>,
    needs: &BTreeMap<i32, Need>,
) -> Result<(Rollups, BTreeMap<i32, i64>)> {
    let (mut rollups, mut oldest, mut passed) = (Rollups::new(), BTreeMap::new(), BTreeSet::new());
    let from = starts.iter().map(|(partition, offset)| (*partition, *offset));
    let mut reader = Reader::open(settings, topic, Isolation::Committed, from)?.until_now(offsets)?;
    read_out(&mut reader, topic, |message| {
        let (Some(value), partition) = (message.value(), message.partition()) else {
            return Ok(ControlFlow::Continue(()));
        };
        let rollup = codec::state::decode_rollup(value).map_err(|error| error.to_string())?;
        let need = needs[&partition];
        oldest.entry(partition).or_insert(rollup.cut_clock);
        if rollup.cut_position > need.through {
            passed.insert(partition);
        } else if rollup.cut_clock >= need.from_clock {
            rollups.entry(partition).or_default().push(rollup);
        }
        let enough = passed.len() == starts.len();
        Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok((rollups, oldest))
}
