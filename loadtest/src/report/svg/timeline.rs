//! The course of a run: what was due and done, how long it took, what failed, what was in flight, and what the watched
//! process used; each over the same clock, above the same strip of the tester's own health.

use super::plot::{Axis, Form, Hint, Layer, Plot, Shade, Unit};
use super::scale::Scale;
use super::strip::{Cell, Level, Strip};
use super::unit;
use crate::measure::Outcome;

/// A piece of a run's time with its plain figures.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// Begin, seconds from the run's start.
    pub from: f64,
    /// End, seconds; above `from`.
    pub to: f64,
    /// Whether it belongs to the warm-up.
    pub warm_up: bool,
    /// Requests that fell due and were taken up, for each second; not a number in a closed loop.
    pub due: f64,
    /// Requests that ended by [`Outcome::ALL`], for each second.
    pub ended: [f64; Outcome::ALL.len()],
    /// Requests that ended well and held every objective, for each second.
    pub good: f64,
    /// Output tokens, for each second.
    pub tokens: f64,
    /// Median and 99th percentile of the time to first token, nanoseconds; not numbers where nothing ended.
    pub ttft: [f64; 2],
    /// The same of the whole answer.
    pub e2e: [f64; 2],
    /// Requests in flight at its end.
    pub in_flight: f64,
    /// 99th percentile of the tester's lateness, nanoseconds; not a number where nothing was due.
    pub late: f64,
    /// Share of their time that the tester's threads worked.
    pub cpu: f64,
    /// Cores that the watched process used, and its resident bytes.
    pub watched: Option<(f64, f64)>,
}

impl Moment {
    fn middle(&self) -> f64 {
        (self.from + self.to) / 2.0
    }

    fn ok(&self) -> f64 {
        self.ended[Outcome::Ok as usize]
    }

    fn all(&self) -> f64 {
        self.ended.iter().sum()
    }
}

/// The course of one run.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// Its pieces, in order.
    pub moments: Vec<Moment>,
    /// The run's median time to first token, nanoseconds, beside which lateness is judged.
    pub typical: f64,
    /// Bounds of time to first token that an answer must hold, nanoseconds.
    pub ttft_bounds: Vec<f64>,
}

impl Course {
    /// The tester's own health.
    pub fn strip(&self) -> Strip {
        let cell = |moment: &Moment| Cell {
            from: moment.from,
            to: moment.to,
            late: moment.late,
            cpu: moment.cpu,
            late_level: Level::of_late(moment.late, self.typical),
            cpu_level: Level::of_cpu(moment.cpu),
        };
        Strip { cells: self.moments.iter().map(cell).collect() }
    }

    /// All plots that have something to show.
    pub fn plots(&self) -> Vec<Plot> {
        let mut plots = vec![self.rate(), self.latency(), self.outcomes(), self.in_flight()];
        plots.extend(self.watched());
        plots
    }

    /// Requests due and done each second.
    pub fn rate(&self) -> Plot {
        let due = |moment: &Moment| moment.due;
        let mut layers = Vec::new();
        if self.moments.iter().any(|moment| moment.due.is_finite()) {
            layers.push(self.line("due", 3, due));
        }
        layers.push(self.line("ended", 1, Moment::all));
        layers.push(self.line("ended ok", 0, Moment::ok));
        if self.moments.iter().any(|moment| moment.good < moment.ok()) {
            layers.push(self.line("good", 2, |moment| moment.good));
        }
        let peak = self.most(|moment| moment.all().max(if moment.due.is_finite() { moment.due } else { 0.0 }));
        let hint = |moment: &Moment| {
            let due = if moment.due.is_finite() { format!("{} due, ", unit::count(moment.due)) } else { String::new() };
            format!("{due}{} ended, {} ok each second", unit::count(moment.all()), unit::count(moment.ok()))
        };
        let about = format!("Requests each second over the run; at most {} in one second.", unit::count(peak));
        self.plot("Requests each second", about, ("requests / s", Unit::Count, Scale::from_zero(peak)), layers, &hint)
    }

