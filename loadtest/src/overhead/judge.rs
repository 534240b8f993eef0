//! From rows and the provider's stamps to a result: pure, so that made-up rows test it.

use super::pairs::{Row, Sent};
use super::provider::Stamps;
use super::result::{Added, Between, CURVE, Measure, SHIFTS, Spread, TargetLine};
use super::schedule::Schedule;
use crate::simulator::Stamp;
use crate::stats::{
    CONFIDENCE, Groups, detectable, grouped_shift, hodges_lehmann, mean, mean_interval, paired_shift, quantile,
    quantile_interval, sorted,
};

/// What is computed once all answers are there.
pub(super) struct Judged {
    pub(super) targets: Vec<TargetLine>,
    pub(super) measures: Vec<Measure>,
    pub(super) between: Vec<Between>,
    pub(super) untold: Vec<String>,
}

/// One quantity: by target and then by pair, microseconds, where it is known.
type Column = Vec<Vec<Option<f64>>>;

/// How a quantity follows from a row and the stamp of its request.
type Reckon = fn(&Row, Option<&Stamp>) -> Option<f64>;

/// The quantities of three points, and those without the provider's own time.
const POINTS: [(&str, &str, Reckon); 4] = [
    ("request_path", "client's send to the provider's having read the request", |row, stamp| {
        between(row.reply.sent, stamp?.received)
    }),
    ("provider", "the provider's own time, from there to the first byte of its answer", |_, stamp| {
        between(stamp?.received, stamp?.first)
    }),
    ("answer_path", "the provider's first byte to the client's first byte", |row, stamp| {
        between(stamp?.first, row.reply.first_byte)
    }),
    ("answer_end", "the provider's last byte to the client's last byte", |row, stamp| {
        between(stamp?.last, row.reply.ended)
    }),
];

const NET_WHOLE: (&str, &str, Reckon) =
    ("net", "send to last byte, less the provider's own time as its clock recorded it", |row, stamp| {
        Some(between(row.begin(), row.reply.ended)? - between(stamp?.received, stamp?.last)?)
    });

const NET_TOKEN: (&str, &str, Reckon) =
    ("net", "send to first token, less the provider's own wait as its clock recorded it", |row, stamp| {
        Some(between(row.begin(), row.reply.first_token)? - between(stamp?.received, stamp?.first)?)
    });

const E2E: (&str, &str, Reckon) = ("e2e", "send to last byte", |row, _| between(row.begin(), row.reply.ended));

const TTFT: (&str, &str, Reckon) =
    ("ttft", "send to first generated token", |row, _| between(row.begin(), row.reply.first_token));

const FIRST_BYTE: (&str, &str, Reckon) =
    ("first_byte", "send to first byte of the answer", |row, _| between(row.begin(), row.reply.first_byte));

/// Microseconds from one instant to a later one; `None` if it is not later: then they are of two clocks, or one is missing.
fn between(from: u64, to: u64) -> Option<f64> {
    (from > 0 && to >= from).then(|| (to - from) as f64 / 1e3)
}

/// Judges everything.
pub(super) fn judge(
    names: &[(String, String)],
    stream: bool,
    schedule: &Schedule,
    sent: &Sent,
    stamps: Option<&Stamps>,
) -> Judged {
    let mut untold = Vec::new();
    let grid = Grid { sent, schedule, targets: names.len() };
    let usable = stamps.filter(|stamps| match grid.fits(stamps) {
        Ok(()) => true,
        Err(reason) => {
            untold.push(reason);
            false
        }
    });
    let mut wanted = Vec::new();
    if usable.is_some() {
        wanted.push(if stream { NET_TOKEN } else { NET_WHOLE });
    }
    wanted.extend(if stream { &[TTFT, E2E, FIRST_BYTE][..] } else { &[E2E] });
    if usable.is_some() {
        // A unary answer leaves in one piece: its end says what its beginning says.
        wanted.extend(&POINTS[..if stream { 4 } else { 3 }]);
    }
    let mut measures = Vec::new();
    let mut headline = None;
    for (name, what, reckon) in wanted {
        let column = grid.column(usable, reckon);
        measures.push(measure(name, what, names, &column, schedule.seed));
        headline.get_or_insert(column);
    }
    if stream {
        measures.extend(grid.gaps(names));
    }
    untold.extend(rare_quantiles(&measures));
    let between = headline.map(|column| compare_targets(names, &column, schedule.seed)).unwrap_or_default();
    Judged { targets: grid.lines(names), measures, between, untold }
}

