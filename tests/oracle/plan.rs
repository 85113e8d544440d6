//! Random specs: what one says, how it is written, and how the next one differs from it.

use std::fmt::Write;

use super::dice::Dice;

/// What a random spec says.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Id of the service.
    pub id: String,
    /// Times in ms, `None` where the default stands.
    pub slo: Option<SloPlan>,
    owner: u64,
    interval: i64,
    comparisons: Vec<(&'static str, &'static str)>,
    no_data: Vec<&'static str>,
    events: bool,
    escalations: Vec<i64>,
    recovered: bool,
    /// Other words for the same things: a compatible spec.
    dialect: u64,
}

/// The `slo:` of a random spec.
#[derive(Clone, Debug)]
pub struct SloPlan {
    /// Breached above this.
    pub threshold: f64,
    /// The window, ms.
    pub window: i64,
    /// `no_data_after_seconds`, ms.
    pub no_data_after: i64,
    min_samples: u64,
    step: Option<i64>,
    lateness: Option<i64>,
    hold: Option<i64>,
    recover_for: i64,
    recover_threshold: Option<f64>,
    objective: Option<&'static str>,
    flap: Option<(u32, i64)>,
}

/// Conditions on other sensors, each in two spellings that parse to the same.
const COMPARISONS: [(&str, &str); 9] = [
    ("error_rate > 2 % for 3 s", "error_rate>2% for 3"),
    ("error_rate > 2 %", "error_rate > 0.02"),
    ("error_rate >= 2 % for 1500 ms", "error_rate >= 0.02 for 1.5"),
    ("error_rate < 0.01 for 2 s", "error_rate < 1 % for 2000ms"),
    ("error_rate <= 1 %", "error_rate<=0.01"),
    ("cost_hourly > $500", "cost_hourly > $500.00"),
    ("cost_hourly <= $10 for 5 s", "cost_hourly<=$10 for 5"),
    ("q >= 45 for 2 s", "q>=45 for 2"),
    ("q < 5", "q<5.0"),
];

impl Plan {
    /// A random spec of the service `id`.
    pub fn random(dice: &mut Dice, id: &str) -> Self {
        let interval = dice.pick(&[200, 500, 500, 1000, 2000]);
        let slo = dice.chance(88).then(|| SloPlan::random(dice));
        let count = dice.pick(&[0, 1, 1, 2]);
        let first = dice.below(COMPARISONS.len() as u64) as usize;
        let comparisons = (0..count).map(|n| COMPARISONS[(first + 4 * n) % COMPARISONS.len()]).collect();
        let step = slo.as_ref().and_then(|slo| slo.step).unwrap_or(1000);
        let mut escalations: Vec<i64> = Vec::new();
        for choices in [&[8_000, 12_000, 40_000], &[5_000, 8_500, 20_000]] {
            if slo.is_some() && dice.chance(60) {
                escalations.push(dice.pick(choices).max(4 * interval).max(step));
            }
        }
        Self {
            id: id.to_owned(),
            owner: 0,
            interval,
            comparisons,
            no_data: if slo.is_some() {
                dice.pick(&[&[][..], &["no_data for 4 s"], &["no_data"]]).to_vec()
            } else {
                vec![]
            },
            events: slo.is_none() || dice.chance(60),
            recovered: slo.is_some() && dice.chance(40),
            slo,
            escalations,
            dialect: 0,
        }
    }

    /// A spec that goes on where this one is: other owner, words, order of sensors, later steps.
    pub fn compatible(&self, dice: &mut Dice) -> Self {
        let mut next = self.clone();
        next.owner += 1;
        if dice.chance(50) {
            next.dialect = 1 - next.dialect;
        }
        if next.slo.is_some() && dice.chance(50) {
            next.escalations = vec![dice.pick(&[6_000, 15_000, 30_000]).max(4 * next.interval)];
            next.recovered = !next.recovered;
        }
        next
    }

    /// A spec of the same service with which it starts anew.
    pub fn incompatible(&self, dice: &mut Dice) -> Self {
        let mut next = Self::random(dice, &self.id);
        next.owner = self.owner + 1;
        // Whatever was drawn, this alone is a difference.
        next.interval = if self.interval == 500 { 1000 } else { 500 };
        next
    }