    /// Time to first token, and of whole answers where that differs.
    pub fn latency(&self) -> Plot {
        let mut layers =
            vec![self.line("TTFT p99", 1, |moment| moment.ttft[1]), self.line("TTFT p50", 0, |moment| moment.ttft[0])];
        // Of answers that are no streams the first token comes with the last byte: one pair of lines tells all.
        let differs = self.moments.iter().any(|moment| moment.e2e[0] > 1.02 * moment.ttft[0]);
        if differs {
            layers.push(self.line("E2E p99", 4, |moment| moment.e2e[1]));
            layers.push(self.line("E2E p50", 3, |moment| moment.e2e[0]));
        }
        let shown = |moment: &Moment| if differs { moment.ttft[1].max(moment.e2e[1]) } else { moment.ttft[1] };
        let most = self.most(shown);
        let least = self.moments.iter().map(|moment| moment.ttft[0]).filter(|nanos| *nanos > 0.0);
        let least = least.fold(f64::INFINITY, f64::min);
        let scale = if most > 30.0 * least { Scale::log(least, most) } else { Scale::from_zero(most) };
        let hint = |moment: &Moment| {
            format!(
                "TTFT p50 {}, p99 {}; E2E p50 {}, p99 {}",
                unit::time(moment.ttft[0]),
                unit::time(moment.ttft[1]),
                unit::time(moment.e2e[0]),
                unit::time(moment.e2e[1])
            )
        };
        let about = format!("Latency of the answers that ended in each second; the worst p99 is {}.", unit::time(most));
        let mut plot = self.plot("Latency each second", about, ("latency", Unit::Time, scale), layers, &hint);
        let inside = self.ttft_bounds.iter().filter(|bound| **bound <= most * 3.0);
        plot.rules = inside.map(|bound| (*bound, format!("TTFT objective {}", unit::time(*bound)))).collect();
        if let (Scale::Linear { .. }, Some(bound)) =
            (plot.y.scale, plot.rules.iter().map(|(at, _)| *at).reduce(f64::max))
        {
            plot.y.scale = Scale::from_zero(most.max(bound));
        }
        plot
    }

