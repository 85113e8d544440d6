//! Unit tests of the reading of a whole document.
