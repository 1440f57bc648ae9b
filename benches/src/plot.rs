//! Plots as SVG of our own making: lines over time, and distributions over a scale that stretches towards the slowest.
//!
//! Not a library of charts: one size, one axis of values, a few lines whose colours the page gives by class
//! (`line0`, `line1`, …), so that they can be read on light and on dark ground.

use std::fmt::Write;

use serde_json::{Value, json};

/// Lines with colours of their own.
pub const LINES_MAX: usize = 4;
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// The percentile scale ends here: one in 100,000.
const TAIL_MIN: f64 = 1e-5;
/// Percentiles with a mark.
const PERCENTILES: [f64; 6] = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999];

/// What the points' first numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Seconds, from 0.
    Seconds,
    /// Quantiles: each nine takes as much room as the one before.
    Percentile,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub name: String,
    /// Rising in the first number.
    pub points: Vec<(f64, f64)>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    pub title: String,
    pub scale: Scale,
    pub unit: &'static str,
    pub lines: Vec<Line>,
}

impl Plot {
    pub fn json(&self) -> Value {
        let scale = match self.scale {
            Scale::Seconds => "seconds",
            Scale::Percentile => "percentile",
        };
        let lines = self
            .lines
            .iter()
            .map(|line| json!({"name": line.name, "points": line.points}));
        json!({"plot": self.title, "scale": scale, "unit": self.unit, "lines": lines.collect::<Vec<_>>()})
    }

