//! Growth: what more series and longer windows cost. One run of the processor for each pair.

use super::Bench;
use super::error::Result;
use super::figure::Figures;
use super::ground::Time;
use super::load::Load;
use super::race;

/// Series that are tried.
pub const SERIES: [u32; 3] = [100, 10_000, 100_000];
/// Windows that are tried, s.
pub const WINDOWS_S: [i64; 3] = [60, 300, 3_600];
/// The readings last for so many windows: all of them are full at the end.
const WINDOWS: f64 = 1.2;

/// One pair.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Point {
    /// What was read.
    pub load: Load,
    /// Of the one run.
    pub figures: Figures,
    /// Steady bytes written for a byte read.
    pub steady_share: Option<f64>,
}

/// Runs all pairs. The number of readings is that of `load`; where they would not fill the windows at its rate, the rate is
/// lower.
///
/// # Errors
/// One of them does not come to the end.
pub fn run(bench: &Bench<'_>, load: &Load) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    for series in SERIES {
        for window_s in WINDOWS_S {
            let rate = load.rate.min(load.readings as f64 / (window_s as f64 * WINDOWS));
            let load = Load { series, rate, window_ms: window_s * 1_000, ..load.clone() };
            let ground = bench.ground(&format!("growth-{series}-{window_s}."), Time::Simulated)?;
            let (input, _) = bench.fill(&ground, &load)?;
            let told = format!("growth: {series} series, windows of {window_s} s");
            let (run, _) = race::processor(bench, &ground, &load, &input, &told)?;
            let steady_share = run.written.and_then(|written| written.steady_share);
            points.push(Point { load, figures: run.figures, steady_share });
        }
    }
    Ok(points)
}
