//! The controls of the actors: with one guard taken away the judge of their effects must find what is wrong, and with
//! all of them nothing.

use crate::rig::effects::controls::CONTROLS;
use crate::rig::sabotage::assert_noticed;

#[test]
fn a_write_without_version_that_comes_late_is_noticed() {
    assert_noticed(CONTROLS[0], "no_resource_version");
}

#[test]
fn an_effect_that_is_repeated_without_a_look_is_noticed() {
    assert_noticed(CONTROLS[1], "no_look_before_retry");
}

#[test]
fn an_outcome_that_was_forgotten_and_comes_twice_is_noticed() {
    assert_noticed(CONTROLS[2], "restore_without_actions");
}

#[test]
fn an_alert_that_was_forgotten_and_stays_open_is_noticed() {
    assert_noticed(CONTROLS[3], "restore_without_actions");
}

#[test]
fn an_effect_after_a_freeze_is_noticed() {
    assert_noticed(CONTROLS[4], "act_while_frozen");
}

#[test]
fn a_month_of_history_that_is_acted_on_is_noticed() {
    assert_noticed(CONTROLS[5], "act_on_history");
}
