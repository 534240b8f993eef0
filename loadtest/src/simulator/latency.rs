//! How long a simulated provider takes: distributions of waits, drawn from a seed so that a run can be repeated.
//!
//! The same kinds serve for the wait before the first byte and for the gaps between events. A draw is a pure function of the
//! distribution and a number. No wait is longer than ten minutes.

use super::fault::duration;
use super::text::mix;
use serde_json::Value;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// How long something takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Latency {
    /// No time at all.
    #[default]
    None,
    /// Always so long.
    Fixed(Duration),
    /// Log-normal with this median; `sigma` 0.5 puts the 99th percentile at 3.2 medians.
    LogNormal {
        /// Half of all waits are shorter.
        median: Duration,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Anything between two bounds, equally likely.
    Uniform {
        /// The shortest wait.
        from: Duration,
        /// The longest wait.
        to: Duration,
    },
    /// Mostly one wait, sometimes another, as with a cold cache or a slow replica.
    Bimodal {
        /// The usual wait.
        usual: Duration,
        /// The other wait.
        rare: Duration,
        /// Share of the other wait, 0 to 1.
        share: f64,
    },
    /// As it was measured somewhere.
    Recorded(Arc<Recording>),
}

/// A measured distribution.
#[derive(Clone, Debug, PartialEq)]
pub enum Recording {
    /// Single waits; each is as likely as any other.
    Samples(Vec<Duration>),
    /// Waits at quantiles (0 to 1, rising), joined by straight lines. Below the first and above the last they are constant.
    Quantiles(Vec<(f64, Duration)>),
}

/// No wait is longer.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Samples or quantiles of a recording at most.
const RECORDED_MAX: usize = 1_000_000;
/// Bytes of a file with a recording at most.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Distributions of a saved report, in the order in which they are looked for where none is named.
const REPORTED: [&str; 2] = ["ttft", "e2e"];
/// Figures of a saved report's distribution and their quantiles.
const FIGURES: [(&str, f64); 9] = [
    ("min", 0.0),
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p999", 0.999),
    ("p9999", 0.9999),
    ("max", 1.0),
];
/// What can be written, for messages.
const FORMS: &str = "300ms, lognormal:300ms,0.5, uniform:100ms,300ms, bimodal:200ms,2s,0.05 or recorded:FILE";

// === impl Latency ===

impl From<Duration> for Latency {
    fn from(fixed: Duration) -> Self {
        if fixed.is_zero() { Self::None } else { Self::Fixed(fixed) }
    }
}

impl Latency {
    /// The wait that belongs to a draw.
    pub fn draw(&self, seed: u64) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Fixed(wait) => *wait,
            Self::LogNormal { median, sigma } => {
                // Box-Muller; the first fraction is kept away from zero for the logarithm.
                let (first, second) = (fraction(mix(seed, 1)).max(1e-12), fraction(mix(seed, 2)));
                let normal = (-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos();
                bounded(median.as_secs_f64() * (sigma * normal).exp())
            }
            Self::Uniform { from, to } => *from + to.saturating_sub(*from).mul_f64(fraction(mix(seed, 1))),
            Self::Bimodal { usual, rare, share } => {
                if fraction(mix(seed, 1)) < *share {
                    *rare
                } else {
                    *usual
                }
            }
            Self::Recorded(recording) => recording.at(fraction(mix(seed, 1))),
        }
    }

    /// Whether every draw is zero.
    pub fn is_zero(&self) -> bool {
        matches!(self, Self::None) || *self == Self::Fixed(Duration::ZERO)
    }

    fn recorded(text: &str) -> Result<Self, String> {
        let (file, member) = text.rsplit_once('#').map_or((text, None), |(file, member)| (file, Some(member)));
        let told = |reason: String| format!("recorded:{text}: {reason}");
        let bytes =
            std::fs::metadata(file).map_err(|reason| told(format!("{reason}; name a file that can be read")))?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(told("the file is larger than 256 MiB; give a quantile table instead".into()));
        }
        let content = std::fs::read_to_string(file).map_err(|reason| told(format!("{reason}; give text")))?;
        let is_csv = Path::new(file).extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
        let recording = if is_csv { Recording::from_csv(&content) } else { Recording::from_json(&content, member) }
            .map_err(told)?;
        Ok(Self::Recorded(Arc::new(recording)))
    }
}

impl FromStr for Latency {
    type Err = String;

