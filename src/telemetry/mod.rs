//! Log events, metrics and the host's clock, for everything that is not pure.

pub mod clock;
pub mod http;
pub mod log;
pub mod processor;
pub mod receiver;
