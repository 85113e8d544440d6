//! What the production core promises, without a bus: the worked examples, the oracle's second opinion on random
//! logs, and restarts at every point.

#[path = "core/bus.rs"]
mod bus;
#[path = "core/crashes.rs"]
mod crashes;
#[path = "core/feed.rs"]
mod feed;
#[path = "oracle/mod.rs"]
mod oracle;
#[path = "core/promises.rs"]
mod promises;
#[path = "core/restarts.rs"]
mod restarts;
#[path = "core/script.rs"]
mod script;
#[path = "core/worker.rs"]
mod worker;