    /// The text of the spec.
    pub fn text(&self) -> String {
        let mut text = format!("id: {}\nowner: team{}\nsensors:\n", self.id, self.owner);
        let q = format!("  - {{name: q, interval: {}}}\n", seconds(self.interval));
        let others =
            "  - {name: error_rate, unit: ratio, no_data_after: 8}\n  - {name: cost_hourly, unit: usd_per_hour}\n";
        text.push_str(&if self.dialect == 0 { format!("{q}{others}") } else { format!("{others}{q}") });
        if let Some(slo) = &self.slo {
            slo.write(&mut text);
        }
        if self.events {
            text.push_str("events:\n  - intrusion\n");
        }
        text.push_str("playbook:\n");
        if self.slo.is_some() {
            step(&mut text, "slo_breach", "scale_up compute=+1");
        }
        for (number, after) in self.escalations.iter().enumerate() {
            step(&mut text, &format!("still_breach_after {}", seconds(*after)), &format!("page channel=x{number}"));
        }
        for (one, other) in &self.comparisons {
            step(&mut text, if self.dialect == 0 { one } else { other }, "rollback deploy");
        }
        if self.events {
            step(&mut text, "intrusion", "isolate pod & page sec");
        }
        for no_data in &self.no_data {
            step(&mut text, no_data, "page channel=silence");
        }
        if self.recovered {
            step(&mut text, "recovered", "scale compute=2");
        }
        text.push_str("  - always:\n    log_to: HMS-DTA\n");
        text
    }
}

impl SloPlan {
    fn random(dice: &mut Dice) -> Self {
        let threshold = dice.pick(&[30.0, 30.0, 30.0, 30.0, -5.0]);
        let step = dice.pick(&[None, None, None, None, Some(500), Some(2000)]);
        Self {
            threshold,
            window: dice.pick(&[4_000, 6_000, 10_000, 10_000, 14_000, 30_000]),
            no_data_after: dice.pick(&[1_000, 3_000, 5_000, 10_000, 10_000, 40_000]),
            min_samples: dice.pick(&[1, 1, 3, 5, 5, 20, 20]),
            step,
            lateness: dice.pick(&[None, None, None, Some(0), Some(2_000), Some(500)]),
            hold: dice.pick(&[None, None, Some(2_000), Some(5_000)]),
            recover_for: dice.pick(&[0, 2_000, 2_000, 5_000, 1_500, 20_000, 20_000]),
            recover_threshold: dice.pick(&[None, None, Some(threshold - 10.0), Some(threshold)]),
            objective: dice.pick(&[None, None, None, None, Some("0.9"), Some("0.5"), Some("0.99")]),
            flap: dice.pick(&[Some((1, 20_000)), Some((2, 20_000)), Some((2, 120_000)), Some((3, 30_000)), None]),
        }
    }

    fn write(&self, text: &mut String) {
        let mut field =
            |name: &str, value: String| writeln!(text, "{name}: {value}").expect("a string takes everything");
        field("slo", String::new());
        field("  target", "q".to_owned());
        field("  threshold", self.threshold.to_string());
        field("  window_seconds", seconds(self.window));
        field("  min_samples", self.min_samples.to_string());
        field("  recover_for", seconds(self.recover_for));
        field("  no_data_after_seconds", seconds(self.no_data_after));
        for (name, time) in [("  step", self.step), ("  lateness", self.lateness), ("  for", self.hold)] {
            if let Some(time) = time {
                field(name, seconds(time));
            }
        }
        if let Some(recover) = self.recover_threshold {
            field("  recover_threshold", recover.to_string());
        }
        if let Some(objective) = self.objective {
            field("  objective", objective.to_owned());
        }
        if let Some((limit, window)) = self.flap {
            field("  flap_limit", limit.to_string());
            field("  flap_window", seconds(window));
        }
    }
}

/// Milliseconds as a bare number of seconds.
fn seconds(ms: i64) -> String {
    (ms as f64 / 1000.0).to_string()
}

fn step(text: &mut String, condition: &str, action: &str) {
    writeln!(text, "  - if: {condition}\n    then: {action}").expect("a string takes everything");
}
