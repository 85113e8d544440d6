//! Archivers that die: at every point once, and at random, alone and in company. The vault is the topics each time.
//! The long form is the campaign `archive`.

use crate::oracle::dice::Dice;
use crate::rig::vault::faults::{POINTS, crash, kill_at_random, survive};
use crate::rig::vault::{Archive, Writing};

/// `records ... dies at a point | records ... dies at the next | ... | to the end`.
#[test]
fn an_archiver_that_dies_at_any_point_loses_and_doubles_nothing() {
    let archive = Archive::new("crashes");
    let writing = Writing::start(&archive, 4);
    let mut dice = Dice::new(4);
    for point in POINTS {
        crash(&archive, *point, &mut dice).unwrap();
    }
    writing.stop();
    let checked = survive(&archive).unwrap();
    println!("{checked:?}");
    assert!(checked.records > 100 && checked.segments > 20, "{checked:?}");
}

/// Three writers of one vault at most times: two of a group, under one name or two, and one of another group.
#[test]
fn archivers_killed_at_random_make_one_log() {
    let archive = Archive::new("rivals");
    let checked = kill_at_random(&archive, 8, &mut Dice::new(8)).unwrap();
    println!("{checked:?}");
    assert!(checked.records > 100 && checked.segments > 20, "{checked:?}");
}
