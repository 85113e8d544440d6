//! A plot of the growth as SVG, by hand: small panels side by side, a line for each window over the number of series.

use std::fmt::{self, Write as _};

use super::figure::grouped;
use super::growth::{Point, SERIES, WINDOWS_S};

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 56.0;
/// Colours that the colour-blind tell apart (Okabe and Ito).
const COLOURS: [&str; 3] = ["#0072b2", "#d55e00", "#009e73"];

/// One panel: its title, and what it shows of a point.
type Panel = (&'static str, fn(&Point) -> f64);

const PANELS: [Panel; 3] = [
    ("million readings/s, warm", |point| point.figures.warm.per_second / 1e6),
    ("CPU s per million readings, warm", |point| point.figures.warm.cpu_s_per_million),
    ("peak MiB", |point| point.figures.peak_mib),
];

/// The plot.
pub fn svg(points: &[Point]) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = draw(&mut out, points);
    out
}

fn draw(out: &mut String, points: &[Point]) -> fmt::Result {
    let (width, height) = (WIDTH * PANELS.len() as f64, HEIGHT + 30.0);
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>"
    )?;
    for (place, panel) in PANELS.iter().enumerate() {
        writeln!(out, "<g transform=\"translate({} 0)\">", WIDTH * place as f64)?;
        draw_panel(out, points, panel)?;
        writeln!(out, "</g>")?;
    }
    for (place, (window, colour)) in WINDOWS_S.iter().zip(COLOURS).enumerate() {
        let (x, y) = (MARGIN + 140.0 * place as f64, HEIGHT + 15.0);
        writeln!(out, "<path d=\"M{x} {y}h20\" stroke=\"{colour}\" stroke-width=\"2\"/>")?;
        writeln!(out, "<text x=\"{}\" y=\"{}\">windows of {window} s</text>", x + 26.0, y + 4.0)?;
    }
    writeln!(out, "</svg>")
}

fn draw_panel(out: &mut String, points: &[Point], (title, value): &Panel) -> fmt::Result {
    let top = points.iter().map(value).fold(0.0, f64::max).max(f64::MIN_POSITIVE) * 1.1;
    let (right, bottom) = (WIDTH - 20.0, HEIGHT - 40.0);
    // The series by their order of magnitude, from the smallest to the largest that is tried.
    let ends = [SERIES[0], SERIES[SERIES.len() - 1]].map(|series| f64::from(series).log10());
    let x = |series: u32| MARGIN + (f64::from(series).log10() - ends[0]) / (ends[1] - ends[0]) * (right - MARGIN);
    let y = |value: f64| bottom - value / top * (bottom - 30.0);
    writeln!(out, "<text x=\"{MARGIN}\" y=\"18\" font-weight=\"bold\">{title}</text>")?;
    writeln!(out, "<path d=\"M{MARGIN} 30V{bottom}H{right}\" fill=\"none\" stroke=\"black\"/>")?;
    for quarter in 0..=4 {
        let value = top * f64::from(quarter) / 4.0;
        let (y, label) = (y(value), if top < 20.0 { format!("{value:.1}") } else { grouped(value) });
        writeln!(out, "<path d=\"M{MARGIN} {y:.1}H{right}\" stroke=\"#ddd\"/>")?;
        writeln!(out, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", MARGIN - 6.0, y + 4.0)?;
    }
    for series in SERIES {
        let label = grouped(f64::from(series));
        writeln!(out, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", x(series), bottom + 16.0)?;
    }
    writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">series</text>",
        (MARGIN + right) / 2.0,
        bottom + 32.0
    )?;
    for (window, colour) in WINDOWS_S.iter().zip(COLOURS) {
        let of_window = points.iter().filter(|point| point.load.window_ms == window * 1_000);
        let places = of_window.map(|point| format!("{:.1},{:.1}", x(point.load.series), y(value(point))));
        let places = places.collect::<Vec<_>>().join(" ");
        writeln!(out, "<polyline points=\"{places}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>")?;
    }
    Ok(())
}
