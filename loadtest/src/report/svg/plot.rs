//! A plot: two axes, layers over them, what a pointer shows, and the strip beneath that tells how the tester itself did.

use super::scale::Scale;
use super::sheet::{Hold, Sheet, at};
use super::strip::Strip;
use super::unit;
use std::fmt::Write as _;

/// How values of an axis are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Time,
    /// Seconds since the start of a run.
    Clock,
    /// Things.
    Count,
    /// Shares of one.
    Percent,
    /// Bytes.
    Bytes,
    /// 1 / (1 - quantile), so that each nine has the same room.
    Percentile,
}

impl Unit {
    /// A value in it.
    pub fn write(self, value: f64) -> String {
        match self {
            Self::Time => unit::time(value),
            Self::Clock => unit::clock(value),
            Self::Count => unit::count(value),
            Self::Percent => unit::percent(value),
            Self::Bytes => unit::bytes(value),
            Self::Percentile => percentile(value),
        }
    }
}

/// `50 %`, `99.9 %` from 1 / (1 - quantile).
fn percentile(value: f64) -> String {
    let percent = 100.0 - 100.0 / value;
    let text = format!("{percent:.6}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with its unit where the ticks do not carry one.
    pub title: String,
    /// Its scale.
    pub scale: Scale,
    /// How its ticks are written.
    pub unit: Unit,
}

impl Axis {
    fn ticks(&self, about: usize) -> Vec<f64> {
        match self.unit {
            Unit::Clock => self.scale.clock_ticks(about),
            Unit::Percentile => percentile_ticks(self.scale, about),
            Unit::Bytes => byte_ticks(self.scale, about),
            _ => self.scale.ticks(about),
        }
    }

    /// The title, marked where equal steps are not equal differences.
    fn heading(&self) -> String {
        let marked = self.scale.is_log() && self.unit != Unit::Percentile;
        if marked { format!("{} (log scale)", self.title) } else { self.title.clone() }
    }
}

/// Round values of the binary unit that the largest one is written in.
fn byte_ticks(scale: Scale, about: usize) -> Vec<f64> {
    let Scale::Linear { low, high } = scale else { return scale.ticks(about) };
    let unit = unit::byte_unit(high);
    let ticks = Scale::Linear { low: low / unit, high: high / unit }.ticks(about);
    ticks.into_iter().map(|tick| tick * unit).collect()
}

fn percentile_ticks(scale: Scale, about: usize) -> Vec<f64> {
    let Scale::Log { high, .. } = scale else { return Vec::new() };
    let few = about < 6;
    let first = if few { [1.0, 2.0, 10.0].as_slice() } else { [1.0, 2.0, 4.0, 10.0, 20.0].as_slice() };
    let nines = (2..=9).map(|power| 10f64.powi(power));
    first.iter().copied().chain(nines).filter(|tick| *tick <= high * 1.001).collect()
}

/// One way of showing values.
#[derive(Clone, Debug)]
pub enum Form {
    /// A line; it breaks where a value is not a number.
    Line(Vec<(f64, f64)>),
    /// A thin dotted line: there, but not to be relied on.
    Faint(Vec<(f64, f64)>),
    /// The area between two values at each place.
    Area(Vec<(f64, f64, f64)>),
    /// The same, pale: an interval around a line.
    Band(Vec<(f64, f64, f64)>),
}

/// What belongs to one name in the legend.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The name.
    pub name: String,
    /// Which of the eight colours and dashes.
    pub tone: usize,
    /// What is drawn.
    pub forms: Vec<Form>,
}

/// What a pointer shows between two places of the horizontal axis.
#[derive(Clone, Debug)]
pub struct Hint {
    /// Where it begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// The words.
    pub text: String,
}

/// A part of the horizontal axis that is set apart, such as the warm-up.
#[derive(Clone, Debug)]
pub struct Shade {
    /// Where it begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// Why.
    pub text: String,
}

