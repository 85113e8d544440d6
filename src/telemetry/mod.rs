//! Log events and the host's clock, for everything that is not pure.

pub mod clock;
pub mod log;
