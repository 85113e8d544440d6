//! The only code that knows Kafka's client. Everything here blocks, but for the courier; nothing here knows what the
//! records mean.
//!
//! - [`settings`]: which cluster, and which client settings may be passed through.
//! - [`verdict`], [`error`]: every client error becomes one of five things to do.
//! - [`record`]: what goes out ([`Record`]) and what comes in ([`Message`]).
//! - [`frames`]: schema ids, where there is a registry: values go out framed and come in without.
//! - [`transaction`]: the exactly-once producer; one object owns the transaction. [`outbox`]: its owner goes on while
//!   a transaction ends.
//! - [`group`]: the consumer that shares partitions with its group; [`rebalance`] says who owns what.
//! - [`reader`]: reads partitions without a group: restores, status, replays, tests.
//! - [`offsets`]: where partitions begin and end.
//! - [`producer`]: the plain producer of readings and specs. [`courier`]: one that never waits and tells each sender
//!   what became of its own records.
//! - [`admin`](mod@admin): topics.
//! - [`bare`], [`bulk`], [`onlooker`]: what benchmarks need: the limit, a fast filler; a look at a group from outside.
//!
//! A worker thread has its own [`GroupConsumer`] and its own [`TransactionalProducer`]; nothing is shared.

pub mod admin;
mod alter;
pub mod bare;
mod batch;
pub mod bulk;
mod context;
pub mod courier;
pub mod error;
pub mod frames;
pub mod group;
mod holdings;
#[cfg(test)]
mod injected;
mod intake;
pub mod offsets;
pub mod onlooker;
mod orphans;
pub mod outbox;
pub mod producer;
mod queue;
pub mod reader;
pub mod rebalance;
pub mod record;
mod room;
mod served;
pub mod settings;
pub mod transaction;
pub mod verdict;

pub use admin::{Admin, TopicSpec, TopicState, ping};
pub use courier::{Courier, Full, Parcel, Receipt};
pub use error::Error;
pub use frames::{Frames, Schemas};
pub use group::{Event, GroupConsumer, GroupMetadata, Member};
pub use offsets::{Offsets, Watermarks};
pub use outbox::{End, Outbox};
pub use producer::{Flushed, Producer};
pub use reader::{Isolation, Next, Reader};
pub use rebalance::Rebalance;
pub use record::{Committed, Header, Message, PartitionOffset, Record, Timestamp};
pub use settings::Settings;
pub use transaction::{Outcome, TransactionalProducer, fence};
pub use verdict::Verdict;
