//! What was measured, as an aligned table, as JSON, and (see [`crate::page`]) as one HTML page with plots.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::plot::Plot;

/// Which side of the bar is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Good {
    AtMost,
    AtLeast,
}

/// A figure that has to be reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    value: f64,
    good: Good,
    pub(crate) met: bool,
}

impl Bar {
    /// The bar in words: `<= 20 ms`.
    pub(crate) fn shown(&self, unit: &str) -> String {
        let sign = if self.good == Good::AtMost { "<=" } else { ">=" };
        format!("{sign} {} {unit}", shown(self.value)).trim_end().to_owned()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Row {
    Title(String),
    Fact {
        name: String,
        text: String,
    },
    Figure {
        name: String,
        value: f64,
        unit: &'static str,
        bar: Option<Bar>,
    },
    Plot(Plot),
}

/// Rows in the order in which they were told.
#[derive(Clone, Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub fn new() -> Report {
        Report::default()
    }

    pub fn title(&mut self, text: impl Into<String>) {
        self.rows.push(Row::Title(text.into()));
    }

    pub fn fact(&mut self, name: &str, text: impl Into<String>) {
        self.rows.push(Row::Fact {
            name: name.into(),
            text: text.into(),
        });
    }

    pub fn figure(&mut self, name: &str, value: f64, unit: &'static str) {
        self.rows.push(Row::Figure {
            name: name.into(),
            value,
            unit,
            bar: None,
        });
    }

    /// A figure with its bar; `NaN`, which is not measured, does not meet it.
    pub fn bar(&mut self, name: &str, value: f64, unit: &'static str, good: Good, bar: f64) {
        let met = match good {
            Good::AtMost => value <= bar,
            Good::AtLeast => value >= bar,
        };
        let bar = Some(Bar { value: bar, good, met });
        self.rows.push(Row::Figure {
            name: name.into(),
            value,
            unit,
            bar,
        });
    }

    /// Shown on the page, and in the JSON with all its points.
    pub fn plot(&mut self, plot: Plot) {
        self.rows.push(Row::Plot(plot));
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn append(&mut self, other: Report) {
        self.rows.extend(other.rows);
    }

    /// Whether every bar was met.
    pub fn is_met(&self) -> bool {
        let mut bars = self.rows.iter().filter_map(|row| match row {
            Row::Figure { bar, .. } => bar.as_ref(),
            _ => None,
        });
        bars.all(|bar| bar.met)
    }

    /// For people: names left, figures right, `measured / bar / met or not` where there is one.
    pub fn table(&self) -> String {
        let names = self.rows.iter().map(|row| match row {
            Row::Title(_) | Row::Plot(_) => 0,
            Row::Fact { name, .. } | Row::Figure { name, .. } => name.chars().count(),
        });
        let width = names.max().unwrap_or(0);
        let mut out = String::new();
        for row in &self.rows {
            match row {
                Row::Title(text) => out += &format!("\n{text}\n"),
                Row::Fact { name, text } => out += &format!("  {name:width$}  {text}\n"),
                Row::Figure { name, value, unit, bar } => {
                    let line = format!("  {name:width$}  {:>12} {unit:<8}", shown(*value));
                    let bar = bar.as_ref().map_or_else(String::new, |bar| {
                        let met = if bar.met { "met" } else { "NOT MET" };
                        format!("  / bar {} / {met}", bar.shown(unit))
                    });
                    out += (line + &bar).trim_end();
                    out.push('\n');
                }
                Row::Plot(_) => {}
            }
        }
        out
    }

    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| match row {
            Row::Title(text) => json!({"title": text}),
            Row::Fact { name, text } => json!({"name": name, "text": text}),
            Row::Figure { name, value, unit, bar } => {
                let bar = bar.as_ref().map(|bar| {
                    let good = if bar.good == Good::AtMost {
                        "at_most"
                    } else {
                        "at_least"
                    };
                    json!({"value": bar.value, "good": good, "met": bar.met})
                });
                json!({"name": name, "value": value, "unit": unit, "bar": bar})
            }
            Row::Plot(plot) => plot.json(),
        });
        Value::Array(rows.collect())
    }

    pub fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        let text = format!("{:#}\n", self.json());
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Times, to three digits. Of a type of its own because hdrhistogram's auto-resizing histogram clamps what is recorded
/// by `saturating_record` to the range it has *so far*: half a second became 2 µs.
#[derive(Clone)]
pub struct Times(Histogram<u64>);

