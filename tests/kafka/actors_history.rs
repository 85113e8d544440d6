//! A month of incidents on `ops.incidents`, and actors that come to it: they act on none that is over. The control,
//! which pages about what is over, is among the controls of the actors.

use crate::rig::effects::Kind;
use crate::rig::effects::months::{new_group, read_again};

#[test]
fn a_new_autoscaler_on_a_month_of_incidents_acts_on_none_of_them() {
    new_group(Kind::Autoscaler).unwrap();
}

#[test]
fn a_new_pager_on_a_month_of_incidents_pages_about_none_of_them() {
    new_group(Kind::Pager).unwrap();
}

/// 1,200 requests: 1,199 are answered `over`, and the one whose incident is open is paged.
#[test]
fn a_pager_that_was_away_for_a_month_pages_what_is_open_alone() {
    read_again(None).unwrap();
}
