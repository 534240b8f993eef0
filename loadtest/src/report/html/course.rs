//! The rows of a run's seconds as the plain figures of its plots, folded to as many as a plot has room for.

use crate::measure::{Measured, Objective, Second, Sparse};
use crate::report::svg::{Course, Moment};
use crate::workload::Plan;

/// Pieces of time that a plot can show apart.
const MOMENTS_MAX: usize = 240;

/// A last second that the run has less of than this is no piece of its own, seconds.
const SHORT: f64 = 0.3;

/// The course of a run.
pub fn course(plan: &Plan, measured: &Measured) -> Course {
    let open = plan.arrivals.is_open();
    let end = measured.elapsed.as_secs_f64();
    let moment = |rows: &[Second]| moment(rows, open, plan.threads.max(1) as f64, end);
    let ttft = &measured.timings.ttft;
    let bound = |objective: &Objective| match objective {
        Objective::Ttft { max } => Some(max.0.as_nanos() as f64),
        _ => None,
    };
    Course {
        moments: pieces(&measured.seconds, end).filter_map(moment).collect(),
        typical: if ttft.is_empty() { f64::INFINITY } else { ttft.value_at_quantile(0.5) as f64 },
        ttft_bounds: plan.objectives.iter().filter_map(bound).collect(),
    }
}

/// Rows in as many pieces as there is room for. What the run has of its last second joins the piece before it where it is too
/// short for a rate.
fn pieces(rows: &[Second], end: f64) -> impl Iterator<Item = &[Second]> {
    let each = rows.len().div_ceil(MOMENTS_MAX).max(1);
    let mut starts: Vec<usize> = (0..rows.len()).step_by(each).collect();
    let short = starts.last().and_then(|start| rows.get(*start)).is_some_and(|row| end - (row.second as f64) < SHORT);
    if short && starts.len() > 1 {
        starts.pop();
    }
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([rows.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &rows[start..end])
}

/// Some rows in a row as one piece; `None` of none.
fn moment(rows: &[Second], open: bool, threads: f64, end: f64) -> Option<Moment> {
    let (first, last) = (rows.first()?, rows.last()?);
    let from = first.second as f64;
    // The run may end within its last second; what a shorter time brought is divided by that shorter time.
    let to = ((last.second + last.span.max(1)) as f64).min(end).max(from + 0.05);
    let time = to - from;
    let mut sums = first.sums.clone();
    let (mut ttft, mut e2e, mut late) = (first.ttft.clone(), first.e2e.clone(), first.late.clone());
    for row in &rows[1..] {
        sums.add(&row.sums);
        ttft.add(&row.ttft);
        e2e.add(&row.e2e);
        late.add(&row.late);
    }
    let both = |sparse: &Sparse| [0.5, 0.99].map(|quantile| nanos(sparse, quantile));
    let cpu: f64 = rows.iter().map(|row| row.cpu.as_secs_f64()).sum();
    let watched_cpu: f64 = rows.iter().filter_map(|row| row.watched).map(|(cpu, _)| cpu.as_secs_f64()).sum();
    let resident = rows.iter().rev().find_map(|row| row.watched).map(|(_, resident)| resident as f64);
    Some(Moment {
        from,
        to,
        warm_up: first.warm_up,
        due: if open { late.count() as f64 / time } else { f64::NAN },
        ended: sums.outcomes.map(|count| count as f64 / time),
        good: sums.good as f64 / time,
        tokens: sums.output_tokens as f64 / time,
        ttft: both(&ttft),
        e2e: both(&e2e),
        in_flight: last.in_flight as f64,
        late: nanos(&late, 0.99),
        cpu: cpu / (time * threads),
        watched: resident.map(|resident| (watched_cpu / time, resident)),
    })
}

fn nanos(sparse: &Sparse, quantile: f64) -> f64 {
    sparse.quantile(quantile).map_or(f64::NAN, |nanos| nanos as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Interval, Outcome};
    use std::time::Duration;

    fn row(second: u64) -> Second {
        let mut interval = Interval::new(second);
        interval.sums.outcomes[Outcome::Ok as usize] = 50;
        interval.timings.ttft.saturating_record(1_000_000 * (second + 1));
        (0..60).for_each(|_| interval.late.saturating_record(70_000));
        interval.cpu = Duration::from_millis(500);
        interval.watched = Some((Duration::from_millis(200), second));
        Second::from(&interval)
    }

    #[test]
    fn the_last_moment_of_a_run_is_no_rate_of_its_own() {
        let rows: Vec<Second> = (0..4).map(row).collect();
        let lengths = |end| pieces(&rows, end).map(<[Second]>::len).collect::<Vec<_>>();
        assert_eq!((lengths(3.1), lengths(3.9)), (vec![1, 1, 2], vec![1, 1, 1, 1]));
        let many: Vec<Second> = (0..1000).map(row).collect();
        assert!(pieces(&many, 1000.0).count() <= MOMENTS_MAX);
        assert_eq!(pieces(&many, 1000.0).map(<[Second]>::len).sum::<usize>(), 1000);
        assert_eq!(pieces(&[], 0.0).map(<[Second]>::len).sum::<usize>(), 0);
        let all = moment(&rows, true, 1.0, 3.1).expect("rows");
        assert_eq!((all.to, all.ended[0]), (3.1, 200.0 / 3.1));
    }

    #[test]
    fn rows_are_rates_whatever_time_they_cover() {
        let rows = [row(4), row(5)];
        let both = moment(&rows, true, 2.0, 60.0).expect("rows");
        assert_eq!((both.from, both.to, both.due, both.ended[0], both.cpu), (4.0, 6.0, 60.0, 50.0, 0.25));
        assert_eq!(both.watched, Some((0.2, 5.0)));
        assert!(both.ttft[1] > 5.9e6 && both.ttft[0] < 5.1e6 && both.e2e[0].is_nan());
        let cut = moment(&rows[..1], false, 1.0, 4.5).expect("a row");
        assert!((cut.ended[0] - 100.0).abs() < 1e-9 && cut.due.is_nan(), "half a second");
        assert!(moment(&[], true, 1.0, 1.0).is_none());
    }
}