    /// Reads `300ms`, `fixed:300ms`, `lognormal:MEDIAN,SIGMA`, `uniform:FROM,TO`, `bimodal:USUAL,RARE,SHARE` or `recorded:FILE`; the file
    /// is read at once, see [`Recording`].
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((kind, rest)) = text.split_once(':') else {
            return duration(text).map(Self::from).map_err(|_| format!("{text:?} is not a latency; write {FORMS}"));
        };
        let parts: Vec<_> = rest.split(',').map(str::trim).collect();
        let number = |text: &str, low: f64, high: f64| {
            let found = text.parse::<f64>().ok().filter(|number| (low..=high).contains(number));
            found.ok_or_else(|| format!("{text:?} in {kind}:{rest} is not a number from {low} to {high}"))
        };
        match (kind, &parts[..]) {
            ("fixed", [wait]) => Ok(Self::from(duration(wait)?)),
            ("lognormal", [median, sigma]) => {
                Ok(Self::LogNormal { median: duration(median)?, sigma: number(sigma, 0.0, 10.0)? })
            }
            ("uniform", [from, to]) => {
                let (from, to) = (duration(from)?, duration(to)?);
                if to < from {
                    return Err(format!("uniform:{rest} ends before it begins; write the shorter wait first"));
                }
                Ok(Self::Uniform { from, to })
            }
            ("bimodal", [usual, rare, share]) => {
                Ok(Self::Bimodal { usual: duration(usual)?, rare: duration(rare)?, share: number(share, 0.0, 1.0)? })
            }
            ("recorded", _) => Self::recorded(rest),
            _ => Err(format!("{text:?} is not a latency; write {FORMS}")),
        }
    }
}

// === impl Recording ===

impl Recording {
    /// The wait at a quantile from 0 to 1.
    pub fn at(&self, quantile: f64) -> Duration {
        match self {
            Self::Samples(samples) => {
                let at = (quantile * samples.len() as f64) as usize;
                samples.get(at.min(samples.len().saturating_sub(1))).copied().unwrap_or_default()
            }
            Self::Quantiles(table) => {
                let after = table.partition_point(|(known, _)| *known <= quantile);
                match (after.checked_sub(1).and_then(|before| table.get(before)), table.get(after)) {
                    (Some((low, shorter)), Some((high, longer))) => {
                        let share = (quantile - low) / (high - low).max(f64::MIN_POSITIVE);
                        *shorter + longer.saturating_sub(*shorter).mul_f64(share.clamp(0.0, 1.0))
                    }
                    (Some((_, wait)), None) | (None, Some((_, wait))) => *wait,
                    (None, None) => Duration::ZERO,
                }
            }
        }
    }

    /// Reads JSON: a list of waits, `{"unit":"ms","samples":[…]}`, `{"unit":"ms","quantiles":[[0.5,300],[0.99,900]]}`, or a report that
    /// `igris-load` saved, of which `member` names the distribution (`ttft` unless there is none, then `e2e`). Numbers are milliseconds
    /// where no unit (`us`, `ms`, `s`) says otherwise; those of a report are microseconds.
    ///
    /// # Errors
    /// Returns what was not understood, and what to write instead.
    pub fn from_json(text: &str, member: Option<&str>) -> Result<Self, String> {
        let value: Value =
            serde_json::from_str(text).map_err(|reason| format!("{reason}; give JSON or a .csv file"))?;
        let unit = match value.get("unit") {
            None => 1e-3,
            Some(unit) => unit.as_str().and_then(unit_scale).ok_or("the unit is none of us, ms and s")?,
        };
        let samples = if value.is_array() { Some(&value) } else { value.get("samples") };
        if let Some(samples) = samples.and_then(Value::as_array) {
            let numbers = samples.iter().map(|sample| sample.as_f64().ok_or_else(|| not_a_wait(&sample.to_string())));
            return Self::of_samples(numbers.collect::<Result<_, _>>()?, unit);
        }
        if let Some(table) = value.get("quantiles").and_then(Value::as_array) {
            let row = |row: &Value| row[0].as_f64().zip(row[1].as_f64()).ok_or_else(|| not_a_row(&row.to_string()));
            return Self::of_quantiles(table.iter().map(row).collect::<Result<_, _>>()?, unit);
        }
        let wanted: &[&str] = member.as_ref().map_or(&REPORTED, std::slice::from_ref);
        let found = wanted.iter().find_map(|name| value.get(*name).filter(|found| found["p50"].is_number()));
        let figures = found.ok_or_else(|| {
            format!("it has no samples, no quantiles and no {}; give one of these", wanted.join(" or "))
        })?;
        let known = FIGURES.iter().filter_map(|(name, quantile)| Some((*quantile, figures[*name].as_f64()?)));
        Self::of_quantiles(known.collect(), 1e-6)
    }