    /// Failures each second, one kind on the other.
    pub fn outcomes(&self) -> Plot {
        let kinds: Vec<Outcome> = Outcome::ALL
            .into_iter()
            .filter(|kind| *kind != Outcome::Ok)
            .filter(|kind| self.moments.iter().any(|moment| moment.ended[*kind as usize] > 0.0))
            .collect();
        let mut floor = vec![0.0; self.moments.len()];
        let mut layers = Vec::new();
        for (number, kind) in kinds.iter().enumerate() {
            let mut corners = Vec::with_capacity(self.moments.len() * 2);
            for (moment, floor) in self.moments.iter().zip(&mut floor) {
                let top = *floor + moment.ended[*kind as usize];
                corners.extend([(moment.from, *floor, top), (moment.to, *floor, top)]);
                *floor = top;
            }
            layers.push(Layer { name: kind.name().into(), tone: number + 1, forms: vec![Form::Area(corners)] });
        }
        let most = floor.iter().copied().fold(0.0, f64::max);
        let hint = |moment: &Moment| {
            let failed = kinds.iter().filter(|kind| moment.ended[**kind as usize] > 0.0);
            let each = failed.map(|kind| format!("{} {}", unit::count(moment.ended[*kind as usize]), kind.name()));
            let each: Vec<_> = each.collect();
            if each.is_empty() { "no failure".into() } else { format!("{} each second", each.join(", ")) }
        };
        let about = match kinds.is_empty() {
            true => "No request failed.".into(),
            false => format!("Failed requests each second by outcome; at most {} in one second.", unit::count(most)),
        };
        let mut plot = self.plot(
            "Failures each second",
            about,
            ("failed / s", Unit::Count, Scale::from_zero(most)),
            layers,
            &hint,
        );
        if kinds.is_empty() {
            plot.title = "Failures each second: none".into();
        }
        plot
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> Plot {
        let layers = vec![self.line("in flight", 0, |moment| moment.in_flight)];
        let most = self.most(|moment| moment.in_flight);
        let hint = |moment: &Moment| format!("{} in flight at the end", unit::count(moment.in_flight));
        let about = format!("Requests in flight at the end of each second; at most {}.", unit::count(most));
        self.plot("Requests in flight", about, ("requests", Unit::Count, Scale::from_zero(most)), layers, &hint)
    }

    /// CPU time and memory of the watched process.
    fn watched(&self) -> Vec<Plot> {
        if self.moments.iter().all(|moment| moment.watched.is_none()) {
            return Vec::new();
        }
        let cores = |moment: &Moment| moment.watched.map_or(f64::NAN, |(cores, _)| cores);
        let resident = |moment: &Moment| moment.watched.map_or(f64::NAN, |(_, resident)| resident);
        let most = self.most(cores);
        let cpu = self.plot(
            "CPU of the watched process",
            format!("Cores that the watched process used; at most {}.", unit::count(most)),
            ("cores", Unit::Count, Scale::from_zero(most)),
            vec![self.line("cores", 0, cores)],
            &|moment| format!("{} cores", unit::count(cores(moment))),
        );
        let most = self.most(resident);
        let memory = self.plot(
            "Memory of the watched process",
            format!("Resident memory of the watched process; at most {}.", unit::bytes(most)),
            ("resident", Unit::Bytes, byte_scale(most)),
            vec![self.line("resident", 0, resident)],
            &|moment| format!("{} resident", unit::bytes(resident(moment))),
        );
        vec![cpu, memory]
    }

    fn line(&self, name: &str, tone: usize, of: impl Fn(&Moment) -> f64) -> Layer {
        let points = self.moments.iter().map(|moment| (moment.middle(), of(moment))).collect();
        Layer { name: name.into(), tone, forms: vec![Form::Line(points)] }
    }

    fn most(&self, of: impl Fn(&Moment) -> f64) -> f64 {
        self.moments.iter().map(of).filter(|value| value.is_finite()).fold(0.0, f64::max)
    }

    fn plot(
        &self,
        title: &str,
        about: String,
        (y_title, unit, scale): (&str, Unit, Scale),
        layers: Vec<Layer>,
        hint: &dyn Fn(&Moment) -> String,
    ) -> Plot {
        let end = self.moments.last().map_or(1.0, |moment| moment.to);
        let warm = self.moments.iter().take_while(|moment| moment.warm_up).last();
        Plot {
            title: title.into(),
            about,
            x: Axis { title: "time since the start".into(), scale: Scale::exact(0.0, end), unit: Unit::Clock },
            y: Axis { title: y_title.into(), scale, unit },
            layers,
            rules: Vec::new(),
            shades: warm.map(|last| Shade { from: 0.0, to: last.to, text: "warm-up".into() }).into_iter().collect(),
            hints: self.moments.iter().map(|moment| self.hint(moment, hint)).collect(),
            strip: Some(self.strip()),
        }
    }

    fn hint(&self, moment: &Moment, of: &dyn Fn(&Moment) -> String) -> Hint {
        let level = Level::of_late(moment.late, self.typical).max(Level::of_cpu(moment.cpu));
        let warning = match level {
            Level::Fine => "",
            Level::Watch => " (the tester was strained)",
            Level::Bad => " (the tester itself was too slow)",
        };
        let text = format!("at {}: {}{warning}", unit::clock(moment.from), of(moment));
        Hint { from: moment.from, to: moment.to, text }
    }
}

/// From zero to a round number of binary units, so that ticks are round as well.
fn byte_scale(most: f64) -> Scale {
    let base = unit::byte_unit(most);
    match Scale::from_zero(most / base) {
        Scale::Linear { high, .. } => Scale::Linear { low: 0.0, high: high * base },
        log @ Scale::Log { .. } => log,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course() -> Course {
        let moment = |second: u32| {
            let mut ended = [0.0; Outcome::ALL.len()];
            ended[Outcome::Ok as usize] = 90.0;
            ended[Outcome::Timeout as usize] = if second == 3 { 10.0 } else { 0.0 };
            ended[Outcome::Closed as usize] = if second == 3 { 5.0 } else { 0.0 };
            Moment {
                from: f64::from(second),
                to: f64::from(second + 1),
                warm_up: second < 2,
                due: 100.0,
                ended,
                good: 80.0,
                ttft: [10e6, 20e6],
                e2e: [10e6, 20e6],
                late: if second == 4 { 8e6 } else { 50e3 },
                cpu: 0.2,
                ..Moment::default()
            }
        };
        Course { moments: (0..6).map(moment).collect(), typical: 10e6, ttft_bounds: vec![50e6] }
    }

    #[test]
    fn failures_are_stacked_and_only_those_there_were() {
        let plot = course().outcomes();
        let names: Vec<_> = plot.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["closed", "timeout"]);
        let Form::Area(top) = &plot.layers[1].forms[0] else { panic!("no area") };
        assert!(top.contains(&(3.0, 5.0, 15.0)), "{top:?}");
        assert_eq!(plot.y.scale, Scale::Linear { low: 0.0, high: 15.0 });
        assert_eq!(Course::default().outcomes().title, "Failures each second: none");
    }

    #[test]
    fn warm_up_is_set_apart_and_a_slow_tester_is_named() {
        let plot = course().rate();
        assert_eq!(plot.shades[0].to, 2.0);
        assert!(plot.hints[4].text.ends_with("(the tester was strained)") || plot.hints[4].text.contains("too slow"));
        assert!(plot.hints[1].text.starts_with("at 1 s: 100 due, 90 ended, 90 ok"), "{}", plot.hints[1].text);
        assert_eq!(course().strip().worst(), Level::Bad);
    }

    #[test]
    fn an_objective_in_reach_is_drawn_inside() {
        let plot = course().latency();
        assert_eq!(plot.layers.len(), 2, "no second pair where both are the same");
        assert_eq!(plot.rules[0].1, "TTFT objective 50 ms");
        assert_eq!(plot.y.scale, Scale::Linear { low: 0.0, high: 60e6 });
    }

    #[test]
    fn an_empty_course_draws_without_a_word() {
        for plot in Course::default().plots() {
            let look = super::super::plot::Look { width: 300.0, height: 80.0, alone: true, hints: true };
            assert!(!plot.draw(&look).document("").contains("NaN"));
        }
    }
}
