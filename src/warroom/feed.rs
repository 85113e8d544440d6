//! What is new, for every open stream. An event has a number, and the last ones are kept: a stream that was cut off
//! says which it had last and goes on after it. One that is too slow is ended, and comes back by itself. An event is put
//! into words once; all streams send the same bytes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};

/// So many events are kept for streams that come back.
const KEPT: usize = 512;
/// So many may wait for a stream that does not read.
const BEHIND: usize = 128;
/// Streams at once.
pub const STREAMS: usize = 500;

/// One thing that is new.
#[derive(Debug)]
pub struct Event {
    /// Ascending by 1; none of those that nobody needs to catch up with.
    pub number: Option<u64>,
    /// As it is sent, see [`frame`].
    pub frame: Bytes,
}

/// A server-sent event as it stands on the wire: `reset`, `statuses`, `gone`, `incident`, `action`, `beat`, `news`. Our JSON
/// has no line breaks.
pub fn frame(id: Option<&str>, name: &str, data: &impl Serialize) -> Bytes {
    framed(id, name, &words(data))
}

/// Of our own types, which have no keys but text: it does not fail.
fn words(data: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(data).unwrap_or_default()
}

fn framed(id: Option<&str>, name: &str, words: &[u8]) -> Bytes {
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    [id.as_bytes(), b"event: ", name.as_bytes(), b"\ndata: ", words, b"\n\n"].concat().into()
}

/// See the module.
#[derive(Debug)]
pub struct Feed {
    /// When it began, ms: numbers of another life mean nothing here.
    epoch: i64,
    ring: Mutex<Ring>,
    open: Arc<AtomicUsize>,
    streams: Streams,
}

#[derive(Debug)]
struct Ring {
    next: u64,
    kept: VecDeque<Arc<Event>>,
    /// None once there is nothing more to come.
    streams: Option<Sender<Arc<Event>>>,
}

/// What a stream is given first, and then.
#[derive(Debug)]
pub struct Subscription {
    /// What it has missed; none if that is not known any more, or it is new: then it needs everything.
    pub missed: Option<Vec<Arc<Event>>>,
    /// What follows.
    pub news: News,
    /// For as long as the stream is open.
    pub place: Place,
}

/// What follows, one event after the other.
#[derive(Debug)]
pub struct News {
    events: Receiver<Arc<Event>>,
    dropped: Counter,
}

impl News {
    /// The next one.
    ///
    /// # Errors
    /// The stream was too slow and lost something; it is counted as dropped. Nothing more comes.
    pub async fn recv(&mut self) -> Result<Arc<Event>, RecvError> {
        let event = self.events.recv().await;
        if matches!(event, Err(RecvError::Lagged(_))) {
            self.dropped.inc();
        }
        event
    }
}

/// What became of streams, for who watches us.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    /// Those that were taken.
    pub taken: Counter,
    /// Those for which there was no place.
    pub refused: Counter,
    /// Those that were ended because they did not read in time.
    pub dropped: Counter,
}

