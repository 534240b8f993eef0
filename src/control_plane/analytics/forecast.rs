//! What days to come may cost, from what days gone by did cost: pure, without store, clock or chance.
//!
//! The model, in the order of its steps:
//!
//! 1. **Days of the week**: the ratio of each day to the mean of the seven days around it; the median of a weekday's ratios is its factor,
//!    drawn towards 1 while there are few. Days are divided by their factors.
//! 2. **Level and damped trend** (Gardner and McKenzie 1985: Holt's method, whose trend fades), with the smoothing that best foretold the
//!    sums of seven days so far. A day far from what was expected moves the level only as much as three usual errors, so that one
//!    runaway job does not become the new normal.
//! 3. **Paths**: the future is played many times over with the errors of the past, drawn in blocks of days so that bad weeks stay bad weeks.
//!    The middle path is the forecast; the paths' quantiles are its interval.
//!
//! The draws come from a fixed seed: the same history gives the same forecast, to the last bit.

/// Days that say something about the future; older ones do not.
pub const HISTORY_DAYS_MAX: usize = 182;
/// Days below which nothing is said about weekdays or trends, and the interval is wide.
pub const HISTORY_DAYS_LITTLE: usize = 14;
/// How often the future is played for an answer.
pub const PATHS: usize = 1_000;
/// How often for each forecast of a backtest.
pub const PATHS_TRIED: usize = 400;

/// What is left of the time that is asked about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ahead {
    /// The part of the first day that is yet to come, from 0 to 1.
    pub first: f64,
    /// Days in all, the first one included.
    pub days: usize,
}

/// An estimate with the bounds that four in five, and nineteen in twenty, outcomes should keep.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Band {
    /// The middle.
    pub point: f64,
    /// From and to, for 80 %.
    pub most: (f64, f64),
    /// From and to, for 95 %.
    pub nearly_all: (f64, f64),
}

/// What the days ahead may come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// All of them together.
    pub sum: Band,
    /// Each of them; the first one is what is left of it.
    pub days: Vec<Band>,
    /// Days of history that were used.
    pub history: usize,
}

/// A fitted model.
struct Model {
    state: State,
    smoothing: Smoothing,
    factors: [f64; 7],
    /// Relative errors of the past, in their order.
    errors: Vec<f64>,
    /// Below this share of the mean an expected day is not divided by.
    floor: f64,
    clip: f64,
    /// How far off the level may be, relative to it.
    doubt: f64,
    /// The weekday after the last day.
    next: usize,
    days: usize,
}

#[derive(Clone, Copy)]
struct Smoothing {
    level: f64,
    trend: f64,
    damping: f64,
}

#[derive(Clone, Copy)]
struct State {
    level: f64,
    trend: f64,
}

/// What the days after `daily` may come to. `weekday` is that of the first day in `daily`: 0 is a Monday. `None` when there is nothing to
/// go by: no day with any cost, or no days ahead.
pub fn outlook(daily: &[f64], weekday: usize, ahead: Ahead, paths: usize) -> Option<Outlook> {
    let model = Model::fit(daily, weekday)?;
    (ahead.days > 0 && paths > 0).then(|| model.play(ahead, paths))
}

// === impl Model ===

impl Model {
    fn fit(daily: &[f64], weekday: usize) -> Option<Self> {
        let begin = daily.iter().position(|cost| *cost > 0.0)?.max(daily.len().saturating_sub(HISTORY_DAYS_MAX));
        let (daily, weekday) = (&daily[begin..], (weekday + begin) % 7);
        let mean = daily.iter().sum::<f64>() / daily.len() as f64;
        if mean <= 0.0 {
            return None;
        }
        let factors = factors(daily, weekday);
        let level: Vec<f64> = daily.iter().enumerate().map(|(day, cost)| cost / factors[(weekday + day) % 7]).collect();
        let floor = mean * FLOOR;
        let smoothing = choose(&level);
        let clip = clip_of(&level);
        let (mut state, errors) = run(&level, smoothing, clip, floor);
        if daily.len() < 2 * HISTORY_DAYS_LITTLE {
            // Whole weeks, so that it does not matter which day is the last.
            let weeks = &daily[daily.len() - if daily.len() < 7 { daily.len() } else { daily.len() / 7 * 7 }..];
            state = State { level: weeks.iter().sum::<f64>() / weeks.len() as f64, trend: 0.0 };
        }
        let doubt = doubt(&level, &errors, smoothing, clip);
        Some(Self {
            state,
            smoothing,
            factors,
            errors,
            floor,
            clip,
            doubt,
            next: (weekday + daily.len()) % 7,
            days: daily.len(),
        })
    }

