//! What every HTTP service of ours shares: how it listens, what it stands, who may do what, and how it says no.
//!
//! - [`server`]: one listener with its limits: heads, bodies, connections, slow clients; stops in order.
//! - [`problem`]: every refusal is an RFC 9457 problem document.
//! - [`extract`]: bodies and parameters, bounded, refused as problems.
//! - [`tokens`]: who may do what with which services.
//! - [`sessions`]: who has logged in with a browser; [`tries`]: how often somebody may be wrong.
//! - [`gate`]: finds out who calls, and keeps other sites' pages out.
//!
//! A router is built of handlers, led through [`gate::Gate::protect`] where a caller is needed, and given to
//! [`server::Server::start`], which adds the rest. Used by `collect` (receivers) and by `/metrics`; knows no Kafka.

pub mod extract;
pub mod gate;
pub mod problem;
pub mod server;
pub mod sessions;
pub mod tokens;
pub mod tries;

pub use gate::{Caller, Gate, Visitor};
pub use problem::Problem;
pub use server::{Limits, Options, Peer, Server};
pub use tokens::{Right, Scope, Token, Tokens};
