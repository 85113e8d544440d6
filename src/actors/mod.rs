//! The actors: guard -> act -> outcome. So far their pure part: what may be done ([`guard`], [`reason`]), how much
//! ([`scaling`]), and what is left of it after a crash ([`intent`]).

pub mod archiver;
pub mod guard;
pub mod intent;
pub mod reason;
pub mod scaling;