    /// Plays the future so many times.
    fn play(&self, ahead: Ahead, paths: usize) -> Outlook {
        let mut dice = Dice(SEED);
        let mut days = vec![Vec::with_capacity(paths); ahead.days];
        let mut sums = Vec::with_capacity(paths);
        let spread = self.spread();
        for _ in 0..paths {
            let mut state = self.state;
            state.level *= 1.0 + self.doubt * dice.normal();
            let (mut sum, mut block, mut at) = (0.0, 0, 0);
            for (day, seen) in days.iter_mut().enumerate() {
                if block == 0 {
                    (block, at) = (BLOCK, dice.below(self.errors.len()));
                }
                let error = spread * self.errors[at];
                (block, at) = (block - 1, (at + 1) % self.errors.len());
                let expected = state.ahead(self.smoothing);
                let level = (expected + error * expected.max(self.floor)).max(0.0);
                let whole = level * self.factors[(self.next + day) % 7];
                let cost = if day == 0 { whole * ahead.first } else { whole };
                state.learn(self.smoothing, level - expected, self.clip);
                seen.push(cost);
                sum += cost;
            }
            sums.push(sum);
        }
        Outlook { sum: Band::of(sums), days: days.into_iter().map(Band::of).collect(), history: self.days }
    }

    /// Errors of a fit are smaller than those of what was not fitted, the more so the less there was.
    fn spread(&self) -> f64 {
        let days = self.days as f64;
        1.0 + 6.0 / days
    }
}

impl State {
    fn ahead(self, smoothing: Smoothing) -> f64 {
        (self.level + smoothing.damping * self.trend).max(0.0)
    }

    fn learn(&mut self, smoothing: Smoothing, error: f64, clip: f64) {
        let error = error.clamp(-clip, clip);
        let before = self.level;
        self.level = (self.level + smoothing.damping * self.trend + smoothing.level * error).max(0.0);
        self.trend = smoothing.damping * self.trend + smoothing.trend * error;
        // What fell to nothing does not go on falling.
        if self.level == 0.0 && before == 0.0 {
            self.trend = self.trend.max(0.0);
        }
    }
}

/// Goes through the days once: the state after them, and the relative error of each.
fn run(level: &[f64], smoothing: Smoothing, clip: f64, floor: f64) -> (State, Vec<f64>) {
    let mut state = first_state(level);
    let mut errors = Vec::with_capacity(level.len());
    for day in level {
        let expected = state.ahead(smoothing);
        errors.push((day - expected) / expected.max(floor));
        state.learn(smoothing, day - expected, clip);
    }
    (state, errors)
}

fn first_state(level: &[f64]) -> State {
    let first = &level[..level.len().min(7)];
    State { level: first.iter().sum::<f64>() / first.len() as f64, trend: 0.0 }
}

/// The smoothing that best foretold sums of seven days.
fn choose(level: &[f64]) -> Smoothing {
    let plain = Smoothing { level: 0.2, trend: 0.0, damping: 0.9 };
    if level.len() < 2 * HISTORY_DAYS_LITTLE {
        return plain;
    }
    let clip = clip_of(level);
    let mut best = (f64::INFINITY, plain);
    for by_level in [0.05, 0.1, 0.2, 0.35, 0.6] {
        for share in [0.0, 0.05, 0.15] {
            for damping in [0.9, 0.97] {
                let one = Smoothing { level: by_level, trend: by_level * share, damping };
                let missed = missed(level, one, clip).iter().sum();
                if missed < best.0 {
                    best = (missed, one);
                }
            }
        }
    }
    best.1
}

/// By how much sums of seven days were missed, relative to the mean of seven days.
fn missed(level: &[f64], smoothing: Smoothing, clip: f64) -> Vec<f64> {
    let usual = 7.0 * level.iter().sum::<f64>() / level.len() as f64;
    let mut state = first_state(level);
    let mut missed = Vec::with_capacity(level.len());
    for (day, seen) in level.iter().enumerate() {
        if let Some(week) = level.get(day..day + 7).filter(|_| day >= 7) {
            let (mut path, mut foretold) = (state, 0.0);
            for _ in week {
                foretold += path.ahead(smoothing);
                path.learn(smoothing, 0.0, clip);
            }
            let came = week.iter().sum::<f64>();
            missed.push((foretold - came).abs() / foretold.max(came).max(usual * FLOOR));
        }
        state.learn(smoothing, seen - state.ahead(smoothing), clip);
    }
    missed
}

