//! The view as a screen: what fits, the most important first. Pure but for the frame it draws on.

use super::Board;
use super::board::LATELY;
use crate::measure::Outcome;
use crate::report::svg::{Level, unit};
use hdrhistogram::Histogram;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Chart, Dataset, Gauge, GraphType, Paragraph, Sparkline};
use std::time::Duration;

/// Columns from which there is room for all percentiles.
const WIDE: u16 = 72;
/// Rows that a chart needs to say something.
const CHART_ROWS_MIN: u16 = 6;

const PALE: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws the board as it is so long after the run's start.
pub fn draw(frame: &mut Frame<'_>, board: &Board, elapsed: Duration, stopping: bool) {
    let area = frame.area();
    let wide = area.width >= WIDE;
    let rates = rates(board, wide);
    let table = table(board, wide);
    let outcomes = outcomes(board, usize::from(area.width));
    let own = own(board, wide);
    let heights = [1, 1, rates.len(), table.len(), outcomes.len(), own.len()].map(|rows| rows as u16);
    let used: u16 = heights.iter().sum::<u16>() + 1;
    // What is left is the chart's; a small one is a single row, and on a tiny screen there is none.
    let left = area.height.saturating_sub(used);
    let [title, gauge, rate_rows, table_rows, outcome_rows, own_rows] = heights.map(Constraint::Length);
    let rows =
        [title, gauge, rate_rows, table_rows, outcome_rows, own_rows, Constraint::Length(left), Constraint::Length(1)];
    let [title, gauge, rate_rows, table_rows, outcome_rows, own_rows, chart_rows, foot] =
        Layout::vertical(rows).areas(area);
    frame.render_widget(heading(board, stopping), title);
    draw_progress(frame, gauge, board, elapsed);
    frame.render_widget(Paragraph::new(rates), rate_rows);
    frame.render_widget(Paragraph::new(table), table_rows);
    frame.render_widget(Paragraph::new(outcomes), outcome_rows);
    frame.render_widget(Paragraph::new(own), own_rows);
    if left >= CHART_ROWS_MIN {
        draw_chart(frame, chart_rows, board);
    } else if left > 0 {
        draw_sparkline(frame, chart_rows, board);
    }
    let keys = if stopping && !wide {
        "stopping; q again: leave at once"
    } else if stopping {
        "waiting for answers in flight; q or Ctrl-C again: leave at once"
    } else {
        "q or Ctrl-C: stop and report"
    };
    frame.render_widget(Line::styled(keys, PALE), foot);
}

fn heading(board: &Board, stopping: bool) -> Line<'static> {
    let mut words = vec!["igris-load ".bold()];
    if !board.name.is_empty() {
        words.push(format!("{} ", plain(&board.name)).into());
    }
    words.push(Span::styled(plain(&board.target), PALE));
    if stopping {
        words.push("  stopping".bold().yellow());
    } else if board.warming {
        words.push("  warm-up".bold().yellow());
    }
    Line::from(words)
}

/// Without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).collect()
}

fn draw_progress(frame: &mut Frame<'_>, area: Rect, board: &Board, elapsed: Duration) {
    let clock = |time: Duration| {
        let seconds = time.as_secs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
    };
    let mut label = clock(elapsed);
    if let Some(duration) = board.duration {
        label.push_str(&format!(" of {}", clock(duration)));
    }
    label.push_str(&format!(", {}", unit::count(board.ended as f64)));
    if let Some(requests) = board.requests {
        label.push_str(&format!(" of {}", unit::count(requests as f64)));
    }
    label.push_str(" ended");
    if let Some(remaining) = board.remaining(elapsed) {
        label.push_str(&format!(", {} left", clock(remaining)));
    }
    let done = board.progress(elapsed).unwrap_or(0.0);
    let style = Style::new().fg(Color::Blue).bg(Color::DarkGray);
    frame.render_widget(
        Gauge::default().gauge_style(style).ratio(done).label(Span::styled(label, Style::new().fg(Color::White))),
        area,
    );
}