/// A stream's place among all.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Feed {
    /// A feed that began at `epoch` (ms).
    pub fn new(epoch: i64) -> Self {
        let ring = Ring { next: 1, kept: VecDeque::new(), streams: Some(broadcast::channel(BEHIND).0) };
        Self { epoch, ring: Mutex::new(ring), open: Arc::default(), streams: Streams::default() }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every stream, also those that come back later.
    pub fn publish(&self, name: &'static str, data: &impl Serialize) {
        self.send(name, data, true);
    }

    /// Tells those that are open now.
    pub fn mention(&self, name: &'static str, data: &impl Serialize) {
        self.send(name, data, false);
    }

    fn send(&self, name: &'static str, data: &impl Serialize, keep: bool) {
        // Before the lock, which streams and requests want too.
        let words = words(data);
        let mut ring = self.ring();
        let number = keep.then_some(ring.next);
        let id = number.map(|number| self.id(number));
        let event = Arc::new(Event { number, frame: framed(id.as_deref(), name, &words) });
        if keep {
            ring.next += 1;
            if ring.kept.len() >= KEPT {
                ring.kept.pop_front();
            }
            ring.kept.push_back(event.clone());
        }
        // Nobody may be listening.
        ring.streams.as_ref().map(|streams| streams.send(event));
    }

    /// The id of an event, as streams show it.
    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.epoch)
    }

    /// Changes whenever something is published: the id of the next event.
    pub fn version(&self) -> String {
        self.id(self.ring().next)
    }

    /// The id of the last event, if there was any; of what comes after it a stream that begins with it is told.
    pub fn last(&self) -> String {
        self.id(self.ring().next - 1)
    }

    /// Streams that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// What became of all that came.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Can a stream that had `last` last go on, or does it need everything?
    pub fn knows(&self, last: Option<&str>) -> bool {
        self.missed(&self.ring(), last).is_some()
    }

    /// What came after the event of this id; none if that is not known any more.
    fn missed(&self, ring: &Ring, last: Option<&str>) -> Option<Vec<Arc<Event>>> {
        let had: u64 = last?.strip_prefix(&format!("{}-", self.epoch))?.parse().ok()?;
        if had < ring.next { ring.after(had) } else { None }
    }

    /// A stream that had `last` last, if it had anything. `None`: there are too many, or nothing more will come.
    pub fn subscribe(&self, last: Option<&str>) -> Option<Subscription> {
        let Some(place) = self.place() else {
            self.streams.refused.inc();
            return None;
        };
        // Under the lock, so that nothing falls between what was missed and what follows.
        let ring = self.ring();
        let events = ring.streams.as_ref()?.subscribe();
        let news = News { events, dropped: self.streams.dropped.clone() };
        self.streams.taken.inc();
        let missed = self.missed(&ring, last);
        Some(Subscription { missed, news, place })
    }

    fn place(&self) -> Option<Place> {
        let taken = |open: usize| (open < STREAMS).then_some(open + 1);
        self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken).ok()?;
        Some(Place(self.open.clone()))
    }

    /// Ends every stream.
    pub fn end(&self) {
        self.ring().streams = None;
    }
}

impl Ring {
    /// What was kept after a number, if nothing of it is gone.
    fn after(&self, had: u64) -> Option<Vec<Arc<Event>>> {
        let missing = usize::try_from(self.next - 1 - had).ok()?;
        let first = self.kept.len().checked_sub(missing)?;
        Some(self.kept.range(first..).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(events: &[Arc<Event>]) -> Vec<u64> {
        events.iter().filter_map(|event| event.number).collect()
    }

    #[test]
    fn a_stream_that_comes_back_is_told_what_it_missed_and_nothing_twice() {
        let feed = Feed::new(7);
        let first = feed.subscribe(None).unwrap();
        assert!(first.missed.is_none(), "a new one needs everything");
        assert_eq!(feed.subscribe(Some(&feed.last())).unwrap().missed.map(|missed| missed.len()), Some(0));
        (0..3).for_each(|n| feed.publish("statuses", &n));
        feed.mention("beat", &0);
        let mut again = feed.subscribe(Some("7-1")).unwrap();
        assert_eq!(numbers(&again.missed.unwrap()), [2, 3]);
        feed.publish("statuses", &4);
        assert_eq!(again.news.events.try_recv().unwrap().number, Some(4));
        assert_eq!(feed.subscribe(Some("7-4")).unwrap().missed.map(|missed| missed.len()), Some(0));
    }

    #[test]
    fn what_is_not_known_any_more_is_not_guessed() {
        let feed = Feed::new(7);
        (0..KEPT + 2).for_each(|n| feed.publish("statuses", &n));
        assert_eq!(feed.subscribe(Some("7-2")).unwrap().missed.map(|missed| missed.len()), Some(KEPT));
        for unknown in ["7-1", "6-5", "7-9999", "7-", "x"] {
            assert!(feed.subscribe(Some(unknown)).unwrap().missed.is_none(), "{unknown}");
        }
    }

    #[test]
    fn there_is_a_place_for_so_many_streams_and_it_is_given_back() {
        let feed = Feed::new(7);
        let mut all: Vec<_> = (0..STREAMS).map(|_| feed.subscribe(None).unwrap()).collect();
        assert!(feed.subscribe(None).is_none());
        assert_eq!((feed.streams().taken.get(), feed.streams().refused.get()), (STREAMS as u64, 1));
        all.pop();
        assert!(feed.subscribe(None).is_some());
        feed.end();
        all.clear();
        assert!(feed.subscribe(None).is_none() && feed.open() == 0);
    }

    #[tokio::test]
    async fn a_stream_that_does_not_read_is_told_that_it_lost_something_and_is_counted() {
        let feed = Feed::new(7);
        let mut slow = feed.subscribe(None).unwrap();
        (0..=BEHIND * 2).for_each(|n| feed.publish("statuses", &n));
        assert!(matches!(slow.news.recv().await, Err(RecvError::Lagged(_))));
        assert_eq!(feed.streams().dropped.get(), 1);
    }
}