/// How far off the level may be, relative to it: as far as sums of seven days were missed beyond what their days' own errors explain.
fn doubt(level: &[f64], errors: &[f64], smoothing: Smoothing, clip: f64) -> f64 {
    let days = errors.len() as f64;
    let deviation = (errors.iter().map(|error| error * error).sum::<f64>() / days).sqrt();
    if errors.len() < 2 * HISTORY_DAYS_LITTLE {
        let little = if errors.len() < HISTORY_DAYS_LITTLE { DOUBT_LITTLE } else { DOUBT_SOME };
        return (deviation / days.sqrt()).hypot(little / days.sqrt());
    }
    let mut missed = missed(level, smoothing, clip);
    let square = |errors: &[f64]| errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64;
    let kept = missed.len() - missed.len() / 20;
    let weeks = square(&sorted(&mut missed)[..kept]);
    (weeks - deviation * deviation / 7.0).max(0.0).sqrt().max(DOUBT_LEAST)
}

/// Three usual steps from one day to the next: what the level may learn from a single day.
fn clip_of(level: &[f64]) -> f64 {
    let mean = level.iter().sum::<f64>() / level.len() as f64;
    let mut steps: Vec<f64> = level.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    let usual = if steps.is_empty() { mean } else { quantile(sorted(&mut steps), 0.5) };
    // Where most days are the same, or empty, a day is still news.
    (3.0 * usual).max(0.5 * mean)
}

/// What each weekday costs against the mean of a week; all 1 while there is little to go by.
fn factors(daily: &[f64], weekday: usize) -> [f64; 7] {
    if daily.len() < HISTORY_DAYS_LITTLE {
        return [1.0; 7];
    }
    let mut ratios: [Vec<f64>; 7] = Default::default();
    for (day, week) in daily.windows(7).enumerate() {
        let mean = week.iter().sum::<f64>() / 7.0;
        if mean > 0.0 {
            ratios[(weekday + day + 3) % 7].push(week[3] / mean);
        }
    }
    let often_empty = daily.iter().filter(|cost| **cost <= 0.0).count() * 4 > daily.len();
    let mut factors = [1.0; 7];
    for (factor, ratios) in factors.iter_mut().zip(&mut ratios) {
        let count = ratios.len() as f64;
        // Where days are often empty a median says 0 of all of them.
        let middle = match ratios.is_empty() {
            true => 1.0,
            false if often_empty => ratios.iter().sum::<f64>() / count,
            false => quantile(sorted(ratios), 0.5),
        };
        let pull = if often_empty { SHRINK_EMPTY } else { SHRINK / count.max(1.0) };
        *factor = (count * middle + pull) / (count + pull);
    }
    let mean = factors.iter().sum::<f64>() / 7.0;
    factors.map(|factor| (factor / mean).max(0.02))
}

// === impl Band ===

impl Band {
    fn of(mut outcomes: Vec<f64>) -> Self {
        let outcomes = sorted(&mut outcomes);
        let at = |share| quantile(outcomes, share);
        Self { point: at(0.5), most: (at(0.1), at(0.9)), nearly_all: (at(0.025), at(0.975)) }
    }

    /// The same above what is already known.
    #[must_use]
    pub fn above(self, known: f64) -> Self {
        let both = |(low, high): (f64, f64)| (low + known, high + known);
        Self { point: self.point + known, most: both(self.most), nearly_all: both(self.nearly_all) }
    }
}

fn sorted(values: &mut [f64]) -> &[f64] {
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// A quantile of sorted values, between two of them in proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, most: usize) -> usize {
        (self.share() * most as f64) as usize
    }

    /// Nearly normal: the sum of twelve (Irwin and Hall).
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }
}

const SEED: u64 = 0x1971_0622;
/// Days of a block of errors.
const BLOCK: usize = 4;
/// Weeks that a weekday's first ratio has to outweigh; the more there are, the less they have to.
const SHRINK: f64 = 0.3;
/// The same where days are often empty, and which ones is chance.
const SHRINK_EMPTY: f64 = 8.0;
/// Share of the mean below which an expected day is not divided by.
const FLOOR: f64 = 0.25;
/// How far off the level may be at least: a world that changes, in relative terms.
const DOUBT_LEAST: f64 = 0.01;
/// The same of a level from few days, over the root of their number.
const DOUBT_LITTLE: f64 = 0.6;
/// The same of a level from two to four weeks.
const DOUBT_SOME: f64 = 0.3;

#[cfg(test)]
#[path = "forecast_tests.rs"]
mod tests;