fn rates(board: &Board, wide: bool) -> Vec<Line<'static>> {
    let mut flow = Vec::new();
    if let Some(due) = board.due_rate() {
        flow.push(("due", format!("{}/s", unit::count(due))));
    }
    flow.push(("ended", format!("{}/s", unit::count(board.ended_rate()))));
    flow.push(("in flight", unit::count(board.last.in_flight as f64)));
    let mut gains = vec![("tokens", format!("{}/s", unit::count(board.token_rate())))];
    if let Some(good) = board.good_share() {
        gains.push(("goodput", unit::percent(good)));
    }
    if wide {
        flow.extend(gains);
        return vec![pairs(flow)];
    }
    vec![pairs(flow), pairs(gains)]
}

fn pairs(given: Vec<(&'static str, String)>) -> Line<'static> {
    let words = given.into_iter().flat_map(|(name, value)| {
        [
            Span::styled(format!("{name} "), PALE),
            Span::styled(format!("{value}  "), Style::new().add_modifier(Modifier::BOLD)),
        ]
    });
    Line::from(words.collect::<Vec<_>>())
}

/// Percentiles since the start, and of the last seconds beside them.
fn table(board: &Board, wide: bool) -> Vec<Line<'static>> {
    let quantiles: &[(f64, &str)] = if wide {
        &[(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")]
    } else {
        &[(0.5, "p50"), (0.99, "p99")]
    };
    let room = if wide { 9 } else { 8 };
    let mut head = format!("{:<5}", "");
    quantiles.iter().for_each(|(_, name)| head.push_str(&format!("{name:>room$}")));
    let lately = if wide { format!("   last {LATELY} s:") } else { " |".into() };
    head.push_str(&format!("{lately}{:>room$}{:>room$}", "p50", "p99"));
    let blank = " ".repeat(lately.chars().count() - if wide { 0 } else { 1 });
    let row = |name: &str, whole: &Histogram<u64>, recent: &Histogram<u64>| {
        let mut text = format!("{name:<5}");
        quantiles.iter().for_each(|(quantile, _)| text.push_str(&format!("{:>room$}", value(whole, *quantile))));
        text.push_str(&blank);
        text.push_str(if wide { "" } else { "|" });
        text.push_str(&format!("{:>room$}{:>room$}", value(recent, 0.5), value(recent, 0.99)));
        Line::from(text)
    };
    let (whole, recent) = (&board.timings, &board.lately.timings);
    let mut rows =
        vec![Line::styled(head, PALE), row("TTFT", &whole.ttft, &recent.ttft), row("E2E", &whole.e2e, &recent.e2e)];
    if !whole.gap.is_empty() {
        rows.push(row("gap", &whole.gap, &recent.gap));
    }
    rows
}

fn value(histogram: &Histogram<u64>, quantile: f64) -> String {
    if histogram.is_empty() { "–".into() } else { unit::time(histogram.value_at_quantile(quantile) as f64) }
}

/// Outcomes, in as many rows as they need.
fn outcomes(board: &Board, width: usize) -> Vec<Line<'static>> {
    let mut rows = vec![Vec::new()];
    let mut place = 0;
    for (outcome, count) in board.outcomes() {
        let text = format!("{} {}  ", outcome.name(), unit::whole(count));
        let style = if outcome == Outcome::Ok { Style::new().fg(Color::Green) } else { Style::new().fg(Color::Red) };
        let length = text.chars().count();
        if place + length > width.max(20) && place > 0 {
            rows.push(Vec::new());
            place = 0;
        }
        place += length;
        if let Some(row) = rows.last_mut() {
            row.push(Span::styled(text, style));
        }
    }
    rows.into_iter().map(Line::from).collect()
}

/// How the tester does, and the watched process.
fn own(board: &Board, wide: bool) -> Vec<Line<'static>> {
    let (late, cpu) = board.own_figures();
    let (word, colour) = match board.health() {
        Level::Fine => ("fine", Color::Green),
        Level::Watch => ("strained", Color::Yellow),
        Level::Bad => ("TOO SLOW", Color::Red),
    };
    let mut tester =
        vec![Span::styled("tester ", PALE), Span::styled(word, Style::new().fg(colour).add_modifier(Modifier::BOLD))];
    let figures = format!("  late p99 {}  CPU {}", unit::time(late as f64), unit::percent(cpu));
    tester.push(Span::styled(figures, PALE));
    let Some((cores, resident)) = board.watched() else { return vec![Line::from(tester)] };
    let watched = format!("watched {} cores  {}", unit::count(cores), unit::bytes(resident as f64));
    if wide {
        tester.push(Span::styled(format!("   {watched}"), PALE));
        return vec![Line::from(tester)];
    }
    vec![Line::from(tester), Line::styled(watched, PALE)]
}

fn draw_chart(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let [name, area] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let names = [
        Span::styled("TTFT each second: ", PALE),
        Span::styled("p99", Style::new().fg(Color::LightRed)),
        Span::styled(" and ", PALE),
        Span::styled("p50", Style::new().fg(Color::LightBlue)),
    ];
    frame.render_widget(Line::from(names.to_vec()), name);
    let room = usize::from(area.width) * 2;
    let past: Vec<_> = board.history.iter().rev().take(room).rev().collect();
    let (Some(first), Some(last)) = (past.first(), past.last()) else { return };
    let line = |which: usize| -> Vec<(f64, f64)> {
        let known = past.iter().filter(|past| past.ttft[which] > 0);
        known.map(|past| (past.second as f64, past.ttft[which] as f64)).collect()
    };
    let (p50, p99) = (line(0), line(1));
    let most = p99.iter().map(|(_, nanos)| *nanos).fold(0.0, f64::max) * 1.05;
    let set = |points, colour| {
        Dataset::default()
            .data(points)
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(Style::new().fg(colour))
    };
    let x = [first.second as f64, (last.second as f64).max(first.second as f64 + 1.0)];
    let y = [0.0, most.max(1.0)];
    let labels = x.map(unit::clock);
    let chart = Chart::new(vec![set(&p99, Color::LightRed), set(&p50, Color::LightBlue)])
        .x_axis(Axis::default().bounds(x).labels(labels).style(PALE))
        .y_axis(Axis::default().bounds(y).labels([0.0, y[1] / 2.0, y[1]].map(unit::time)).style(PALE));
    frame.render_widget(chart, area);
}

fn draw_sparkline(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let [name, line] = Layout::horizontal([Constraint::Length(9), Constraint::Min(0)]).areas(area);
    let room = usize::from(line.width);
    let values: Vec<u64> = board.history.iter().rev().take(room).rev().map(|past| past.ttft[1]).collect();
    frame.render_widget(Line::styled("TTFT p99 ", PALE), name);
    frame.render_widget(Sparkline::default().data(values).style(Style::new().fg(Color::LightRed)), line);
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::sample;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn shown(width: u16, height: u16, board: &Board, stopping: bool) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
        terminal.draw(|frame| draw(frame, board, Duration::from_secs(7), stopping)).expect("a frame");
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(row).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_usual_terminal_shows_all() {
        let text = shown(80, 24, &sample(), false);
        for part in [
            "igris-load chat http://127.0.0.1:8081/v1",
            "0:07 of 0:10, 1.4k ended, 0:03 left",
            "due 200/s  ended 200/s  in flight 12  tokens 3.2k/s  goodput 95 %",
            "p99.9      max   last 5 s:",
            "TTFT   14.9 ms  18.9 ms",
            "ok 990  timeout 10",
            "tester fine  late p99 60 µs  CPU 15 %   watched 0.42 cores  48 MiB",
            "TTFT each second: p99 and p50",
            "q or Ctrl-C: stop and report",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }

    #[test]
    fn a_small_terminal_shows_what_matters_most() {
        let text = shown(40, 12, &sample(), true);
        for part in [
            "goodput 95 %",
            "TTFT  14.9 ms 19.8 ms | 14.9 ms 19.8 ms",
            "E2E ",
            "gap ",
            "ok 990  timeout 10",
            "tester fine",
            "48 MiB",
            "again",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }

    #[test]
    fn no_size_is_too_small_and_nothing_yet_is_shown_as_such() {
        for (width, height) in [(1, 1), (10, 3), (200, 60), (80, 5)] {
            shown(width, height, &sample(), false);
            shown(width, height, &Board::new(&crate::workload::Plan::default()), false);
        }
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let mut board = sample();
        board.name = "\u{1b}[2Jx".into();
        assert!(shown(80, 24, &board, false).contains("igris-load [2Jx"));
    }
}