/// Steps of a curve between a quantile and half way from there to 1.
const TICKS_PER_HALF: u32 = 8;
impl std::fmt::Debug for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Times({} up to {} µs)", self.0.len(), self.0.max())
    }
}

/// An hour: longer than any run's stall.
const MICROS_MAX: u64 = 3_600_000_000;

impl Default for Times {
    fn default() -> Self {
        Times(Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("1 to an hour at 3 digits is a legal range"))
    }
}

impl Times {
    pub fn record_nanos(&mut self, nanos: u64) {
        self.0.saturating_record(nanos / 1000);
    }

    /// One of a row of questions that were to be asked `interval` apart, each waiting for the one before: those that a
    /// long answer kept from being asked are recorded as they would have fared (coordinated omission).
    pub fn record_paced(&mut self, nanos: u64, interval: Duration) {
        let micros = (nanos / 1000).min(MICROS_MAX);
        let interval = u64::try_from(interval.as_micros()).unwrap_or(MICROS_MAX);
        let recorded = self.0.record_correct(micros, interval);
        debug_assert!(recorded.is_ok(), "clamped above");
    }

    pub fn clear(&mut self) {
        self.0.reset();
    }

    pub fn add(&mut self, other: &Times) {
        let added = self.0.add(&other.0);
        debug_assert!(added.is_ok(), "both have the same range");
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Quantiles with their times in ms, the lower half coarse, then finer towards the slowest.
    pub fn curve_millis(&self) -> Vec<(f64, f64)> {
        let ticks = if self.0.is_empty() { 0 } else { TICKS_PER_HALF };
        let mut curve: Vec<(f64, f64)> = Vec::new();
        for value in self.0.iter_quantiles(ticks.max(1)).take_while(|_| ticks > 0) {
            let point = (value.quantile_iterated_to(), value.value_iterated_to() as f64 / 1000.0);
            if point.0 < 1.0 {
                curve.push(point);
            }
        }
        curve
    }

    /// In ms; NaN when nothing was recorded.
    pub fn quantile_millis(&self, quantile: f64) -> f64 {
        if self.0.is_empty() {
            return f64::NAN;
        }
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// Four significant digits at least, no exponent.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "not measured".into(),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        1000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_met_or_not() {
        let mut report = Report::new();
        report.title("numbers");
        report.fact("kernel", "6.1");
        report.bar("first byte p99", 19.25, "ms", Good::AtMost, 20.0);
        report.bar("bytes", 1.0, "GB", Good::AtLeast, 1.0);
        assert!(report.is_met());
        report.figure("p50", 0.5, "ms");
        report.bar("latency", f64::NAN, "ms", Good::AtMost, 40.0);
        assert!(!report.is_met());
        let table = report.table();
        assert!(
            table.contains("  first byte p99         19.25 ms        / bar <= 20 ms / met\n"),
            "{table}"
        );
        assert!(
            table.contains("not measured ms        / bar <= 40 ms / NOT MET\n"),
            "{table}"
        );
        let json = report.json();
        assert_eq!(json[2]["bar"]["met"], true);
        assert_eq!(json[5]["value"], Value::Null);
    }

    #[test]
    fn figures_keep_their_digits() {
        for (value, text) in [
            (0.12345, "0.1235"),
            (1.5, "1.50"),
            (123.45, "123.5"),
            (4000.0, "4000"),
            (2e3 + 0.4, "2000"),
        ] {
            assert_eq!(shown(value), text);
        }
    }

    #[test]
    fn times_of_any_size_are_kept_apart() {
        let mut times = Times::default();
        assert!(times.quantile_millis(0.5).is_nan());
        for millis in [1, 2, 3, 500, 90_000] {
            times.record_nanos(millis * 1_000_000);
        }
        for (quantile, millis) in [(0.2, 1.0), (0.4, 2.0), (0.6, 3.0), (0.8, 500.0), (1.0, 90_000.0)] {
            let found = times.quantile_millis(quantile);
            assert!(
                (found / millis - 1.0).abs() < 0.002,
                "{quantile}: {found}, not {millis}"
            );
        }
        assert_eq!(times.count(), 5);
        times.clear();
        assert_eq!(times.count(), 0);
    }

    #[test]
    fn a_long_answer_counts_for_those_that_could_not_ask() {
        let mut times = Times::default();
        for millis in [1, 1, 1000, 1] {
            times.record_paced(millis * 1_000_000, Duration::from_millis(100));
        }
        // 1000, and 900 down to 100 of the nine that were due meanwhile.
        assert_eq!(times.count(), 3 + 10);
        assert!(times.quantile_millis(0.5) > 100.0);
    }
}
