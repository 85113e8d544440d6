//! A process dies at each of its points of death, as by kill -9, and another goes on.
//!
//! ```text
//! poll -> step -> produce -> send offsets -> commit .. answer -> poll     fence -> restore -> first commit
//!      x      x           x               x        x         x                x         x                x
//! ```

use std::sync::Arc;

use crate::oracle::dice::Dice;
use crate::rig::crash::{POINTS, lives};
use crate::rig::fleet::Fleet;
use crate::rig::judge::confirm;

#[test]
fn a_process_dies_at_each_point_of_its_life() {
    let fleet = Arc::new(Fleet::new("points"));
    println!("{}", lives(&fleet, POINTS.len(), &mut Dice::new(4)).join(" "));
    let judged = confirm(&fleet);
    assert!(judged.forwarded > 100 && judged.rejected.len() > 20, "{} {:?}", judged.forwarded, judged.counts);
}
