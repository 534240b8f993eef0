//! The curve of percentiles: how long the slowest share of answers took, with the same room for each nine.

use super::plot::{Axis, Form, Hint, Layer, Plot, Unit};
use super::scale::Scale;
use super::unit;
use hdrhistogram::Histogram;

/// One line of a percentile plot.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Its name.
    pub name: String,
    /// Its colour and dash.
    pub tone: usize,
    /// How many values it stands on.
    pub count: u64,
    /// 1 / (1 - quantile) and the value there, nanoseconds, both growing.
    pub points: Vec<(f64, f64)>,
}

/// Beyond the percentile that fewer than so many values exceed, a curve is drawn faint.
const TAIL: u64 = 10;
/// On a logarithmic axis, values that are so many times below the least median are left out.
const FLOOR: f64 = 20.0;
/// Points for each tenfold of 1 / (1 - quantile).
const DENSITY: i32 = 40;

impl Curve {
    /// The curve of a histogram of nanoseconds; `None` where it is empty.
    pub fn of(name: &str, tone: usize, histogram: &Histogram<u64>) -> Option<Self> {
        let count = histogram.len();
        if count == 0 {
            return None;
        }
        let last = count as f64;
        let steps = (last.log10() * f64::from(DENSITY)).ceil() as i32;
        let at = |x: f64| (x, histogram.value_at_quantile(1.0 - 1.0 / x) as f64);
        let mut points: Vec<_> = (0..steps)
            .map(|step| 10f64.powf(f64::from(step) / f64::from(DENSITY)))
            .filter(|x| *x < last)
            .map(at)
            .collect();
        points.push((last.max(1.0), histogram.max() as f64));
        Some(Self { name: name.into(), tone, count, points })
    }

    /// The value at a quantile, by the nearest point at or above it.
    pub fn value(&self, quantile: f64) -> f64 {
        let x = 1.0 / (1.0 - quantile).max(1e-12);
        let point = self.points.iter().find(|(place, _)| *place >= x * (1.0 - 1e-9)).or(self.points.last());
        point.map_or(f64::NAN, |(_, value)| *value)
    }

    /// The part that enough values stand behind, and the rest.
    /// What is below the axis is left out.
    fn forms(&self, from: f64) -> Vec<Form> {
        let sure = (self.count / TAIL).max(1) as f64;
        let split = self.points.partition_point(|(x, _)| *x <= sure);
        let shown = |points: &[(f64, f64)]| points.iter().copied().filter(|(_, value)| *value >= from).collect();
        let mut forms = vec![Form::Line(shown(&self.points[..split]))];
        if split < self.points.len() {
            forms.push(Form::Faint(shown(&self.points[split.saturating_sub(1)..])));
        }
        forms
    }
}

/// The plot of some curves.
pub fn percentiles(title: &str, curves: &[Curve]) -> Plot {
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(|(_, value)| *value));
    let most = values().fold(0.0, f64::max);
    let medians = curves.iter().map(|curve| curve.value(0.5)).filter(|value| *value > 0.0);
    // A few values near nothing, as of events that came in one piece, must not press all others into a corner.
    let floor = medians.fold(f64::INFINITY, f64::min) / FLOOR;
    let least = values().filter(|value| *value >= floor).fold(f64::INFINITY, f64::min);
    let far = curves.iter().filter_map(|curve| curve.points.last()).map(|(x, _)| *x).fold(10.0, f64::max);
    // Curves that differ by more than this would lie on the floor of a linear axis.
    let scale = if most > 30.0 * least { Scale::log(least, most) } else { Scale::from_zero(most) };
    let from = if scale.is_log() { least } else { 0.0 };
    Plot {
        title: title.into(),
        about: about(title, curves),
        x: Axis { title: "percentile".into(), scale: Scale::Log { low: 1.0, high: far }, unit: Unit::Percentile },
        y: Axis { title: "latency".into(), scale, unit: Unit::Time },
        layers: curves
            .iter()
            .map(|curve| Layer { name: curve.name.clone(), tone: curve.tone, forms: curve.forms(from) })
            .collect(),
        rules: Vec::new(),
        shades: Vec::new(),
        hints: hints(curves, far),
        strip: None,
    }
}