    /// Reads CSV: one column of waits, or two of quantile (0 to 1) and wait. A first line of names is allowed; where the last name ends in
    /// `us`, `ms` or `s` after an underscore or alone, that is the unit, else milliseconds.
    ///
    /// # Errors
    /// Returns what was not understood, and what to write instead.
    pub fn from_csv(text: &str) -> Result<Self, String> {
        let mut lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
        let mut unit = 1e-3;
        let is_name = |line: &&str| line.split(',').any(|cell| cell.trim().trim_matches('"').parse::<f64>().is_err());
        if let Some(names) = lines.next_if(is_name) {
            let last = names.rsplit([',', '_']).next().unwrap_or_default().trim().trim_matches('"');
            unit = unit_scale(last).unwrap_or(unit);
        }
        let (mut samples, mut table) = (Vec::new(), Vec::new());
        for line in lines {
            let cells: Result<Vec<f64>, _> = line.split(',').map(|cell| cell.trim().parse()).collect();
            match cells.map_err(|_| not_a_row(line))?[..] {
                [wait] => samples.push(wait),
                [quantile, wait] => table.push((quantile, wait)),
                _ => return Err(not_a_row(line)),
            }
        }
        match (samples.is_empty(), table.is_empty()) {
            (false, true) => Self::of_samples(samples, unit),
            (true, false) => Self::of_quantiles(table, unit),
            (true, true) => Err("it is empty; give at least one wait".into()),
            (false, false) => Err("lines of one and of two columns are mixed; give one kind".into()),
        }
    }

    fn of_samples(numbers: Vec<f64>, unit: f64) -> Result<Self, String> {
        if numbers.is_empty() || numbers.len() > RECORDED_MAX {
            return Err(format!("{} samples are none or too many; give 1 to {RECORDED_MAX}", numbers.len()));
        }
        let mut samples = numbers.into_iter().map(|number| wait(number, unit)).collect::<Result<Vec<_>, _>>()?;
        samples.sort_unstable();
        Ok(Self::Samples(samples))
    }

    fn of_quantiles(rows: Vec<(f64, f64)>, unit: f64) -> Result<Self, String> {
        if rows.is_empty() || rows.len() > RECORDED_MAX {
            return Err(format!("{} quantiles are none or too many; give 1 to {RECORDED_MAX}", rows.len()));
        }
        let row = |(quantile, number): (f64, f64)| Ok::<_, String>((quantile, wait(number, unit)?));
        let table = rows.into_iter().map(row).collect::<Result<Vec<_>, _>>()?;
        let is_sound = table.iter().all(|(quantile, _)| (0.0..=1.0).contains(quantile));
        let is_rising = table.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        if !is_sound || !is_rising {
            return Err("quantiles must lie from 0 to 1 and rise, and waits must not fall; sort the rows".into());
        }
        Ok(Self::Quantiles(table))
    }
}

fn wait(number: f64, unit: f64) -> Result<Duration, String> {
    let found = Duration::try_from_secs_f64(number * unit).ok().filter(|wait| *wait <= WAIT_MAX);
    found.ok_or_else(|| not_a_wait(&number.to_string()))
}

fn not_a_wait(found: &str) -> String {
    format!("{found} is not a wait from 0 to ten minutes; check the unit")
}

fn not_a_row(found: &str) -> String {
    format!("{found} is not a row; give a wait, or a quantile from 0 to 1 and a wait")
}

fn unit_scale(name: &str) -> Option<f64> {
    match name {
        "us" => Some(1e-6),
        "ms" => Some(1e-3),
        "s" => Some(1.0),
        _ => None,
    }
}

fn bounded(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).map_or(WAIT_MAX, |wait| wait.min(WAIT_MAX))
}