/// The rows by pair and target.
struct Grid<'a> {
    sent: &'a Sent,
    schedule: &'a Schedule,
    targets: usize,
}

impl Grid<'_> {
    fn good(&self) -> impl Iterator<Item = &Row> {
        self.sent.rows.iter().filter(|row| row.reply.is_ok())
    }

    fn column(&self, stamps: Option<&Stamps>, reckon: Reckon) -> Column {
        let mut column = vec![vec![None; self.schedule.pairs as usize]; self.targets];
        for row in self.good() {
            let stamp = stamps.and_then(|stamps| stamps.get(&self.schedule.id(row.pair, row.target)));
            column[row.target][row.pair as usize] = reckon(row, stamp);
        }
        column
    }

    /// Whether stamps are there for the requests, and of this machine's clock.
    fn fits(&self, stamps: &Stamps) -> Result<(), String> {
        let (mut all, mut missing, mut foreign) = (0_u64, 0_u64, 0_u64);
        for row in self.good() {
            all += 1;
            match stamps.get(&self.schedule.id(row.pair, row.target)) {
                None => missing += 1,
                Some(stamp) => {
                    let ordered = row.reply.sent <= stamp.received && stamp.first <= row.reply.first_byte;
                    foreign += u64::from(!ordered || stamp.last > row.reply.ended);
                }
            }
        }
        if missing * 100 > all {
            return Err(format!(
                "three-point timing and the provider's own time: {missing} of {all} requests did not reach the provider that \
                 was asked for its stamps, or their prompts were changed on the way; point every target at that provider"
            ));
        }
        if foreign * 100 > all {
            return Err(format!(
                "three-point timing and the provider's own time: {foreign} of {all} stamps lie outside of their requests, so \
                 they are of another machine's clock; run provider and tester on one machine"
            ));
        }
        Ok(())
    }

    fn lines(&self, names: &[(String, String)]) -> Vec<TargetLine> {
        let mut lines: Vec<TargetLine> = names
            .iter()
            .map(|(name, url)| TargetLine {
                name: name.clone(),
                url: url.clone(),
                sent: 0,
                ok: 0,
                held: 0,
                failures: Vec::new(),
            })
            .collect();
        for row in &self.sent.rows {
            let line = &mut lines[row.target];
            line.sent += 1;
            line.ok += u64::from(row.reply.is_ok());
            line.held += u64::from(row.held);
            if !row.reply.is_ok() && line.failures.len() < 3 {
                let outcome = row.reply.outcome.map_or("unknown", |outcome| outcome.name());
                line.failures.push(format!("pair {}: {outcome}: {}", row.pair, row.reply.reason));
            }
        }
        lines
    }

    /// The time between events with tokens: values come in groups, one a stream.
    fn gaps(&self, names: &[(String, String)]) -> Option<Measure> {
        let mut by_pair: Vec<Vec<Option<&[u32]>>> = vec![vec![None; self.schedule.pairs as usize]; self.targets];
        let mut kept = 0;
        for row in self.good() {
            kept += row.reply.gaps.len();
            if kept <= GAPS_MAX {
                by_pair[row.target][row.pair as usize] = Some(&row.reply.gaps);
            }
        }
        let all = |target: &Vec<Option<&[u32]>>| -> Vec<f64> {
            target.iter().flatten().flat_map(|gaps| gaps.iter().map(|gap| f64::from(*gap) / 1e3)).collect()
        };
        let at: Vec<Spread> = by_pair.iter().map(|target| spread(all(target))).collect();
        if at.iter().any(|spread| spread.count == 0) {
            return None;
        }
        let added = (1..self.targets)
            .map(|target| {
                let both: Vec<(&[u32], &[u32])> =
                    by_pair[0].iter().zip(&by_pair[target]).filter_map(|(a, b)| Some(((*a)?, (*b)?))).collect();
                let (from, to) = (grouped(both.iter().map(|two| two.0)), grouped(both.iter().map(|two| two.1)));
                let means: Vec<f64> = both.iter().filter_map(|(a, b)| Some(mean_gap(b)? - mean_gap(a)?)).collect();
                let (from, to) = (Groups { values: &from.0, ends: &from.1 }, Groups { values: &to.0, ends: &to.1 });
                let shifts = grouped_shift(&from, &to, &SHIFTS, self.schedule.seed, CONFIDENCE);
                Added { shifts: SHIFTS.into_iter().zip(shifts).collect(), ..differences(&names[target].0, &means) }
            })
            .collect();
        let what = "between events with tokens; typical, median and mean are of each stream's mean gap";
        Some(Measure { name: "gap".into(), what: what.into(), at, added })
    }
}

