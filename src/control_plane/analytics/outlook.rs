//! What a month will have come to at its end: the books so far, and the model's word on the days that are left.

use super::backtest::{self, weekday};
use super::forecast::{Ahead, Band, HISTORY_DAYS_LITTLE, Outlook, PATHS, outlook};
use super::window::instant;
use super::{Books, ControlError, DAY_HOURS, HOUR_MS, rounded};
use crate::domain::budget::Period;
use crate::domain::money::Money;
use crate::limits::analytics::{HISTORY_DAYS, SHARES_MAX};
use crate::store::{Bucket, Dimension, SumQuestion, UsageRow};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ForecastAnswer {
    /// `forecast`.
    pub object: &'static str,
    /// Whose; null for all tenants together.
    pub tenant: Option<String>,
    /// `2026-11`, UTC.
    pub month: String,
    /// RFC 3339: where the month begins.
    pub from: String,
    /// RFC 3339: where it ends.
    pub to: String,
    /// RFC 3339: now.
    pub as_of: String,
    /// What it came to until now.
    pub month_to_date: Amount,
    /// What it will come to; null where nothing can be said, and `reason` says why.
    pub forecast: Option<Estimate>,
    /// What to think of the forecast: why there is none, or why its interval is wide.
    pub reason: Option<String>,
    /// What the month would come to if every day were like the mean of its days so far; null before its first hour is over.
    pub naive_usd: Option<f64>,
    /// The model.
    pub method: &'static str,
    /// Days before today that the forecast goes by.
    pub history_days: usize,
    /// The days of the month until yesterday.
    pub actual: Vec<ActualDay>,
    /// Today, with what it came to already, and the days to come.
    pub days: Vec<ExpectedDay>,
    /// How good forecasts would have been; null while there is too little past.
    pub backtest: Option<BacktestAnswer>,
    /// Each provider's part, by its share of the last four weeks.
    pub by_provider: BTreeMap<String, Share>,
    /// The same for models.
    pub by_model: BTreeMap<String, Share>,
}

/// Money that was spent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Amount {
    /// Dollars as exact text.
    pub cost: String,
    /// The same as a float.
    pub cost_usd: f64,
}

/// Money that may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Dollars, the middle.
    pub cost_usd: f64,
    /// Holds four outcomes in five.
    pub interval_80: Interval,
    /// Holds nineteen outcomes in twenty.
    pub interval_95: Interval,
}

/// From and to, in dollars.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// From.
    pub low_usd: f64,
    /// To.
    pub high_usd: f64,
}

/// A day that is over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActualDay {
    /// `2026-11-26`.
    pub date: String,
    /// What it came to.
    #[serde(flatten)]
    pub amount: Amount,
}

/// A day that is not over.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExpectedDay {
    /// `2026-11-26`.
    pub date: String,
    /// What it may come to.
    #[serde(flatten)]
    pub estimate: Estimate,
}

/// How good forecasts would have been, in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BacktestAnswer {
    /// What was foretold: `month` or `week`.
    pub target: &'static str,
    /// How many forecasts were checked.
    pub forecasts: usize,
    /// Mean absolute error.
    pub mape_percent: f64,
    /// The same of the naive run rate.
    pub naive_mape_percent: f64,
    /// Outcomes within the interval for 80 %.
    pub coverage_80_percent: f64,
    /// Outcomes within the interval for 95 %.
    pub coverage_95_percent: f64,
}

/// One name's part of the month.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// What it came to until now.
    pub month_to_date: Amount,
    /// What it will come to; null where there is no forecast.
    pub forecast_usd: Option<f64>,
}

/// What the days before today cost, and today so far.
struct Past {
    /// Days since the Unix epoch.
    first_day: u64,
    daily: Vec<Money>,
    today: Money,
}

/// Foretells the month that is under way.
///
/// # Errors
/// The store cannot be read, or it takes too long.
pub fn forecast(books: &Books) -> Result<ForecastAnswer, ControlError> {
    let (now, today) = (books.now, books.now.0 / DAY_MS);
    let begin = Period::Month.start(now);
    let end = Period::Month.end(now).unwrap_or(begin);
    let so_far = UsageRow::hour_of(begin)..UsageRow::hour_of(now) + 1;
    let spent = books.total(so_far.clone())?.cost;
    let past = Past::read(books, today)?;
    let daily: Vec<f64> = past.daily.iter().map(|cost| cost.to_usd()).collect();
    let gone = (now.0 % DAY_MS) as f64 / DAY_MS as f64;
    let left = usize::try_from(end.0 / DAY_MS - today).unwrap_or(0);
    let told = outlook(&daily, weekday(past.first_day), Ahead { first: 1.0 - gone, days: left }, PATHS);
    let forecast = told.as_ref().map(|told| told.sum.above(spent.to_usd()));
    let known = (now.0 - begin.0) as f64 / (end.0 - begin.0) as f64;
    let shares =
        |dimension| shares(books, dimension, so_far.clone(), today, forecast.map(|band| band.point - spent.to_usd()));
    Ok(ForecastAnswer {
        object: "forecast",
        tenant: books.tenant().map(ToString::to_string),
        month: begin.to_rfc3339().chars().take(7).collect(),
        from: begin.to_rfc3339(),
        to: end.to_rfc3339(),
        as_of: now.to_rfc3339(),
        month_to_date: Amount::of(spent),
        forecast: forecast.map(Estimate::of),
        reason: reason(told.as_ref()),
        naive_usd: (known * (end.0 - begin.0) as f64 >= HOUR_MS as f64).then(|| rounded(spent.to_usd() / known)),
        method: METHOD,
        history_days: told.as_ref().map_or(0, |told| told.history),
        actual: past.since(begin.0 / DAY_MS),
        days: told.as_ref().map(|told| expected(told, today, past.today)).unwrap_or_default(),
        backtest: backtest::backtest(&daily, past.first_day).map(BacktestAnswer::of),
        by_provider: shares(Dimension::Provider)?,
        by_model: shares(Dimension::Model)?,
    })
}

