//! Bars as SVG: one group for each situation, one bar for each party, in two parts that stand on each other.

use std::fmt::Write as _;

/// Colours that also those can tell apart who see few of them (Okabe and Ito).
const TONES: [&str; 4] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7"];
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
/// Room for the scale, the legend, and the names of groups.
const LEFT: f64 = 64.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 48.0;

/// A chart.
pub(crate) struct Chart {
    /// What it shows, with the unit.
    pub(crate) title: String,
    /// What the lower, full part of a bar is, and the upper, pale one; empty where there is one part.
    pub(crate) parts: [&'static str; 2],
    /// Names of the groups.
    pub(crate) groups: Vec<String>,
    /// Name of each party, and its bar in each group.
    pub(crate) series: Vec<(String, Vec<Option<[f64; 2]>>)>,
}

impl Chart {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let highest =
            self.series.iter().flat_map(|(_, bars)| bars).flatten().map(|bar| bar[0] + bar[1]).fold(0.0, f64::max);
        let step = step(highest);
        let most = (highest / step).ceil().max(1.0) * step;
        let scale = (HEIGHT - TOP - BOTTOM) / most;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
             <text x=\"{LEFT}\" y=\"26\" font-size=\"16\">{}</text>\n",
            escaped(&self.title)
        );
        self.legend(&mut out);
        let mut at = 0.0;
        while at <= most + step / 2.0 {
            let y = HEIGHT - BOTTOM - at * scale;
            let _ = writeln!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#d0d0d0\"/>\
                 <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - 16.0,
                LEFT - 8.0,
                y + 4.0,
                figure(at)
            );
            at += step;
        }
        self.bars(&mut out, scale);
        out.push_str("</svg>\n");
        out
    }

    fn legend(&self, out: &mut String) {
        let mut x = LEFT;
        for (number, (name, _)) in self.series.iter().enumerate() {
            let _ = writeln!(
                out,
                "<rect x=\"{x:.0}\" y=\"40\" width=\"12\" height=\"12\" fill=\"{}\"/><text x=\"{:.0}\" y=\"51\">{}</text>",
                TONES[number % TONES.len()],
                x + 17.0,
                escaped(name)
            );
            x += 34.0 + 8.0 * name.len() as f64;
        }
        if !self.parts[1].is_empty() {
            let _ = writeln!(
                out,
                "<text x=\"{LEFT}\" y=\"70\" fill=\"#555555\">full: {}, pale: {}</text>",
                self.parts[0], self.parts[1]
            );
        }
    }

    fn bars(&self, out: &mut String, scale: f64) {
        let ground = HEIGHT - BOTTOM;
        let room = (WIDTH - 16.0 - LEFT) / self.groups.len().max(1) as f64;
        let width = (room * 0.84 / self.series.len().max(1) as f64).min(70.0);
        for (group, name) in self.groups.iter().enumerate() {
            let middle = LEFT + room * (group as f64 + 0.5);
            let _ = writeln!(
                out,
                "<text x=\"{middle:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
                ground + 20.0,
                escaped(name)
            );
            let mut x = middle - width * self.series.len() as f64 / 2.0;
            for (number, (_, bars)) in self.series.iter().enumerate() {
                if let Some([lower, upper]) = bars.get(group).copied().flatten() {
                    let tone = TONES[number % TONES.len()];
                    let (low, high) = (lower * scale, upper * scale);
                    let _ = writeln!(
                        out,
                        "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{low:.1}\" fill=\"{tone}\"/>\
                         <rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{high:.1}\" fill=\"{tone}\" fill-opacity=\"0.4\"/>\
                         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\">{}</text>",
                        ground - low,
                        width - 3.0,
                        ground - low - high,
                        width - 3.0,
                        x + width / 2.0 - 1.5,
                        ground - low - high - 4.0,
                        figure(lower + upper)
                    );
                }
                x += width;
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, so that there are four to ten lines.
fn step(highest: f64) -> f64 {
    let rough = (highest / 5.0).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= rough * 0.999);
    times.unwrap_or(10.0) * power
}

/// A number with as many digits as can be told apart.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 || size == 0.0 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_is_drawn_and_nothing_where_there_is_none() {
        let chart = Chart {
            title: "a < b".to_owned(),
            parts: ["user", "system"],
            groups: vec!["1".to_owned(), "8".to_owned()],
            series: vec![
                ("nginx".to_owned(), vec![Some([7.0, 18.0]), Some([5.0, 10.0])]),
                ("igris".to_owned(), vec![Some([4.0, 16.0]), None]),
            ],
        };
        let svg = chart.svg();
        assert_eq!(svg.matches("fill-opacity").count(), 3);
        assert!(svg.contains("a &lt; b") && svg.contains(">25.0<") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn nothing_measured_is_an_empty_chart() {
        let svg = Chart { title: String::new(), parts: ["", ""], groups: Vec::new(), series: Vec::new() }.svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn scales_have_round_steps() {
        assert_eq!([step(25.0), step(47.0), step(1_330.0), step(0.9)], [5.0, 10.0, 500.0, 0.2]);
        assert_eq!([figure(0.5), figure(12.34), figure(1_330.4)], ["0.50", "12.3", "1330"]);
    }
}
