//! Cuts the stream of an archiver into segments: the part of it that needs neither Kafka nor a clock.
//!
//! The loop around it does this:
//!
//! ```text
//! assigned   position = vault.end(log)? or 0; batcher.begin(log, position); the consumer starts there
//! each poll  batcher.push(log, entry, now), and with the consumer's position batcher.moved(log, position)
//!            batcher.due(now) from time to time: at batcher.next_due() at the latest
//! a draft    vault.append(&draft), until it is no error (pause the partition meanwhile)
//!            Written      batcher.settled(log) may be committed
//!            LostRace     batcher.begin(log, existing_to), the consumer seeks there
//! revoked    batcher.take(log) -> append, commit, give up;  lost: batcher.forget(log), nothing else
//! ```
//!
//! The committed offsets only show how far the archive is: where to go on says the vault. So an archiver that
//! lost its partitions without knowing can do no harm: its draft begins where the vault no longer ends.

use std::collections::BTreeMap;

use super::segment::{Entry, LogId, SegmentDraft};

/// When a segment is closed: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of keys, values and headers; one record more may exceed it.
    pub max_bytes: usize,
    /// Records.
    pub max_records: usize,
    /// Milliseconds since its first record came.
    pub max_age_ms: i64,
}

impl Default for Limits {
    /// 4 MiB, 10,000 records, 5 s.
    fn default() -> Self {
        Self { max_bytes: 4 << 20, max_records: 10_000, max_age_ms: 5_000 }
    }
}

/// The open segments of one archiver, one a log.
#[derive(Debug)]
pub struct Batcher {
    limits: Limits,
    open: BTreeMap<LogId, Open>,
}

/// A segment that is being filled.
#[derive(Debug)]
struct Open {
    from: i64,
    /// The position behind everything seen: the segment's end if it were closed now.
    position: i64,
    entries: Vec<Entry>,
    bytes: usize,
    /// When the first entry came, in the caller's milliseconds. Only looked at when there is an entry.
    since_ms: i64,
}

impl Open {
    fn at(position: i64) -> Self {
        Self { from: position, position, entries: Vec::new(), bytes: 0, since_ms: 0 }
    }

    /// Closes what is there and opens the next one behind it. Positions without a record make no segment of
    /// their own: they go into the next.
    fn close(&mut self, log: &LogId) -> Option<SegmentDraft> {
        if self.entries.is_empty() {
            return None;
        }
        let full = std::mem::replace(self, Self::at(self.position));
        Some(SegmentDraft { log: log.clone(), from: full.from, to: full.position, entries: full.entries })
    }

    fn due_ms(&self, limits: &Limits) -> Option<i64> {
        (!self.entries.is_empty()).then(|| self.since_ms.saturating_add(limits.max_age_ms))
    }
}

impl Batcher {
    /// A batcher without logs.
    pub fn new(limits: Limits) -> Self {
        Self { limits, open: BTreeMap::new() }
    }

    /// Starts a log, or starts it anew, at a position of the vault. What was open of it is dropped.
    pub fn begin(&mut self, log: LogId, position: i64) {
        self.open.insert(log, Open::at(position));
    }

    /// Takes a record; returns the segment that it fills up, with it. `now_ms` is any clock that does not go
    /// back. Not taken, because they belong to an assignment or a position that is over: records of a log that
    /// was not begun, and records before its position (a consumer may still hand some out after a seek).
    pub fn push(&mut self, log: &LogId, entry: Entry, now_ms: i64) -> Option<SegmentDraft> {
        let open = self.open.get_mut(log)?;
        if entry.offset < open.position {
            return None;
        }
        if open.entries.is_empty() {
            open.since_ms = now_ms;
        }
        open.position = entry.offset + 1;
        open.bytes += entry.size();
        open.entries.push(entry);
        let full = open.bytes >= self.limits.max_bytes || open.entries.len() >= self.limits.max_records;
        if full { open.close(log) } else { None }
    }

    /// The consumer's position, which passes transaction markers too. Going back is no move.
    pub fn moved(&mut self, log: &LogId, position: i64) {
        if let Some(open) = self.open.get_mut(log) {
            open.position = open.position.max(position);
        }
    }

    /// Closes the segments that are old enough.
    pub fn due(&mut self, now_ms: i64) -> Vec<SegmentDraft> {
        let limits = self.limits;
        let old = self.open.iter_mut().filter(|(_, open)| open.due_ms(&limits).is_some_and(|due| due <= now_ms));
        old.filter_map(|(log, open)| open.close(log)).collect()
    }

    /// When [`Batcher::due`] will have something, if no record comes: the time to wait for. `None`: never.
    pub fn next_due(&self) -> Option<i64> {
        self.open.values().filter_map(|open| open.due_ms(&self.limits)).min()
    }

