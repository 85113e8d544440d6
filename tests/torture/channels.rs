//! The campaign `channels` (F10, and F2 of the pager): pages and clears to twins of PagerDuty and Slack that refuse,
//! fail, take and do not say so; pages while another channel hangs; and pagers that die at every point. After each round the judge counts alerts,
//! messages, outcomes, and repeats on both sides.

use std::time::Duration;

use crate::campaign::{Campaign, Trial};
use crate::rig::effects::channels::{Paging, Service, beside_a_hung_channel, dies_everywhere, through_bad_weather};

/// Pages of a round; each has its clear.
const PAGES: u32 = 25;

/// Pages of a round while another channel hangs, and what is timed of them.
const BESIDE: u32 = 30;
const RECEIPT: &str = "requested to receipt beside a hung channel";

/// See the module. A round is one of the two services in bad weather, and in every fifth its deaths too.
pub const CAMPAIGN: Campaign = Campaign {
    name: "channels",
    shows: "one alert or message each, none left open, and as many repeats as are announced (F10)",
    rounds: 20,
    run,
};

fn run(trial: &mut Trial) -> Result<(), String> {
    trial.figures.limits.insert(RECEIPT, Duration::from_secs(1));
    for round in 0..trial.rounds {
        let service = if round % 2 == 0 { Service::PagerDuty } else { Service::Slack };
        let mut paging = Paging::new("weather", service);
        let judged = through_bad_weather(&mut paging, PAGES, &mut trial.dice);
        let judged = judged.map_err(|error| format!("round {round}, {service:?}: {error}"))?;
        trial.figures.count("actions", judged.actions);
        trial.figures.count("effects", judged.effects);
        trial.figures.count("repeats, announced and counted", judged.repeats);
        trial.figures.count("unknown outcomes", judged.unknown);
        let mut paging = Paging::new("deaf", service);
        let took = beside_a_hung_channel(&mut paging, BESIDE);
        let took = took.map_err(|error| format!("round {round}, {service:?}, a deaf channel: {error}"))?;
        took.into_iter().for_each(|took| trial.figures.time(RECEIPT, took));
        if round % 5 == 0 {
            let mut paging = Paging::new("deaths", service);
            let judged = dies_everywhere(&mut paging);
            let judged = judged.map_err(|error| format!("round {round}, {service:?}, deaths: {error}"))?;
            trial.figures.count("actions over deaths", judged.actions);
        }
        trial.round_is_over(&format!("{service:?}, {} repeats", judged.repeats));
    }
    Ok(())
}
