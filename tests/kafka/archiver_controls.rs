//! The controls of the archiver: with one guard taken away the check of the vault must find what is wrong, and with
//! all of them nothing.

use hms_ops::torture::Sabotage;

use crate::rig::vault::controls::CONTROLS;

/// Plays the scenario of a guard with it and without it.
fn assert_noticed(guard: Sabotage) {
    let (_, scenario) = CONTROLS.iter().find(|(of, _)| *of == guard).unwrap();
    scenario(None).unwrap_or_else(|difference| panic!("with every guard: {difference}"));
    let difference = scenario(Some(guard)).expect_err("it was not noticed");
    println!("{}: {difference}", guard.name());
}

#[test]
fn an_archiver_that_reads_what_was_aborted_is_noticed() {
    assert_noticed(Sabotage::ReadUncommittedInput);
}

#[test]
fn segments_written_over_those_of_another_archiver_are_noticed() {
    assert_noticed(Sabotage::NoCreateIfAbsent);
}

#[test]
fn an_archiver_that_believes_the_group_and_not_the_vault_is_noticed() {
    assert_noticed(Sabotage::ArchiveFromGroupOffset);
}

#[test]
fn an_archiver_that_acknowledges_what_is_not_durable_is_noticed() {
    assert_noticed(Sabotage::AcknowledgeBeforeDurable);
}
