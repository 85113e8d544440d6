//! Pagers as processes before twins of PagerDuty and Slack: deaths, zombies, bad weather, and what is noticed without a
//! guard. The long form is the campaign `channels`.

use crate::oracle::dice::Dice;
use crate::rig::effects::channels::{
    CONTROLS, Paging, Service, beside_a_hung_channel, dies_everywhere, through_bad_weather,
};
use crate::rig::effects::faults::POINTS;
use crate::rig::sabotage::assert_noticed;

#[test]
fn a_message_that_is_sent_again_without_a_look_is_noticed() {
    assert_noticed(CONTROLS[0], "no_read_back");
}

#[test]
fn a_zombie_that_goes_on_with_its_tries_is_noticed() {
    assert_noticed(CONTROLS[1], "no_finding_out");
}

#[test]
fn a_pager_that_dies_at_any_point_tells_slack_once() {
    let mut paging = Paging::new("slack-crashes", Service::Slack);
    let judged = dies_everywhere(&mut paging).unwrap();
    let all = 2 * POINTS.len() as u64;
    assert_eq!((judged.actions, judged.effects, judged.unknown), (all, all, 0), "{judged:?}");
}

#[test]
fn a_pager_that_dies_at_any_point_opens_one_alert_and_leaves_none() {
    let mut paging = Paging::new("pagerduty-crashes", Service::PagerDuty);
    let judged = dies_everywhere(&mut paging).unwrap();
    let all = 2 * POINTS.len() as u64;
    assert_eq!((judged.actions, judged.effects), (all, all), "{judged:?}");
}

#[test]
fn pages_arrive_while_another_channel_hangs() {
    let mut paging = Paging::new("deaf", Service::Slack);
    let took = beside_a_hung_channel(&mut paging, 5).unwrap();
    println!("{took:?}");
    assert_eq!((took.len(), paging.slack.messages().len()), (5, 5));
}

#[test]
fn in_bad_weather_as_many_repeats_are_announced_as_the_twins_count() {
    for (service, seed) in [(Service::PagerDuty, 1), (Service::Slack, 2)] {
        let mut paging = Paging::new("weather", service);
        let judged = through_bad_weather(&mut paging, 8, &mut Dice::new(seed)).unwrap();
        assert_eq!((judged.actions, judged.effects), (16, 16), "{judged:?}");
        assert!(judged.repeats > 0, "the weather was too good: {judged:?}");
    }
}
