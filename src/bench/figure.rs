//! The figures of a run, and what is made of those of several.

/// Speed and cost over a stretch of the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Stretch {
    /// Records.
    pub readings: u64,
    /// Wall time, s.
    pub seconds: f64,
    /// Readings a second.
    pub per_second: f64,
    /// Processor time for a million readings, s.
    pub cpu_s_per_million: f64,
    /// What the broker took meanwhile, if it can be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerPart>,
}

/// What the broker took while something was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct BrokerPart {
    /// Processor time for a million readings, s, its compilers included.
    pub cpu_s_per_million: f64,
    /// What its compilers took, cores.
    pub compiling_cores: f64,
}

/// What was seen of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Figures {
    /// From the first progress to the last.
    pub whole: Stretch,
    /// The last 60 % of the records.
    pub warm: Stretch,
    /// Processor time until the first progress: start, specs, the first records.
    pub start_cpu_s: f64,
    /// Wall time until then.
    pub start_s: f64,
    /// Most resident memory, MiB.
    pub peak_mib: f64,
}

/// Of each figure by itself; all 0 of no runs.
pub fn median<'a>(runs: impl Iterator<Item = &'a Figures> + Clone) -> Figures {
    let of = |figure: &dyn Fn(&Figures) -> f64| middle(runs.clone().map(figure).collect());
    let broker = |part: &dyn Fn(&Figures) -> Stretch| {
        let parts: Vec<BrokerPart> = runs.clone().filter_map(|run| part(run).broker).collect();
        let of = |figure: &dyn Fn(&BrokerPart) -> f64| middle(parts.iter().map(figure).collect());
        (!parts.is_empty()).then(|| BrokerPart {
            cpu_s_per_million: of(&|part| part.cpu_s_per_million),
            compiling_cores: of(&|part| part.compiling_cores),
        })
    };
    let stretch = |part: &dyn Fn(&Figures) -> Stretch| Stretch {
        readings: of(&|run| part(run).readings as f64) as u64,
        seconds: of(&|run| part(run).seconds),
        per_second: of(&|run| part(run).per_second),
        cpu_s_per_million: of(&|run| part(run).cpu_s_per_million),
        broker: broker(part),
    };
    Figures {
        whole: stretch(&|run| run.whole),
        warm: stretch(&|run| run.warm),
        start_cpu_s: of(&|run| run.start_cpu_s),
        start_s: of(&|run| run.start_s),
        peak_mib: of(&|run| run.peak_mib),
    }
}

/// The median: of an even number of values the mean of the two in the middle.
pub fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// The nearest rank: the smallest value that at least `permille` thousandths of them do not exceed; 0 of none.
pub fn rank(sorted: &[i64], permille: usize) -> i64 {
    let rank = (permille * sorted.len()).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// `1,234,567`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_ranks_and_numbers() {
        let run = |peak_mib| Figures { peak_mib, ..Figures::default() };
        let runs = [run(3.0), run(1.0), run(2.0)];
        assert_eq!((median(runs.iter()).peak_mib, median(runs[..2].iter()).peak_mib), (2.0, 2.0));
        assert_eq!(middle(Vec::new()), 0.0);
        assert_eq!((rank(&[1, 2, 3, 4], 500), rank(&[1, 2, 3, 4], 990), rank(&[], 500)), (2, 4, 0));
        assert_eq!([0.4, 999.0, 1_000.0, 1_234_567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