fn reason(told: Option<&Outlook>) -> Option<String> {
    let Some(told) = told else {
        return Some(format!(
            "nothing was spent on any of the {HISTORY_DAYS} days before today; a forecast needs one whole day with costs"
        ));
    };
    (told.history < HISTORY_DAYS_LITTLE).then(|| {
        format!(
            "there are {} days of history; below {HISTORY_DAYS_LITTLE} weekdays and trends cannot be told apart, and the interval is wide",
            told.history
        )
    })
}

fn expected(told: &Outlook, today: u64, so_far: Money) -> Vec<ExpectedDay> {
    let day = |(place, band): (u64, &Band)| {
        let band = if place == 0 { band.above(so_far.to_usd()) } else { *band };
        ExpectedDay { date: date(today + place), estimate: Estimate::of(band) }
    };
    (0..).zip(&told.days).map(day).collect()
}

/// What each name has of the month so far, and its part of the days to come by its share of the last four weeks.
fn shares(
    books: &Books,
    dimension: Dimension,
    so_far: Range<u64>,
    today: u64,
    to_come: Option<f64>,
) -> Result<BTreeMap<String, Share>, ControlError> {
    let lately = today.saturating_sub(28) * DAY_HOURS..so_far.end;
    let by = |hours: Range<u64>| {
        let question = SumQuestion { hours, group_by: vec![dimension], bucket: None, skip: 0, most: SHARES_MAX };
        let rows = books.sums(&question)?.into_iter();
        Ok::<_, ControlError>(
            rows.filter_map(|row| Some((row.names.into_iter().next()?, row.sums.cost))).collect::<BTreeMap<_, _>>(),
        )
    };
    let all = books.total(lately.clone())?.cost.to_usd();
    let (spent, lately) = (by(so_far)?, by(lately)?);
    let names = spent.keys().chain(lately.keys()).cloned();
    let share = |name: String| {
        let month = spent.get(&name).copied().unwrap_or_default();
        let part = lately.get(&name).map_or(0.0, |cost| cost.to_usd()) / all;
        let forecast = to_come.filter(|_| all > 0.0).map(|to_come| rounded(month.to_usd() + to_come * part));
        (name, Share { month_to_date: Amount::of(month), forecast_usd: forecast })
    };
    Ok(names.map(share).collect())
}

// === impl Past ===

impl Past {
    fn read(books: &Books, today: u64) -> Result<Self, ControlError> {
        let first_day = today.saturating_sub(HISTORY_DAYS);
        let hours = first_day * DAY_HOURS..(today + 1) * DAY_HOURS;
        let question =
            SumQuestion { hours, group_by: Vec::new(), bucket: Some(Bucket::Day), skip: 0, most: HISTORY_DAYS + 1 };
        let mut daily = vec![Money::ZERO; usize::try_from(today - first_day + 1).unwrap_or(0)];
        for row in books.sums(&question)? {
            let place = usize::try_from(row.hour / DAY_HOURS - first_day).unwrap_or(usize::MAX);
            if let Some(day) = daily.get_mut(place) {
                *day = row.sums.cost;
            }
        }
        let today = daily.pop().unwrap_or_default();
        Ok(Self { first_day, daily, today })
    }

    /// The days from one on until yesterday.
    fn since(&self, day: u64) -> Vec<ActualDay> {
        let days = (self.first_day..).zip(&self.daily).filter(|(one, _)| *one >= day);
        days.map(|(day, cost)| ActualDay { date: date(day), amount: Amount::of(*cost) }).collect()
    }
}

// === impl Amount, Estimate, BacktestAnswer ===

impl Amount {
    fn of(cost: Money) -> Self {
        Self { cost: cost.to_string(), cost_usd: cost.to_usd() }
    }
}

impl Estimate {
    fn of(band: Band) -> Self {
        let interval = |(low, high): (f64, f64)| Interval { low_usd: rounded(low), high_usd: rounded(high) };
        Self { cost_usd: rounded(band.point), interval_80: interval(band.most), interval_95: interval(band.nearly_all) }
    }
}

impl BacktestAnswer {
    fn of(found: backtest::Backtest) -> Self {
        let percent = |figure: f64| (figure * 10.0).round() / 10.0;
        Self {
            target: found.target,
            forecasts: found.forecasts,
            mape_percent: percent(found.mape),
            naive_mape_percent: percent(found.naive_mape),
            coverage_80_percent: percent(found.coverage_80),
            coverage_95_percent: percent(found.coverage_95),
        }
    }
}

fn date(day: u64) -> String {
    instant(day * DAY_HOURS).chars().take(10).collect()
}

/// In answers; the whole of it is in `docs/costs.md`.
const METHOD: &str = "weekday factors, exponential smoothing with a damped trend, block bootstrap of past errors";
const DAY_MS: u64 = 86_400_000;
