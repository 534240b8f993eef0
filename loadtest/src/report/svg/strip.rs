//! The strip under a plot: second by second, whether the tester itself kept up. What happened under a red cell may be the
//! tester's fault, not the target's.

use super::plot::Area;
use super::scale::Scale;
use super::sheet::{Hold, Sheet};
use super::unit;
use crate::measure::stamp::limits;

/// How fit the tester was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Its own delay does not matter beside what it measured.
    Fine,
    /// It can be seen in the figures.
    Watch,
    /// The figures show the tester.
    Bad,
}

impl Level {
    /// Judges the 99th percentile of the tester's lateness beside the median time to first token, both nanoseconds.
    pub fn of_late(late: f64, typical: f64) -> Self {
        match late {
            _ if !late.is_finite() || late <= limits::LATE_HEALTHY_NS => Self::Fine,
            _ if late > limits::LATE_SHARE_INVALID * typical => Self::Bad,
            _ if late > limits::LATE_SHARE_DEGRADED * typical => Self::Watch,
            _ => Self::Fine,
        }
    }

    /// Judges the share of their time that the tester's threads worked.
    pub fn of_cpu(share: f64) -> Self {
        match share {
            _ if share > limits::CPU_SHARE_INVALID => Self::Bad,
            _ if share > limits::CPU_SHARE_DEGRADED => Self::Watch,
            _ => Self::Fine,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Watch => "watch",
            Self::Bad => "bad",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Fine => "h-fine",
            Self::Watch => "h-watch",
            Self::Bad => "h-bad",
        }
    }

    /// How much of its row a cell fills: the worse, the taller, so that colour is not the only sign.
    fn fill(self) -> f64 {
        match self {
            Self::Fine => 0.45,
            Self::Watch => 0.75,
            Self::Bad => 1.0,
        }
    }
}

/// How the tester did for a while.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Begin, seconds from the run's start.
    pub from: f64,
    /// End, seconds.
    pub to: f64,
    /// The 99th percentile of its lateness, nanoseconds; not a number where nothing was due.
    pub late: f64,
    /// The share of their time that its threads worked.
    pub cpu: f64,
    /// What the lateness means.
    pub late_level: Level,
    /// What the share means.
    pub cpu_level: Level,
}

/// The whole strip.
#[derive(Clone, Debug, Default)]
pub struct Strip {
    /// In order of time.
    pub cells: Vec<Cell>,
}

const ROW: f64 = 11.0;
const ROW_GAP: f64 = 4.0;

impl Strip {
    /// The worst of its cells; fine where it has none.
    pub fn worst(&self) -> Level {
        let levels = self.cells.iter().map(|cell| cell.late_level.max(cell.cpu_level));
        levels.max().unwrap_or(Level::Fine)
    }

    pub(super) fn height(&self, shares_axis: bool) -> f64 {
        2.0 * ROW + 2.0 * ROW_GAP + if shares_axis { 6.0 } else { 20.0 }
    }

    /// Draws it under `area` from `top` on, on the plot's own clock or, without one, on the run's.
    pub(super) fn draw(&self, sheet: &mut Sheet, area: &Area, top: f64, clock: Option<Scale>, hints: bool) {
        let end = self.cells.last().map_or(1.0, |cell| cell.to);
        let scale = clock.unwrap_or(Scale::exact(0.0, end));
        let place = |second: f64| area.left + scale.place(second) * area.width;
        for (row, name) in ["late p99", "CPU"].into_iter().enumerate() {
            let y = top + row as f64 * (ROW + ROW_GAP);
            sheet.text("note", (area.left - 7.0, y + 9.0), Hold::End, name);
            sheet.rect("h-back", (area.left, y), (area.width, ROW), None);
            for cell in &self.cells {
                let level = if row == 0 { cell.late_level } else { cell.cpu_level };
                let (from, to) = (place(cell.from), place(cell.to));
                // A hair of room between cells, where they are wide enough for it.
                let gap = if to - from > 4.0 { 1.0 } else { 0.0 };
                let height = ROW * level.fill();
                sheet.rect(level.class(), (from, y + ROW - height), (to - from - gap, height), None);
            }
        }
        let rows = 2.0 * ROW + ROW_GAP;
        if clock.is_none() {
            sheet.text("note", (area.left, top + rows + 13.0), Hold::Start, "tester, at the run's start");
            sheet.text("note", (area.right(), top + rows + 13.0), Hold::End, &format!("{} later", unit::clock(end)));
        }
        if hints {
            for cell in &self.cells {
                let (from, to) = (place(cell.from), place(cell.to));
                sheet.rect("hit", (from, top), (to - from, rows), Some(&cell.hint()));
            }
        }
    }
}

impl Cell {
    fn hint(&self) -> String {
        format!(
            "tester at {}: late p99 {} ({}), CPU {} ({})",
            unit::clock(self.from),
            unit::time(self.late),
            self.late_level.name(),
            unit::percent(self.cpu),
            self.cpu_level.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_judged_beside_what_was_measured() {
        assert_eq!(Level::of_late(90e3, 1e3), Level::Fine, "the timer's own noise");
        assert_eq!(Level::of_late(400e3, 20e6), Level::Fine);
        assert_eq!(Level::of_late(2e6, 20e6), Level::Watch);
        assert_eq!(Level::of_late(6e6, 20e6), Level::Bad);
        assert_eq!(Level::of_late(f64::NAN, 20e6), Level::Fine, "nothing was due");
        assert_eq!([0.5, 0.9, 0.99].map(Level::of_cpu), [Level::Fine, Level::Watch, Level::Bad]);
    }

    #[test]
    fn the_worse_the_taller() {
        let cell = |level| Cell { from: 0.0, to: 1.0, late: 1.0, cpu: 0.1, late_level: level, cpu_level: Level::Fine };
        let strip = Strip { cells: vec![cell(Level::Fine), cell(Level::Bad), cell(Level::Watch)] };
        assert_eq!(strip.worst(), Level::Bad);
        let mut sheet = Sheet::new(100.0, 50.0);
        let area = Area { left: 10.0, top: 0.0, width: 80.0, height: 10.0 };
        strip.draw(&mut sheet, &area, 20.0, None, true);
        let text = sheet.document("");
        let height = |class: &str| {
            let rest = text.split(&format!("class=\"{class}\"")).nth(1).expect(class);
            rest.split("height=\"").nth(1).and_then(|rest| rest.split('"').next()).expect(class).to_owned()
        };
        assert_eq!([height("h-bad"), height("h-watch"), height("h-fine")], ["11", "8.2", "5"]);
        assert!(text.contains("late p99 1 ns (bad), CPU 10 % (fine)"));
    }
}
