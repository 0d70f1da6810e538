//! A chart of a bench: one bar per row, rows of one kind under one heading, with one scale.

use std::fmt::Write as _;

use crate::report::{Report, Row, Who, figure};

const WIDTH: f64 = 760.0;
/// Where bars begin, after the names, and how long the longest is.
const LEFT: f64 = 110.0;
const LENGTH: f64 = 430.0;
const BAR: f64 = 18.0;
const HEADING: f64 = 34.0;
/// Rows that differ by more than this cannot be told apart on a linear scale.
const LINEAR_MAX: f64 = 40.0;

/// The chart, as SVG.
pub(crate) fn chart(title: &str, report: &Report) -> String {
    let mut body = String::new();
    let mut y = 30.0;
    let kinds = report.rows.chunk_by(|one, next| one.what == next.what && one.unit == next.unit);
    for rows in kinds {
        let scale = Scale::of(rows);
        let note = if scale.logarithmic { ", logarithmic" } else { "" };
        y += HEADING;
        let heading = format!("{}, {}{note}", rows[0].what, rows[0].unit);
        line(&mut body, 10.0, y - 10.0, "600", &heading);
        for row in rows {
            bar(&mut body, y, &scale, row);
            y += BAR + 6.0;
        }
    }
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{0}\" \
         viewBox=\"0 0 {WIDTH} {0}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
        y + 20.0
    );
    line(&mut svg, 10.0, 24.0, "bold", title);
    svg + &body + "</svg>\n"
}

struct Scale {
    least: f64,
    most: f64,
    logarithmic: bool,
}

impl Scale {
    fn of(rows: &[Row]) -> Scale {
        let medians = || rows.iter().map(|row| row.samples.median());
        let most = rows.iter().map(|row| row.samples.percentile(99)).fold(0.0, f64::max);
        let least = medians().fold(f64::INFINITY, f64::min);
        Scale { least, most, logarithmic: least > 0.0 && most / least > LINEAR_MAX }
    }

    fn length(&self, number: f64) -> f64 {
        if number <= 0.0 || self.most <= 0.0 {
            return 0.0;
        }
        let share = if self.logarithmic {
            // The least is a tenth of a decade long, so that it can be seen.
            let decades = |n: f64| (n / self.least).log10() + 0.1;
            decades(number) / decades(self.most)
        } else {
            number / self.most
        };
        LENGTH * share
    }
}

fn bar(svg: &mut String, y: f64, scale: &Scale, row: &Row) {
    let colour = match row.who {
        Who::Ours => "#2563eb",
        Who::Peer => "#d97706",
        Who::Floor => "#9ca3af",
    };
    let (median, high) = (row.samples.median(), row.samples.percentile(99));
    line(svg, 10.0, y + 13.0, "400", row.who.name());
    let (length, reach) = (scale.length(median), scale.length(high));
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
         <path d=\"M{:.1} {:.1}H{:.1}\" stroke=\"#111\"/>",
        LEFT + length,
        y + BAR / 2.0,
        LEFT + reach
    );
    let label = format!("{} (p99 {})", figure(median), figure(high));
    line(svg, LEFT + reach + 8.0, y + 13.0, "400", &label);
}

fn line(svg: &mut String, x: f64, y: f64, weight: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"{weight}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_bar_and_text_is_text() {
        let mut report = Report::default();
        report.row(Who::Ours, "a < b", "ms", vec![1.0, 2.0]);
        report.row(Who::Peer, "a < b", "ms", vec![1000.0]);
        let svg = chart("title", &report);
        assert_eq!(svg.matches("<path ").count(), 2);
        assert!(svg.contains("a &lt; b, ms, logarithmic"));
    }
}