    /// The position before which nothing of a log is open: all of it was handed out in drafts. What may be committed
    /// once they are durable; behind markers too, which need no segment.
    pub fn settled(&self, log: &LogId) -> Option<i64> {
        self.open.get(log).map(|open| if open.entries.is_empty() { open.position } else { open.from })
    }

    /// Ends a log in order (revoked, or the archiver stops) and closes what is open of it.
    pub fn take(&mut self, log: &LogId) -> Option<SegmentDraft> {
        self.open.remove(log)?.close(log)
    }

    /// Ends a log that was lost: another archiver has it, and what is open of it is not ours to write.
    pub fn forget(&mut self, log: &LogId) {
        self.open.remove(log);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_bytes: 100, max_records: 3, max_age_ms: 50 };

    fn log() -> LogId {
        LogId::new("ops.incidents", 1)
    }

    fn entry(offset: i64, bytes: usize) -> Entry {
        Entry { offset, timestamp: 0, key: None, value: Some(vec![7; bytes]), headers: Vec::new() }
    }

    fn shape(draft: Option<SegmentDraft>) -> Option<(i64, i64, Vec<i64>)> {
        draft.map(|draft| (draft.from, draft.to, draft.entries.iter().map(|entry| entry.offset).collect()))
    }

    fn begun(position: i64) -> Batcher {
        let mut batcher = Batcher::new(LIMITS);
        batcher.begin(log(), position);
        batcher
    }

    #[test]
    fn a_segment_is_closed_by_count() {
        let mut batcher = begun(10);
        assert_eq!(batcher.push(&log(), entry(12, 1), 0), None);
        assert_eq!(batcher.push(&log(), entry(13, 1), 0), None);
        assert_eq!(shape(batcher.push(&log(), entry(14, 1), 0)), Some((10, 15, vec![12, 13, 14])));
        assert_eq!(batcher.next_due(), None);
        assert_eq!(batcher.push(&log(), entry(15, 1), 0), None);
        assert_eq!(shape(batcher.take(&log())), Some((15, 16, vec![15])));
    }

    #[test]
    fn a_segment_is_closed_by_size() {
        let mut batcher = begun(0);
        assert_eq!(batcher.push(&log(), entry(0, 99), 0), None);
        assert_eq!(shape(batcher.push(&log(), entry(1, 1), 0)), Some((0, 2, vec![0, 1])));
    }

    #[test]
    fn a_segment_is_closed_by_the_age_of_its_first_record() {
        let mut batcher = begun(0);
        assert_eq!(batcher.push(&log(), entry(0, 1), 1_000), None);
        assert_eq!(batcher.push(&log(), entry(1, 1), 1_040), None);
        assert_eq!(batcher.next_due(), Some(1_050));
        assert_eq!(batcher.due(1_049), []);
        assert_eq!(shape(batcher.due(1_050).pop()), Some((0, 2, vec![0, 1])));
        assert_eq!(batcher.due(9_999), [], "closed twice");
    }

    /// p1: `C 1 2 C C 5`: the markers before a record belong to its segment, those behind to the next.
    #[test]
    fn markers_belong_to_the_segment_of_the_next_record() {
        let mut batcher = begun(0);
        assert_eq!(batcher.push(&log(), entry(1, 1), 0), None);
        assert_eq!(batcher.push(&log(), entry(2, 1), 0), None);
        batcher.moved(&log(), 4);
        assert_eq!(batcher.settled(&log()), Some(0));
        assert_eq!(shape(batcher.due(50).pop()), Some((0, 4, vec![1, 2])));
        batcher.moved(&log(), 5);
        assert_eq!(batcher.settled(&log()), Some(5));
        assert_eq!(batcher.due(1_000), [], "markers alone make no segment");
        assert_eq!(batcher.push(&log(), entry(5, 1), 1_000), None);
        assert_eq!(shape(batcher.take(&log())), Some((4, 6, vec![5])));
    }

    #[test]
    fn records_of_an_assignment_that_is_over_are_not_taken() {
        let mut batcher = begun(10);
        assert_eq!(batcher.push(&LogId::new("ops.incidents", 2), entry(10, 999), 0), None);
        assert_eq!(batcher.push(&log(), entry(9, 999), 0), None, "the vault has it already");
        assert_eq!(batcher.push(&log(), entry(10, 1), 0), None);
        batcher.forget(&log());
        assert_eq!(batcher.push(&log(), entry(11, 999), 0), None);
        assert_eq!(batcher.take(&log()), None);
        assert_eq!(batcher.due(i64::MAX), []);
    }

    #[test]
    fn a_log_begun_anew_drops_what_was_open() {
        let mut batcher = begun(0);
        assert_eq!(batcher.push(&log(), entry(0, 1), 0), None);
        batcher.begin(log(), 7);
        assert_eq!(batcher.push(&log(), entry(7, 1), 0), None);
        assert_eq!(shape(batcher.take(&log())), Some((7, 8, vec![7])));
    }
}