    /// A `figure` with its title, drawing and the names of its lines; a sentence where there is nothing to draw.
    pub fn figure(&self) -> String {
        let mut out = String::new();
        let title = escape(&self.title);
        if self.lines.iter().all(|line| line.points.is_empty()) {
            return format!("<figure><figcaption>{title}</figcaption><p>nothing was measured</p></figure>\n");
        }
        let area = Area::of(self);
        out += &format!("<figure><figcaption>{title}</figcaption>\n");
        out += &format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">"#);
        area.grid(self, &mut out);
        for (number, line) in self.lines.iter().take(LINES_MAX).enumerate() {
            out += &format!(r#"<polyline class="line line{number}" points=""#);
            for (x, y) in &line.points {
                // Writing to a string does not fail.
                let _ = write!(out, "{:.1},{:.1} ", area.across(*x), area.up(*y));
            }
            out += r#""/>"#;
        }
        out += "</svg>\n<p class=\"legend\">";
        for (number, line) in self.lines.iter().take(LINES_MAX).enumerate() {
            out += &format!(r#"<span class="key{number}">{}</span> "#, escape(&line.name));
        }
        out += "</p></figure>\n";
        out
    }
}

/// Where values stand in the drawing.
#[derive(Debug)]
struct Area {
    scale: Scale,
    /// Of the first number: the last second, or the smallest tail.
    end: f64,
    top: f64,
    step: f64,
}

impl Area {
    fn of(plot: &Plot) -> Area {
        let points = || plot.lines.iter().flat_map(|line| &line.points);
        let highest = points().map(|point| point.1).fold(0.0, f64::max);
        let last = points().map(|point| point.0).fold(0.0, f64::max);
        let end = match plot.scale {
            Scale::Seconds => last.max(1e-3),
            Scale::Percentile => (1.0 - last).clamp(TAIL_MIN, 0.1),
        };
        let step = round_step(highest);
        Area {
            scale: plot.scale,
            end,
            top: (highest / step).ceil().max(1.0) * step,
            step,
        }
    }

    fn across(&self, x: f64) -> f64 {
        let share = match self.scale {
            Scale::Seconds => x / self.end,
            Scale::Percentile => (1.0 - x).max(self.end).log10() / self.end.log10(),
        };
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn up(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - (y / self.top).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn grid(&self, plot: &Plot, out: &mut String) {
        let (left, right, floor) = (LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM);
        let steps = (self.top / self.step).round() as u32;
        for number in 0..=steps {
            let value = f64::from(number) * self.step;
            let y = self.up(value);
            *out += &format!(r#"<line class="grid" x1="{left}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/>"#);
            let (x, y) = (left - 6.0, y + 4.0);
            *out += &format!(
                r#"<text x="{x}" y="{y:.1}" text-anchor="end">{}</text>"#,
                mark(value, self.step)
            );
        }
        let marks: Vec<(f64, String)> = match self.scale {
            Scale::Seconds => {
                let step = round_step(self.end);
                let count = (self.end / step).floor() as u32;
                let value = |number| f64::from(number) * step;
                (0..=count)
                    .map(|number| (value(number), mark(value(number), step)))
                    .collect()
            }
            Scale::Percentile => {
                let shown = PERCENTILES.into_iter().filter(|share| 1.0 - share >= self.end * 0.999);
                shown
                    .map(|share| {
                        (
                            share,
                            format!("p{}", (share * 1e4).round() / 100.0).replace("p0", "fastest"),
                        )
                    })
                    .collect()
            }
        };
        for (value, text) in marks {
            let (x, y) = (self.across(value), floor + 16.0);
            *out += &format!(r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{floor}"/>"#);
            *out += &format!(r#"<text x="{x:.1}" y="{y}" text-anchor="middle">{text}</text>"#);
        }
        let y = HEIGHT - 6.0;
        let across = if self.scale == Scale::Seconds {
            " over seconds"
        } else {
            ""
        };
        *out += &format!(
            r#"<text x="{left}" y="{y}" class="unit">{}{across}</text>"#,
            escape(plot.unit)
        );
    }
}

/// 1, 2 or 5 of a power of ten: four to ten steps up to `highest`.
fn round_step(highest: f64) -> f64 {
    let highest = if highest > 0.0 { highest } else { 1.0 };
    let rough = highest / 8.0;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough);
    factor.unwrap_or(10.0) * power
}

fn mark(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}")
}

/// Text for HTML and its attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(scale: Scale, points: &[(f64, f64)]) -> Plot {
        Plot {
            title: "latency <ms>".into(),
            scale,
            unit: "ms",
            lines: vec![Line {
                name: "a & b".into(),
                points: points.to_vec(),
            }],
        }
    }

    #[test]
    fn points_stand_where_their_values_are() {
        let svg = plot(Scale::Seconds, &[(0.0, 0.0), (5.0, 4.0), (10.0, 8.0)]).figure();
        // From the lower left corner over the middle to the upper right one.
        assert!(svg.contains(r#"points="56.0,220.0 341.0,116.0 626.0,12.0 ""#), "{svg}");
        assert!(svg.contains("latency &lt;ms&gt;") && svg.contains("a &amp; b"), "{svg}");
        let svg = plot(Scale::Percentile, &[(0.0, 1.0), (0.9, 2.0), (0.99, 4.0)]).figure();
        assert!(
            svg.contains("56.0,") && svg.contains("341.0,") && svg.contains("626.0,"),
            "{svg}"
        );
        for mark in [">fastest<", ">p50<", ">p90<", ">p99<"] {
            assert!(svg.contains(mark), "{mark} in {svg}");
        }
        assert!(!svg.contains(">p99.9<"), "{svg}");
    }

    #[test]
    fn steps_are_round_and_few() {
        for (highest, step) in [(8.0, 1.0), (0.037, 0.005), (160.0, 20.0), (1000.0, 200.0), (0.0, 0.2)] {
            assert!(
                (round_step(highest) - step).abs() < 1e-9,
                "{highest}: {}",
                round_step(highest)
            );
        }
        assert_eq!(mark(0.015, 0.005), "0.015");
        assert_eq!(mark(40.0, 20.0), "40");
    }

    #[test]
    fn what_was_not_measured_is_said() {
        assert!(plot(Scale::Seconds, &[]).figure().contains("nothing was measured"));
        // One point, or only zeros, are no division by zero.
        for points in [&[(0.0, 0.0)][..], &[(3.0, 0.0)], &[(1.0, 5.0)]] {
            for scale in [Scale::Seconds, Scale::Percentile] {
                let svg = plot(scale, points).figure();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }
}