fn about(title: &str, curves: &[Curve]) -> String {
    let each = curves.iter().map(|curve| {
        format!("{}: median {}, p99 {}", curve.name, unit::time(curve.value(0.5)), unit::time(curve.value(0.99)))
    });
    format!("{title}. {}.", each.collect::<Vec<_>>().join("; "))
}

fn hints(curves: &[Curve], far: f64) -> Vec<Hint> {
    const EACH: f64 = 10.0;
    let steps = (far.log10() * EACH).ceil() as i32;
    let edge = |step: f64| 10f64.powf(step / EACH);
    let hint = |step: i32| {
        let x = edge(f64::from(step));
        let quantile = 1.0 - 1.0 / x;
        let values: Vec<String> = curves
            .iter()
            .filter(|curve| curve.points.last().is_some_and(|(last, _)| *last >= x * (1.0 - 1e-9)))
            .map(|curve| format!("{} {}", curve.name, unit::time(curve.value(quantile))))
            .collect();
        Hint {
            from: edge(f64::from(step) - 0.5),
            to: edge(f64::from(step) + 0.5).min(far),
            text: format!("p{}: {}", short(quantile * 100.0), values.join(", ")),
        }
    };
    (0..=steps).filter(|step| edge(f64::from(*step)) <= far * (1.0 + 1e-9)).map(hint).collect()
}

/// Enough digits to tell this percentile from the next.
pub(super) fn short(percent: f64) -> String {
    let text = match percent {
        _ if percent < 90.0 => format!("{percent:.1}"),
        _ if percent < 99.9 => format!("{percent:.2}"),
        _ => format!("{percent:.4}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(count: u64) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("bounds");
        for value in 1..=count {
            histogram.record(value * 1000).expect("in bounds");
        }
        histogram
    }

    #[test]
    fn a_curve_ends_where_its_values_end() {
        let curve = Curve::of("TTFT", 0, &ramp(1000)).expect("not empty");
        assert!((curve.value(0.5) / 500e3 - 1.0).abs() < 0.07, "{}", curve.value(0.5));
        assert!((curve.value(0.99) / 990e3 - 1.0).abs() < 0.01);
        let (far, most) = curve.points.last().copied().expect("points");
        assert!((far - 1000.0).abs() < 1e-9 && most >= 1e6);
        assert!(curve.points.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1));
        assert!(Curve::of("none", 0, &ramp(0)).is_none());
        assert_eq!(Curve::of("one", 0, &ramp(1)).expect("one value").points.len(), 1);
    }

    #[test]
    fn what_few_values_stand_behind_is_faint() {
        let forms = Curve::of("TTFT", 0, &ramp(1000)).expect("not empty").forms(0.0);
        let [Form::Line(sure), Form::Faint(rest)] = forms.as_slice() else { panic!("{forms:?}") };
        assert!(sure.last().is_some_and(|(x, _)| *x <= 100.0) && rest.last().is_some_and(|(x, _)| *x > 999.0));
    }

    #[test]
    fn the_axis_is_logarithmic_only_where_it_must_be() {
        let slow = Curve::of("slow", 0, &ramp(20)).expect("not empty");
        assert!(!percentiles("p", std::slice::from_ref(&slow)).y.scale.is_log());
        let mut fast = slow.clone();
        fast.points.iter_mut().for_each(|(_, value)| *value /= 1000.0);
        let both = percentiles("p", &[slow, fast]);
        assert!(both.y.scale.is_log() && both.hints.len() > 5);
        assert!(both.about.contains("slow: median"), "{}", both.about);
    }
}
