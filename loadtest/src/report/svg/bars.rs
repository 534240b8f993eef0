//! Outcomes as bars: how many requests ended how. Where one kind dwarfs the rest, each bar still shows its figure.

use super::sheet::{Hold, Sheet};
use super::unit;

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it counts.
    pub name: String,
    /// How many.
    pub count: u64,
    /// Which of the colours.
    pub tone: usize,
}

const ROW: f64 = 24.0;
const NAME: f64 = 112.0;
const FIGURE: f64 = 132.0;

/// Horizontal bars from zero, the longest as wide as there is room, with count and share at their ends.
pub fn bars(bars: &[Bar], width: f64) -> Sheet {
    let total: u64 = bars.iter().map(|bar| bar.count).sum();
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
    let room = (width - NAME - FIGURE).max(20.0);
    let mut sheet = Sheet::new(width, ROW * bars.len() as f64 + 8.0);
    for (row, bar) in bars.iter().enumerate() {
        let y = 4.0 + ROW * row as f64;
        // What happened at all is at least a hair, and never as long as more of another kind.
        let length = room * bar.count as f64 / most as f64;
        let length = if bar.count > 0 { length.max(1.5) } else { 0.0 };
        sheet.text("label", (NAME - 8.0, y + 16.0), Hold::End, &bar.name);
        sheet.rect(&format!("f{}", bar.tone % 8), (NAME, y + 4.0), (length, ROW - 8.0), None);
        let share = bar.count as f64 / total.max(1) as f64;
        let figure = format!("{} ({})", unit::whole(bar.count), unit::percent(share));
        sheet.text("label", (NAME + length + 6.0, y + 16.0), Hold::Start, &figure);
    }
    sheet.line("axis", (NAME, 2.0), (NAME, ROW * bars.len() as f64 + 6.0));
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_kinds_stay_visible_and_bars_are_true() {
        let given = [("ok", 1_000_000), ("timeout", 1), ("closed", 500_000)];
        let given = given.map(|(name, count)| Bar { name: name.into(), count, tone: 0 });
        let text = bars(&given, 444.0).document("");
        for width in [r#"width="200""#, r#"width="1.5""#, r#"width="100""#] {
            assert!(text.contains(width), "{width} in {text}");
        }
        assert!(text.contains("1 (0.0001 %)"), "{text}");
    }
}
