//! Log events, metrics and the host's clock, for everything that is not pure.

#[cfg(feature = "service")]
pub mod archiver;
pub mod clock;
#[cfg(feature = "service")]
pub mod collector;
#[cfg(feature = "service")]
pub mod http;
#[cfg(feature = "service")]
pub mod log;
#[cfg(feature = "service")]
pub mod parts;
#[cfg(feature = "service")]
pub mod processor;
#[cfg(feature = "service")]
pub mod receiver;
