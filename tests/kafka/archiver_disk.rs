//! A disk that is full, or on which a process dies: nothing is acknowledged that is not durable, and the archive goes
//! on. None of it needs rights. The long form, with real file systems, is the campaign `disk`.

use crate::rig::vault::Archive;
use crate::rig::vault::faults::{dies_while_it_writes, disk_fills_up};

#[test]
fn a_disk_that_is_full_in_the_midst_of_a_segment_acknowledges_nothing_and_is_tried_until_there_is_room() {
    let archive = Archive::new("full");
    let checked = disk_fills_up(&archive, 20_000).unwrap();
    assert_eq!(checked.records, 8 * 5);
}

#[test]
fn a_segment_that_death_left_half_written_is_written_anew() {
    let archive = Archive::new("half");
    let checked = dies_while_it_writes(&archive, 30_000).unwrap();
    assert_eq!(checked.records, 8 * 2);
}