/// A whole plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it shows, short.
    pub title: String,
    /// The same in a sentence with the main figures, for those who do not see it.
    pub about: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn, the first at the bottom.
    pub layers: Vec<Layer>,
    /// Horizontal lines with a name, such as an objective.
    pub rules: Vec<(f64, String)>,
    /// Parts set apart.
    pub shades: Vec<Shade>,
    /// What a pointer shows.
    pub hints: Vec<Hint>,
    /// The tester's own health, if known.
    pub strip: Option<Strip>,
}

/// How large a plot is, and whether it stands alone.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Pixels across.
    pub width: f64,
    /// Pixels of the plotting area from top to bottom.
    pub height: f64,
    /// Title and legend are part of the drawing.
    pub alone: bool,
    /// Hints are part of the drawing.
    pub hints: bool,
}

/// The plotting area.
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Area {
    pub(super) fn right(&self) -> f64 {
        self.left + self.width
    }

    fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
/// Pixels of a letter of a tick, about.
const LETTER: f64 = 6.2;
const BELOW_AXIS: f64 = 40.0;

impl Plot {
    /// The drawing.
    pub fn draw(&self, look: &Look) -> Sheet {
        let legend = if look.alone { self.legend_rows(look.width) } else { Vec::new() };
        let head = if look.alone { 26.0 + 18.0 * legend.len() as f64 } else { 0.0 };
        let area = Area { left: LEFT, top: head + 24.0, width: look.width - LEFT - RIGHT, height: look.height };
        let strip_height = self.strip.as_ref().map_or(0.0, |strip| strip.height(self.x.unit == Unit::Clock));
        let mut sheet = Sheet::new(look.width, area.bottom() + BELOW_AXIS + strip_height);
        if look.alone {
            sheet.text("title", (8.0, 17.0), Hold::Start, &self.title);
            draw_legend(&mut sheet, &legend);
        }
        self.draw_shades(&mut sheet, &area);
        self.draw_axes(&mut sheet, &area);
        self.draw_rules(&mut sheet, &area);
        for (number, layer) in self.layers.iter().enumerate() {
            sheet.open(number);
            for form in &layer.forms {
                self.draw_form(&mut sheet, &area, layer.tone % 8, form);
            }
            sheet.close();
        }
        self.draw_names(&mut sheet, &area);
        if look.hints {
            self.draw_hints(&mut sheet, &area);
        }
        if let Some(strip) = &self.strip {
            let scale = (self.x.unit == Unit::Clock).then_some(self.x.scale);
            strip.draw(&mut sheet, &area, area.bottom() + BELOW_AXIS, scale, look.hints);
        }
        sheet
    }

    fn point(&self, area: &Area, x: f64, y: f64) -> (f64, f64) {
        (area.left + self.x.scale.place(x) * area.width, area.bottom() - self.y.scale.place(y) * area.height)
    }

    fn draw_axes(&self, sheet: &mut Sheet, area: &Area) {
        sheet.text("axis-title", (8.0, area.top - 10.0), Hold::Start, &self.y.heading());
        let about = ((area.height / 45.0) as usize).clamp(2, 8);
        for tick in self.y.ticks(about) {
            let (_, y) = self.point(area, 0.0, tick);
            sheet.line("grid", (area.left, y), (area.right(), y));
            sheet.text("tick", (area.left - 7.0, y + 4.0), Hold::End, &self.y.unit.write(tick));
        }
        let about = ((area.width / 90.0) as usize).clamp(2, 12);
        let mut taken = f64::NEG_INFINITY;
        for tick in self.x.ticks(about) {
            let (x, _) = self.point(area, tick, 0.0);
            sheet.line("grid", (x, area.top), (x, area.bottom() + 4.0));
            let words = self.x.unit.write(tick);
            let half = LETTER * words.chars().count() as f64 / 2.0;
            // Words that would run into those before them are left out; the line stays.
            if x - half > taken {
                sheet.text("tick", (x, area.bottom() + 17.0), Hold::Middle, &words);
                taken = x + half + LETTER;
            }
        }
        let middle = (area.left + area.right()) / 2.0;
        sheet.text("axis-title", (middle, area.bottom() + 33.0), Hold::Middle, &self.x.heading());
        sheet.line("axis", (area.left, area.bottom()), (area.right(), area.bottom()));
        sheet.line("axis", (area.left, area.top), (area.left, area.bottom()));
        if let Scale::Linear { low, .. } = self.y.scale
            && low < 0.0
        {
            let (_, y) = self.point(area, 0.0, 0.0);
            sheet.line("axis", (area.left, y), (area.right(), y));
        }
    }

    fn draw_shades(&self, sheet: &mut Sheet, area: &Area) {
        for shade in &self.shades {
            let (from, _) = self.point(area, shade.from, 0.0);
            let (to, _) = self.point(area, shade.to, 0.0);
            sheet.rect("shade", (from, area.top), (to - from, area.height), None);
        }
    }

    fn draw_rules(&self, sheet: &mut Sheet, area: &Area) {
        for (value, _) in &self.rules {
            let (_, y) = self.point(area, 0.0, *value);
            sheet.line("rule", (area.left, y), (area.right(), y));
        }
    }

    /// Names of rules and shades, over the lines that may cross them.
    fn draw_names(&self, sheet: &mut Sheet, area: &Area) {
        for (value, name) in &self.rules {
            let (_, y) = self.point(area, 0.0, *value);
            sheet.text("note", (area.right() - 4.0, y - 4.0), Hold::End, name);
        }
        for shade in &self.shades {
            let (from, _) = self.point(area, shade.from, 0.0);
            let (to, _) = self.point(area, shade.to, 0.0);
            if to - from > 6.0 * shade.text.len() as f64 {
                sheet.text("note", (from + 4.0, area.top + 12.0), Hold::Start, &shade.text);
            }
        }
    }

    fn draw_form(&self, sheet: &mut Sheet, area: &Area, tone: usize, form: &Form) {
        match form {
            Form::Line(points) => self.draw_line(sheet, area, &format!("s s{tone}"), Some(tone), points),
            Form::Faint(points) => self.draw_line(sheet, area, &format!("s s{tone} faint"), None, points),
            Form::Area(points) => self.draw_area(sheet, area, &format!("f{tone}"), points),
            Form::Band(points) => self.draw_area(sheet, area, &format!("f{tone} band"), points),
        }
    }

    /// A line, broken where there is no value; a value alone between two breaks is a dot.
    fn draw_line(&self, sheet: &mut Sheet, area: &Area, class: &str, dots: Option<usize>, points: &[(f64, f64)]) {
        let mut path = String::new();
        for piece in points.split(|(_, y)| !y.is_finite()).filter(|piece| !piece.is_empty()) {
            if let ([(x, y)], Some(tone)) = (piece, dots) {
                sheet.dot(&format!("f{tone}"), self.point(area, *x, *y), 2.0);
                continue;
            }
            for (place, (x, y)) in piece.iter().enumerate() {
                let (x, y) = self.point(area, *x, *y);
                let _ = write!(path, "{}{} {}", if place == 0 { "M" } else { "L" }, at(x), at(y));
            }
        }
        if !path.is_empty() {
            sheet.path(class, &path);
        }
    }

    fn draw_area(&self, sheet: &mut Sheet, area: &Area, class: &str, points: &[(f64, f64, f64)]) {
        for piece in points.split(|(_, low, high)| !(low.is_finite() && high.is_finite())) {
            let mut path = String::new();
            let there = piece.iter().map(|(x, _, high)| (*x, *high));
            let back = piece.iter().rev().map(|(x, low, _)| (*x, *low));
            for (place, (x, y)) in there.chain(back).enumerate() {
                let (x, y) = self.point(area, x, y);
                let _ = write!(path, "{}{} {}", if place == 0 { "M" } else { "L" }, at(x), at(y));
            }
            if !path.is_empty() {
                path.push('Z');
                sheet.path(class, &path);
            }
        }
    }

    fn draw_hints(&self, sheet: &mut Sheet, area: &Area) {
        for hint in &self.hints {
            let (from, _) = self.point(area, hint.from, 0.0);
            let (to, _) = self.point(area, hint.to, 0.0);
            sheet.rect("hit", (from, area.top), (to - from, area.height), Some(&hint.text));
        }
    }

    /// The legend in rows that fit: where each name begins, its colour and the name.
    fn legend_rows(&self, width: f64) -> Vec<Vec<(f64, usize, bool, &str)>> {
        let mut rows: Vec<Vec<_>> = vec![Vec::new()];
        let mut place = 10.0;
        for layer in &self.layers {
            let needed = 34.0 + 6.4 * layer.name.chars().count() as f64;
            if place + needed > width && rows.last().is_some_and(|row| !row.is_empty()) {
                rows.push(Vec::new());
                place = 10.0;
            }
            let filled = layer.is_filled();
            if let Some(row) = rows.last_mut() {
                row.push((place, layer.tone % 8, filled, layer.name.as_str()));
            }
            place += needed;
        }
        rows
    }
}

impl Layer {
    /// Whether it is an area rather than a line.
    pub fn is_filled(&self) -> bool {
        self.forms.iter().all(|form| matches!(form, Form::Area(_)))
    }
}

fn draw_legend(sheet: &mut Sheet, rows: &[Vec<(f64, usize, bool, &str)>]) {
    for (row, names) in rows.iter().enumerate() {
        let y = 36.0 + 18.0 * row as f64;
        for (x, tone, filled, name) in names {
            if *filled {
                sheet.rect(&format!("f{tone}"), (*x, y - 9.0), (16.0, 9.0), None);
            } else {
                sheet.line(&format!("s s{tone}"), (*x, y - 4.0), (x + 20.0, y - 4.0));
            }
            sheet.text("label", (x + 25.0, y), Hold::Start, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> Plot {
        Plot {
            title: "A <b> plot".into(),
            about: "one line".into(),
            x: Axis { title: "time".into(), scale: Scale::exact(0.0, 10.0), unit: Unit::Clock },
            y: Axis { title: "latency".into(), scale: Scale::log(1e3, 1e6), unit: Unit::Time },
            layers: vec![Layer { name: "p99".into(), tone: 1, forms: vec![Form::Line(points)] }],
            rules: vec![(5e3, "objective".into())],
            shades: vec![Shade { from: 0.0, to: 5.0, text: "warm-up".into() }],
            hints: vec![Hint { from: 0.0, to: 1.0, text: "first".into() }],
            strip: None,
        }
    }

    const ALONE: Look = Look { width: 400.0, height: 100.0, alone: true, hints: true };

    #[test]
    fn lines_break_where_there_is_no_value() {
        let broken =
            plot(vec![(0.0, 1e3), (1.0, 2e3), (2.0, f64::NAN), (3.0, 4e3), (4.0, f64::NAN), (5.0, 1e4), (6.0, 1e5)]);
        let text = broken.draw(&ALONE).document("");
        let path = text.split("class=\"s s1\" d=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a path");
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert!(text.contains("<circle class=\"f1\""), "the lone value is a dot");
    }

    #[test]
    fn a_log_axis_says_so_and_words_are_escaped() {
        let text = plot(vec![(0.0, 1e3)]).draw(&ALONE).document("");
        assert!(text.contains("latency (log scale)") && text.contains("A &lt;b&gt; plot"));
        assert!(text.contains("<title>first</title>") && text.contains(">warm-up<") && text.contains(">objective<"));
        let quiet = plot(vec![]).draw(&Look { alone: false, hints: false, ..ALONE }).document("");
        assert!(!quiet.contains("<title>") && !quiet.contains("A &lt;b&gt;"));
    }

    #[test]
    fn percentiles_have_their_nines() {
        assert_eq!(
            [1.0, 2.0, 4.0, 10.0, 1000.0, 1e5].map(percentile),
            ["0 %", "50 %", "75 %", "90 %", "99.9 %", "99.999 %"]
        );
    }
}
