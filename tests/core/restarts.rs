//! Restarts: a core that is thrown away after every single record and restored from its last cut gives the same
//! effects as one that was never interrupted, cuts included.
//!
//! ```text
//! log:     r r r [cut] r r r r | r      a crash at |
//! restore:        ^----------->          state at the cut, then the records since, effects muted
//! ```

use hms_ops::processor::core::{Core, Effects};
use hms_ops::processor::specs::Specs;

use super::feed::{Kept, step};
use super::oracle::{Entry, generate};

/// Runs `log` twice, once with a restart before every entry; says where the two first differ.
fn first_difference(log: &[Entry], restore: impl Fn(&Kept) -> Core) -> Option<String> {
    let (mut core, mut offset, mut kept) = (Core::new(0, 1), 0, Kept::default());
    let mut effects = Effects::default();
    core.cut(0, &mut effects);
    kept.keep(&effects);
    // Entries since the last cut, with the offset of the next record at each; the entry that made the cut included,
    // as a cut lies before its record.
    let mut since: Vec<(Entry, i64)> = Vec::new();
    for (place, entry) in log.iter().enumerate() {
        let mut restarted = restore(&kept);
        let mut muted = Effects::default();
        for (entry, at) in &since {
            step(&mut restarted, entry, &mut at.clone(), &mut muted);
        }
        let (mut theirs, mut ours) = (Effects::default(), Effects::default());
        let outcome = step(&mut restarted, entry, &mut offset.clone(), &mut theirs);
        let before = offset;
        let expected = step(&mut core, entry, &mut offset, &mut ours);
        if outcome != expected || theirs != ours {
            return Some(format!(
                "entry {place} {entry:?}:\nuninterrupted {expected:?} {ours:#?}\nrestarted {outcome:?} {theirs:#?}"
            ));
        }
        if !ours.cuts.is_empty() {
            since.clear();
            kept.keep(&ours);
        }
        if matches!(entry, Entry::Record { .. }) {
            since.push((entry.clone(), before));
        }
    }
    None
}

#[test]
fn a_restart_before_every_record_changes_nothing() {
    for seed in 0..24 {
        let log = generate::log_of_size(seed, 400);
        if let Some(difference) = first_difference(&log, Kept::restore) {
            panic!("seed {seed}: {difference}");
        }
    }
}

/// The control: a restore that forgets the rollups is found out.
#[test]
fn a_restore_without_rollups_is_noticed() {
    let forgetful = |kept: &Kept| {
        let partition = kept.partition.clone().unwrap_or_default();
        Core::restore(1, &partition, kept.services.values().cloned().collect(), [], &mut Specs::default())
            .expect("it restores")
    };
    assert!((0..24).any(|seed| first_difference(&generate::log_of_size(seed, 400), forgetful).is_some()));
}
