//! The controls: a guard of the processor is taken away, and somebody must notice. A check that has never been seen to
//! fail shows nothing.
//!
//! ```text
//! ops.metrics/p:  r r r A f A r r | r r f r ...   A: given up, forwards (f) and all   |: kill -9 far from a cut
//! guard missing:  read again, stepped from nowhere, sent twice, not sent: each makes another ops.incidents/p
//! ```

use hms_ops::torture::Sabotage;

use crate::rig::sabotage::{self, Control, PROCESSOR};

/// Each with its own fleet, all at the same time. Says who was not noticed.
fn unnoticed(controls: &[Control]) -> Vec<&'static str> {
    let one = |control: &Control| {
        let noticed = (control.play)(Some(control.guard));
        let name = control.guard.name();
        match noticed {
            Ok(quiet) => {
                println!("{name}: NOT CAUGHT, {quiet:?}");
                Some(name)
            }
            Err(noticed) => {
                println!("{name}: caught by {noticed}");
                None
            }
        }
    };
    std::thread::scope(|scope| {
        let plays: Vec<_> = controls.iter().map(|control| scope.spawn(move || one(control))).collect();
        plays.into_iter().filter_map(|play| play.join().unwrap()).collect()
    })
}

#[test]
fn a_stream_with_every_guard_is_as_it_must_be() {
    let quiet = sabotage::stream(None).unwrap();
    assert!(quiet.events > 100, "{quiet:?}");
}

#[test]
fn a_missing_guard_of_the_stream_is_noticed() {
    let elsewhere = [Sabotage::OffsetsOutsideTransaction, Sabotage::NoFence, Sabotage::CommitLost];
    let plays = PROCESSOR.iter().filter(|control| !elsewhere.contains(&control.guard));
    assert_eq!(unnoticed(&plays.copied().collect::<Vec<_>>()), [""; 0]);
}

/// A zombie inside its commit is refused; without the fences it is not.
#[test]
fn a_process_frozen_in_its_commit_commits_nothing_unless_nobody_is_fenced() {
    let honest = std::thread::spawn(|| sabotage::frozen_in_its_commit(None));
    let noticed = sabotage::frozen_in_its_commit(Some(Sabotage::NoFence)).unwrap_err();
    println!("no_fence: caught by {noticed}");
    let quiet = honest.join().unwrap().unwrap();
    assert!(quiet.refused.is_some(), "{quiet:?}");
}
