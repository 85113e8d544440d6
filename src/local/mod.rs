//! (to be filled)
pub mod world;