/// Maps a digest to [0, 1).
pub(super) fn fraction(digest: u64) -> f64 {
    (digest >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Latency {
        text.parse().unwrap_or_else(|reason| panic!("{text}: {reason}"))
    }

    /// Twenty thousand draws, sorted, in milliseconds.
    fn draws(latency: &Latency) -> Vec<f64> {
        let mut waits: Vec<_> = (0..20_000).map(|number| latency.draw(mix(3, number)).as_secs_f64() * 1e3).collect();
        waits.sort_by(f64::total_cmp);
        waits
    }

    fn assert_near(found: f64, wanted: f64, tolerance: f64, what: &str) {
        assert!((found - wanted).abs() <= tolerance * wanted, "{what}: {found} is not {wanted}");
    }

    #[test]
    fn every_form_is_read_and_others_are_refused_with_a_remedy() {
        assert_eq!(read("300ms"), Latency::Fixed(Duration::from_millis(300)));
        assert_eq!((read("0ms"), read("fixed:1s")), (Latency::None, Latency::Fixed(Duration::from_secs(1))));
        let (from, to) = (Duration::from_millis(1), Duration::from_millis(2));
        assert_eq!(read("uniform:1ms, 2ms"), Latency::Uniform { from, to });
        assert_eq!(read("bimodal:1ms,2ms,0.05"), Latency::Bimodal { usual: from, rare: to, share: 0.05 });
        for (wrong, part) in [
            ("fast", "write 300ms"),
            ("gauss:1ms,2", "write 300ms"),
            ("lognormal:300ms", "write 300ms"),
            ("lognormal:300ms,-1", "from 0 to 10"),
            ("uniform:2ms,1ms", "shorter wait first"),
            ("bimodal:1ms,2ms,5", "from 0 to 1"),
            ("recorded:/no/such/file", "can be read"),
        ] {
            let reason = wrong.parse::<Latency>().expect_err(wrong);
            assert!(reason.contains(part), "{wrong}: {reason}");
        }
    }

    #[test]
    fn draws_have_the_quantiles_of_their_distribution() {
        let log_normal = draws(&read("lognormal:10ms,0.5"));
        // The normal quantiles of 10, 50 and 99 per cent.
        for (share, deviations) in [(0.1, -1.2816_f64), (0.5, 0.0), (0.99, 2.3263)] {
            let wanted = 10.0 * (0.5 * deviations).exp();
            assert_near(log_normal[(share * 20_000.0) as usize], wanted, 0.05, "log-normal");
        }
        let uniform = draws(&read("uniform:100ms,300ms"));
        assert!(uniform[0] >= 100.0 && uniform[19_999] <= 300.0);
        for (share, wanted) in [(0.1, 120.0), (0.5, 200.0), (0.9, 280.0)] {
            assert_near(uniform[(share * 20_000.0) as usize], wanted, 0.03, "uniform");
        }
        let bimodal = draws(&read("bimodal:200ms,2s,0.05"));
        let rare = bimodal.iter().filter(|wait| **wait > 1_000.0).count();
        assert!((850..1_150).contains(&rare), "{rare} of a thousand");
        assert!(bimodal.iter().all(|wait| *wait == 200.0 || *wait == 2_000.0));
    }

    #[test]
    fn recordings_are_drawn_as_they_were() {
        let recorded = |recording: Recording| draws(&Latency::Recorded(Arc::new(recording)));
        let samples = recorded(Recording::from_json("[5, 1, 1, 1]", None).expect("a list"));
        let long = samples.iter().filter(|wait| **wait == 5.0).count();
        assert!((4_700..5_300).contains(&long) && samples[0] == 1.0, "{long}");
        let table = r#"{"unit":"s","quantiles":[[0,0.1],[0.5,0.2],[0.99,1.0]]}"#;
        let table = recorded(Recording::from_json(table, None).expect("a table"));
        for (share, wanted) in [(0.25, 150.0), (0.5, 200.0), (0.75, 200.0 + 800.0 * 0.25 / 0.49), (0.995, 1_000.0)] {
            assert_near(table[(share * 20_000.0) as usize], wanted, 0.05, "quantiles");
        }
        let csv = Recording::from_csv("quantile,ttft_us\n0.5,1000\n1,3000\n").expect("two columns");
        assert_eq!((csv.at(0.1), csv.at(0.75)), (Duration::from_millis(1), Duration::from_millis(2)));
        assert_eq!(Recording::from_csv("1\n2\n").expect("one column").at(0.9), Duration::from_millis(2));
        let report =
            r#"{"tool":"igris-load","ttft":{"min":100.0,"p50":200.0,"p99":900.0,"max":1000.0},"e2e":{"p50":5e3}}"#;
        assert_eq!(Recording::from_json(report, None).expect("a report").at(0.5), Duration::from_micros(200));
        assert_eq!(Recording::from_json(report, Some("e2e")).expect("a report").at(0.5), Duration::from_millis(5));
    }

    #[test]
    fn recordings_that_make_no_sense_are_refused() {
        for (wrong, part) in [
            ("{", "give JSON"),
            ("[]", "1 to"),
            ("[-1]", "check the unit"),
            ("[\"1\"]", "check the unit"),
            (r#"{"unit":"h","samples":[1]}"#, "none of us"),
            (r#"{"quantiles":[[0.5,2],[0.4,3]]}"#, "sort the rows"),
            (r#"{"quantiles":[[5,2]]}"#, "sort the rows"),
            (r#"{"quantiles":[[5]]}"#, "not a row"),
            (r#"{"ttft":null}"#, "no ttft or e2e"),
        ] {
            let reason = Recording::from_json(wrong, None).expect_err(wrong);
            assert!(reason.contains(part), "{wrong}: {reason}");
        }
        for wrong in ["", "wait_ms\n", "1\n0.5,2\n", "1,2,3\n", "1\nx\n"] {
            assert!(Recording::from_csv(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_draw_never_exceeds_ten_minutes() {
        let wild = read("lognormal:60s,10");
        assert!((0..2_000).map(|seed| wild.draw(seed)).all(|wait| wait <= WAIT_MAX));
    }
}
