//! The crate's rooms that read bytes of strangers, compiled for fuzzing without the rest of the crate: no Kafka client,
//! no runtime, minutes less to build. Used by the targets beside it, and by nothing else.

#![allow(dead_code)]

#[path = "../src/codec/mod.rs"]
pub mod codec;
#[path = "../src/model/mod.rs"]
pub mod model;
#[path = "../src/spec/mod.rs"]
pub mod spec;
