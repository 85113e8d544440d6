//! The actors: what was requested on `ops.incidents` is done in the world, and all of it is written to `ops.actions`.
//!
//! ```text
//! ops.incidents -> ledger -> guard -> intent --commit--> act in the world -> outcome --commit--> ops.actions
//!                    ^                                                                               |
//!                    +----------------- what was done, by us before a crash and by others -----------+
//! ```
//!
//! Written once, for every actor: [`frame`] (the thread, its sessions with the bus), `desk` (one session: read,
//! decide, commit), `restore` (taking a partition over), `work` (what is being done), [`ledger`] (what is known;
//! pure), [`approval`] (what waits for a human; pure), [`bookmark`], [`claim`] (is it still ours?), [`counters`].
//! What makes an actor what it is, is its [`role`]: [`autoscaler`] ([`guard`], [`scaling`], [`intent`], [`reason`],
//! [`effect`]; pure; [`gauge`]), [`pager`] ([`page`](mod@page): what it says; [`channel`]: to whom; `delivery`: until it
//! is there).
//!
//! [`watch`] and [`stall`] (pure) notice for the pager when the pipeline stands still, and tell somebody outside that it
//! does not.
//!
//! The [`archiver`] decides nothing and stands apart: it has neither this frame nor a part in `ops.actions`.

pub mod approval;
pub mod archiver;
pub mod autoscaler;
pub mod bookmark;
pub mod channel;
pub mod claim;
pub mod counters;
mod delivery;
mod desk;
pub mod effect;
pub mod error;
pub mod frame;
pub mod gauge;
pub mod guard;
pub mod intent;
pub mod ledger;
pub mod page;
pub mod pager;
pub mod reason;
mod restore;
pub mod role;
pub mod scaling;
pub mod stall;
pub mod watch;
mod work;

pub use counters::Counters;
pub use error::Error;
pub use frame::{Actor, Options};