/// Gaps whose quantiles are compared at most, over all targets; later streams are left out.
const GAPS_MAX: usize = 8_000_000;

fn grouped<'a>(groups: impl Iterator<Item = &'a [u32]>) -> (Vec<f64>, Vec<usize>) {
    let (mut values, mut ends) = (Vec::new(), Vec::new());
    for group in groups {
        values.extend(group.iter().map(|gap| f64::from(*gap) / 1e3));
        ends.push(values.len());
    }
    (values, ends)
}

fn mean_gap(gaps: &[u32]) -> Option<f64> {
    let sum: u64 = gaps.iter().map(|gap| u64::from(*gap)).sum();
    (!gaps.is_empty()).then(|| sum as f64 / 1e3 / gaps.len() as f64)
}

fn measure(name: &str, what: &str, names: &[(String, String)], column: &Column, seed: u64) -> Measure {
    let at = column.iter().map(|values| spread(values.iter().flatten().copied().collect())).collect();
    let added = (1..names.len())
        .map(|target| {
            let (a, b) = both(&column[0], &column[target]);
            let found: Vec<f64> = a.iter().zip(&b).map(|(from, to)| to - from).collect();
            let shifts = paired_shift(&a, &b, &SHIFTS, seed, CONFIDENCE);
            Added { shifts: SHIFTS.into_iter().zip(shifts).collect(), ..differences(&names[target].0, &found) }
        })
        .collect();
    Measure { name: name.into(), what: what.into(), at, added }
}

/// What pairs of numbers say, but for the shifts of quantiles.
fn differences(name: &str, found: &[f64]) -> Added {
    Added {
        name: name.to_owned(),
        pairs: found.len() as u64,
        typical: hodges_lehmann(found, CONFIDENCE),
        median: quantile_interval(&sorted(found.to_vec()), 0.5, CONFIDENCE),
        mean: mean_interval(found, CONFIDENCE),
        shifts: Vec::new(),
        detectable: detectable(found, CONFIDENCE),
    }
}

/// The values of pairs that are known on both sides.
fn both(a: &[Option<f64>], b: &[Option<f64>]) -> (Vec<f64>, Vec<f64>) {
    a.iter().zip(b).filter_map(|(from, to)| Some(((*from)?, (*to)?))).unzip()
}

fn spread(values: Vec<f64>) -> Spread {
    let values = sorted(values);
    let (Some(min), Some(max)) = (values.first(), values.last()) else { return Spread::default() };
    Spread {
        count: values.len() as u64,
        mean: mean(&values),
        min: *min,
        max: *max,
        curve: CURVE.into_iter().filter_map(|q| Some((q, quantile(&values, q)?))).collect(),
    }
}

/// Every pair of targets without the direct one, by the headline quantity.
fn compare_targets(names: &[(String, String)], column: &Column, seed: u64) -> Vec<Between> {
    let mut found = Vec::new();
    for to in 2..names.len() {
        for from in 1..to {
            let (a, b) = both(&column[from], &column[to]);
            let difference: Vec<f64> = a.iter().zip(&b).map(|(from, to)| to - from).collect();
            let quantiles = [0.5, 0.9, 0.99, 0.999];
            let shifts = quantiles.into_iter().zip(paired_shift(&a, &b, &quantiles, seed, CONFIDENCE)).collect();
            let typical = hodges_lehmann(&difference, CONFIDENCE);
            found.push(Between { from: names[from].0.clone(), to: names[to].0.clone(), typical, shifts });
        }
    }
    found
}

/// Which of the usual quantiles these pairs are too few for.
fn rare_quantiles(measures: &[Measure]) -> Option<String> {
    let added = measures.first()?.added.iter().min_by_key(|added| added.pairs)?;
    let unknown = [0.9, 0.99, 0.999].into_iter().find(|q| added.shift(*q).is_none())?;
    let needed = (10.0 / (1.0 - unknown)).round();
    let pairs = added.pairs;
    Some(format!(
        "p{} and beyond: {pairs} pairs leave fewer than ten values above it; send {needed} pairs or more (--pairs, --duration)",
        (unknown * 1000.0).round() / 10.0
    ))
}
