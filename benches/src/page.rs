//! A report as one HTML page that needs nothing else: its tables, its plots, and colours for light and for dark.
//!
//! No script, no font and no picture from elsewhere: it can be mailed, kept beside a result, and opened without a network.

use std::path::Path;

use anyhow::Context;

use crate::plot::escape;
use crate::report::{Report, Row, shown};

/// Writes the page.
pub fn write(report: &Report, path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, html(report)).with_context(|| format!("cannot write {}", path.display()))
}

/// The page.
pub fn html(report: &Report) -> String {
    let rows = report.rows();
    let first = rows.iter().find_map(|row| match row {
        Row::Title(text) => Some(text.as_str()),
        _ => None,
    });
    let title = escape(first.unwrap_or("penstock-benches"));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<main>\n"
    );
    // Rows of one kind stand in one table, plots side by side.
    let mut open = "";
    for row in rows {
        let wanted = match row {
            Row::Title(_) => "",
            Row::Fact { .. } | Row::Figure { .. } => "table",
            Row::Plot(_) => "div",
        };
        if wanted != open {
            if !open.is_empty() {
                out += &format!("</{open}>\n");
            }
            out += match wanted {
                "table" => "<table>\n",
                "div" => "<div class=\"plots\">\n",
                _ => "",
            };
            open = wanted;
        }
        row_of(row, &mut out);
    }
    if !open.is_empty() {
        out += &format!("</{open}>\n");
    }
    out + "</main>\n</html>\n"
}

fn row_of(row: &Row, out: &mut String) {
    match row {
        Row::Title(text) => *out += &format!("<h2>{}</h2>\n", escape(text)),
        Row::Fact { name, text } => {
            *out += &format!(
                "<tr><th>{}<td colspan=\"4\" class=\"fact\">{}\n",
                indented(name),
                escape(text)
            );
        }
        Row::Figure { name, value, unit, bar } => {
            let (class, judged) = bar.as_ref().map_or(("", String::new()), |bar| {
                let (class, met) = if bar.met { ("met", "met") } else { ("missed", "NOT MET") };
                (class, format!("{} / {met}", escape(&bar.shown(unit))))
            });
            *out += &format!(
                "<tr><th>{}<td class=\"value\">{}<td>{}<td class=\"{class}\">{judged}<td class=\"rest\">\n",
                indented(name),
                shown(*value),
                escape(unit)
            );
        }
        Row::Plot(plot) => *out += &plot.figure(),
    }
}

/// A name that begins with blanks is a part of the figure above.
fn indented(name: &str) -> String {
    let text = name.trim_start();
    let blanks = name.len() - text.len();
    "&emsp;".repeat(blanks / 2) + &escape(text)
}

const STYLE: &str = "
:root { color-scheme: light dark; --ground: #fcfcfb; --ink: #1d1f21; --quiet: #63686e; --grid: #dfe1e3;
  --good: #1a6e2e; --bad: #b3261e; --line0: #0b5fa5; --line1: #b45309; --line2: #6d3fa0; --line3: #0f766e; }
@media (prefers-color-scheme: dark) { :root { --ground: #16181a; --ink: #e6e7e8; --quiet: #9ba1a7; --grid: #33373b;
  --good: #6fcf85; --bad: #ff8a80; --line0: #6cb6ff; --line1: #f0a657; --line2: #c4a0f0; --line3: #5fd0c2; } }
body { background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; margin: 0; }
main { max-width: 1340px; margin: 0 auto; padding: 1rem 1.2rem 3rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: 400; text-align: left; white-space: nowrap; padding: .12rem 1.2rem .12rem 0; }
td { padding: .12rem .6rem .12rem 0; }
tr { border-bottom: 1px solid var(--grid); }
.value { text-align: right; min-width: 6rem; font-weight: 600; }
td { white-space: nowrap; } .rest { width: 100%; } td.fact { white-space: normal; }
.fact { color: var(--quiet); }
.met { color: var(--good); } .missed { color: var(--bad); font-weight: 700; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; margin-top: 1rem; }
figure { margin: 0; flex: 1 1 480px; max-width: 660px; }
figcaption { font-weight: 600; margin-bottom: .3rem; }
svg { width: 100%; height: auto; }
svg text { fill: var(--quiet); font-size: 12px; }
.grid { stroke: var(--grid); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.line0 { stroke: var(--line0); } .line1 { stroke: var(--line1); } .line2 { stroke: var(--line2); }
.line3 { stroke: var(--line3); }
.legend { margin: .1rem 0 0; } .legend span { margin-right: 1.2rem; font-weight: 600; }
.key0 { color: var(--line0); } .key1 { color: var(--line1); } .key2 { color: var(--line2); }
.key3 { color: var(--line3); }
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Line, Plot, Scale};
    use crate::report::Good;

    #[test]
    fn a_page_has_every_row_and_asks_for_nothing() {
        let mut report = Report::new();
        report.title("load: <b> & c");
        report.fact("failed", "answered \"503\" <script>");
        report.bar("first byte p99", 19.25, "ms", Good::AtMost, 20.0);
        report.bar("  latency", f64::NAN, "ms", Good::AtMost, 40.0);
        report.plot(Plot {
            title: "delivered".into(),
            scale: Scale::Seconds,
            unit: "Gb/s",
            lines: vec![Line {
                name: "viewers".into(),
                points: vec![(0.0, 1.0), (0.5, 2.0)],
            }],
        });
        report.figure("after", 3.0, "");
        let page = html(&report);
        for part in [
            "<title>load: &lt;b&gt; &amp; c</title>",
            "answered &quot;503&quot; &lt;script&gt;",
            ">19.25<td>ms<td class=\"met\">&lt;= 20 ms / met",
            "&emsp;latency<td class=\"value\">not measured<td>ms<td class=\"missed\">&lt;= 40 ms / NOT MET",
            "<polyline",
            "prefers-color-scheme: dark",
        ] {
            assert!(page.contains(part), "{part} in\n{page}");
        }
        for foreign in ["<script", "http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign} in\n{page}");
        }
        assert_eq!(page.matches("<table>").count(), page.matches("</table>").count());
        assert_eq!((page.matches("<table>").count(), page.matches("<div").count()), (2, 1));
    }
}
