//! What a gateway adds: the curves of both paths, and the difference of their quantiles with the interval it lies in.

use super::curve::{Curve, percentiles, short};
use super::plot::{Axis, Form, Hint, Layer, Plot, Unit};
use super::scale::Scale;
use super::unit;

/// One gateway beside the direct path.
#[derive(Clone, Debug)]
pub struct Shift {
    /// Its name.
    pub name: String,
    /// Quantile (0 to 1, growing), added latency there, and the ends of its interval, all nanoseconds.
    pub points: Vec<(f64, f64, f64, f64)>,
}

/// Curves of the direct path and of each path through a gateway, the direct one first.
pub fn paths(metric: &str, curves: &[Curve]) -> Plot {
    percentiles(&format!("{metric}, direct and through"), curves)
}

/// The added latency at each quantile, with its interval as a band; zero is marked.
pub fn shifts(metric: &str, confidence: f64, shifts: &[Shift]) -> Plot {
    let place = |quantile: f64| 1.0 / (1.0 - quantile).max(1e-9);
    let all = || shifts.iter().flat_map(|shift| &shift.points);
    let least = all().map(|point| point.2.min(point.1)).fold(0.0, f64::min);
    let most = all().map(|point| point.3.max(point.1)).fold(0.0, f64::max);
    let far = all().map(|point| place(point.0)).fold(10.0, f64::max);
    let layers = shifts.iter().enumerate().map(|(number, shift)| {
        let band = shift.points.iter().map(|(quantile, _, low, high)| (place(*quantile), *low, *high));
        let line = shift.points.iter().map(|(quantile, added, ..)| (place(*quantile), *added));
        let forms = vec![Form::Band(band.collect()), Form::Line(line.collect())];
        Layer { name: shift.name.clone(), tone: number, forms }
    });
    let title = format!("Added {metric}, with its {} interval", unit::percent(confidence));
    let medians = shifts.iter().filter_map(|shift| {
        let point = shift.points.iter().min_by(|one, other| (one.0 - 0.5).abs().total_cmp(&(other.0 - 0.5).abs()))?;
        Some(format!("{} adds {} at p{}", shift.name, unit::time(point.1), short(point.0 * 100.0)))
    });
    let about = format!("{title}. {}.", medians.collect::<Vec<_>>().join("; "));
    Plot {
        title,
        about,
        x: Axis { title: "percentile".into(), scale: Scale::Log { low: 1.0, high: far }, unit: Unit::Percentile },
        y: Axis { title: "through − direct".into(), scale: Scale::around_zero(least, most), unit: Unit::Time },
        layers: layers.collect(),
        rules: Vec::new(),
        shades: Vec::new(),
        hints: hints(shifts, place),
        strip: None,
    }
}

/// One for each quantile of the first gateway, reaching half-way to its neighbours.
fn hints(shifts: &[Shift], place: impl Fn(f64) -> f64) -> Vec<Hint> {
    let Some(first) = shifts.first() else { return Vec::new() };
    let places: Vec<f64> = first.points.iter().map(|point| place(point.0)).collect();
    let between = |one: f64, next: f64| (one * next).sqrt();
    let hint = |number: usize| {
        let here = places[number];
        let (quantile, ..) = first.points[number];
        let each = shifts.iter().filter_map(|shift| {
            let (_, added, low, high) = shift.points.get(number)?;
            let [added, low, high] = [added, low, high].map(|nanos| unit::time(*nanos));
            Some(format!("{} {added} [{low}, {high}]", shift.name))
        });
        Hint {
            from: number.checked_sub(1).map_or(1.0, |before| between(places[before], here)),
            to: places.get(number + 1).map_or(here, |next| between(here, *next)),
            text: format!("p{}: {}", short(quantile * 100.0), each.collect::<Vec<_>>().join(", ")),
        }
    };
    (0..places.len()).map(hint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_band_and_zero_are_inside() {
        let shift = Shift {
            name: "igris".into(),
            points: vec![(0.5, 40e3, 35e3, 46e3), (0.9, 60e3, 50e3, 70e3), (0.99, 90e3, -20e3, 200e3)],
        };
        let plot = shifts("TTFT", 0.95, &[shift]);
        let Scale::Linear { low, high } = plot.y.scale else { panic!("differences are on equal steps") };
        assert!(low <= -20e3 && high >= 200e3);
        assert!(plot.about.contains("igris adds 40 µs at p50"), "{}", plot.about);
        assert!(plot.hints[2].text.contains("[-20 µs, 200 µs]"), "{}", plot.hints[2].text);
        assert!(plot.hints.windows(2).all(|pair| (pair[0].to - pair[1].from).abs() < 1e-9));
    }

    #[test]
    fn nothing_to_compare_is_an_empty_plot() {
        assert!(shifts("TTFT", 0.95, &[]).layers.is_empty());
        assert!(paths("TTFT", &[]).layers.is_empty());
    }
}
