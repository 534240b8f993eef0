//! Distributions as people type them: of lengths in tokens and turns, and of waits.
//!
//! ```text
//! 200                                  always 200              uniform:50..400      evenly between, ends included
//! normal:200,50                        mean, deviation         lognormal:200,0.6    median, deviation of the logarithm
//! lognormal:200,p99=900                median, 99th percentile zipf:2000,1.1        1 to 2000, small ones most often
//! exponential:200                      mean                    geometric:3          1, 2, 3 …, with mean 3
//! list:10,20,400                       one of these            recorded             as the trace or the conversations have it
//! ```
//! `min=` and `max=` may follow and bound what is drawn: `lognormal:200,0.6,min=10,max=4000`. Waits are the same with units:
//! `2s`, `uniform:1s..5s`, `exponential:3s`.

use super::Span;
use crate::simulator::duration;
use rand::{Rng, RngCore};
use rand_distr::{Distribution as _, Exp1, StandardNormal, Zipf};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A distribution of whole numbers: tokens, or turns. What is drawn is rounded and at least 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Lengths(Spread);

/// A distribution of times.
#[derive(Clone, Debug, PartialEq)]
pub struct Waits(Spread);

/// A distribution over numbers or seconds, with bounds.
#[derive(Clone, Debug, PartialEq)]
struct Spread {
    shape: Shape,
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Fixed(f64),
    Uniform { from: f64, to: f64 },
    Normal { mean: f64, deviation: f64 },
    LogNormal { median: f64, sigma: f64 },
    Exponential { mean: f64 },
    Geometric { mean: f64 },
    Zipf { most: f64, exponent: f64 },
    List(Vec<f64>),
    Recorded,
}

/// How a number of a distribution is typed and written.
struct Unit {
    read: fn(&str) -> Result<f64, String>,
    write: fn(f64) -> String,
    /// Whether it is counted in whole steps.
    whole: bool,
}

const COUNT: Unit = Unit { read: count, write: |number| number.to_string(), whole: true };
const TIME: Unit = Unit {
    read: |text| duration(text).map(|time| time.as_secs_f64()),
    write: |seconds| Span(Duration::from_secs_f64(seconds)).to_string(),
    whole: false,
};

/// The most that is ever drawn: tokens of the longest contexts there are, with room.
const COUNT_MAX: f64 = 10_000_000.0;
/// A day.
const SECONDS_MAX: f64 = 86_400.0;
/// Where the standard normal distribution has 99 % below it.
const Z_99: f64 = 2.326_347_874;

// === impl Lengths ===

impl Lengths {
    /// What is drawn, at least 1; `None` where it is as recorded.
    pub fn draw(&self, generator: &mut impl RngCore) -> Option<u32> {
        self.0.draw(generator, true).map(|number| number.round().clamp(1.0, COUNT_MAX) as u32)
    }

    /// The one value, where there is only one.
    pub fn fixed(&self) -> Option<u32> {
        self.0.fixed().map(|number| number as u32)
    }

    /// Whether a file decides.
    pub fn is_recorded(&self) -> bool {
        self.0.shape == Shape::Recorded
    }
}

impl From<u32> for Lengths {
    fn from(number: u32) -> Self {
        Self(Spread { shape: Shape::Fixed(number.into()), min: None, max: None })
    }
}

impl FromStr for Lengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Spread::parse(text, &COUNT).map(Self)
    }
}

impl fmt::Display for Lengths {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(&COUNT, out)
    }
}

impl Serialize for Lengths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.fixed() {
            Some(number) => serializer.serialize_u32(number),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Lengths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Typed)
    }
}

/// Reads a number or a text.
struct Typed;

impl de::Visitor<'_> for Typed {
    type Value = Lengths;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a number such as 200 or a distribution such as \"lognormal:200,0.6\"")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Lengths, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Lengths, E> {
        number.to_string().parse().map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Lengths, E> {
        text.parse().map_err(E::custom)
    }
}

// === impl Waits ===

impl Waits {
    /// What is drawn; `None` where it is as recorded.
    pub fn draw(&self, generator: &mut impl RngCore) -> Option<Duration> {
        let seconds = self.0.draw(generator, false)?;
        Some(Duration::from_secs_f64(seconds.clamp(0.0, SECONDS_MAX)))
    }

    /// Whether a file decides.
    pub fn is_recorded(&self) -> bool {
        self.0.shape == Shape::Recorded
    }
}

impl From<Duration> for Waits {
    fn from(time: Duration) -> Self {
        Self(Spread { shape: Shape::Fixed(time.as_secs_f64()), min: None, max: None })
    }
}

impl FromStr for Waits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Spread::parse(text, &TIME).map(Self)
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(&TIME, out)
    }
}

impl Serialize for Waits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Waits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

// === impl Spread ===

impl Spread {
    fn fixed(&self) -> Option<f64> {
        match self.shape {
            Shape::Fixed(number) if self.min.is_none() && self.max.is_none() => Some(number),
            _ => None,
        }
    }

    fn draw(&self, generator: &mut impl RngCore, whole: bool) -> Option<f64> {
        let drawn = match &self.shape {
            Shape::Fixed(number) => *number,
            Shape::Uniform { from, to } => {
                let width = if whole { to - from + 1.0 } else { to - from };
                let drawn = from + generator.random::<f64>() * width;
                if whole { drawn.floor() } else { drawn }
            }
            Shape::Normal { mean, deviation } => mean + deviation * normal(generator),
            Shape::LogNormal { median, sigma } => median * (sigma * normal(generator)).exp(),
            Shape::Exponential { mean } => mean * exponential(generator),
            Shape::Geometric { mean } => geometric(*mean, generator),
            // The constructor refuses what `Spread::parse` has refused already.
            Shape::Zipf { most, exponent } => Zipf::new(*most, *exponent).map_or(1.0, |zipf| zipf.sample(generator)),
            Shape::List(all) => all[(generator.random::<f64>() * all.len() as f64) as usize],
            Shape::Recorded => return None,
        };
        Some(drawn.max(self.min.unwrap_or(0.0)).min(self.max.unwrap_or(f64::INFINITY)))
    }

    fn parse(text: &str, unit: &Unit) -> Result<Self, String> {
        let text = text.trim();
        if text == "recorded" {
            return Ok(Self { shape: Shape::Recorded, min: None, max: None });
        }
        let (kind, rest) = text.split_once(':').unwrap_or(("fixed", text));
        let (mut min, mut max, mut p99) = (None, None, None);
        let mut plain = Vec::new();
        for part in rest.split(',').map(str::trim) {
            match part.split_once('=') {
                Some(("min", bound)) => min = Some((unit.read)(bound)?),
                Some(("max", bound)) => max = Some((unit.read)(bound)?),
                Some(("p99", bound)) if kind == "lognormal" => p99 = Some((unit.read)(bound)?),
                Some((name, _)) => return Err(format!("{name:?} is no part of {text:?}; there are min= and max=")),
                None => plain.push(part),
            }
        }
        let shape = Shape::parse(kind, &plain, p99, unit).map_err(|reason| format!("{text:?}: {reason}"))?;
        if let (Some(least), Some(most)) = (min, max)
            && least > most
        {
            return Err(format!("{text:?}: min is above max; exchange them"));
        }
        Ok(Self { shape, min, max })
    }

    fn write(&self, unit: &Unit, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let say = unit.write;
        match &self.shape {
            Shape::Fixed(number) if self.fixed().is_some() => out.write_str(&say(*number))?,
            Shape::Fixed(number) => write!(out, "fixed:{}", say(*number))?,
            Shape::Uniform { from, to } => write!(out, "uniform:{}..{}", say(*from), say(*to))?,
            Shape::Normal { mean, deviation } => write!(out, "normal:{},{}", say(*mean), say(*deviation))?,
            Shape::LogNormal { median, sigma } => write!(out, "lognormal:{},{sigma}", say(*median))?,
            Shape::Exponential { mean } => write!(out, "exponential:{}", say(*mean))?,
            Shape::Geometric { mean } => write!(out, "geometric:{mean}")?,
            Shape::Zipf { most, exponent } => write!(out, "zipf:{most},{exponent}")?,
            Shape::List(all) => {
                let all: Vec<_> = all.iter().map(|number| say(*number)).collect();
                write!(out, "list:{}", all.join(","))?;
            }
            Shape::Recorded => out.write_str("recorded")?,
        }
        if let Some(min) = self.min {
            write!(out, ",min={}", say(min))?;
        }
        if let Some(max) = self.max {
            write!(out, ",max={}", say(max))?;
        }
        Ok(())
    }
}

// === impl Shape ===

impl Shape {
    fn parse(kind: &str, parts: &[&str], p99: Option<f64>, unit: &Unit) -> Result<Self, String> {
        let read = unit.read;
        Ok(match (kind, parts) {
            ("fixed", [number]) => Self::Fixed(read(number)?),
            ("uniform", [range]) => {
                let (from, to) = range.split_once("..").ok_or("write the ends as in uniform:50..400")?;
                let (from, to) = (read(from)?, read(to)?);
                if from > to {
                    return Err("the range runs backwards; exchange its ends".into());
                }
                Self::Uniform { from, to }
            }
            ("normal", [mean, deviation]) => Self::Normal { mean: read(mean)?, deviation: read(deviation)? },
            ("lognormal", [median, sigma]) => Self::log_normal(read(median)?, plain(sigma)?)?,
            ("lognormal", [median]) => {
                let (median, p99) = (read(median)?, p99.ok_or("it needs its deviation too, as in lognormal:200,0.6")?);
                Self::log_normal(median, (p99 / median).ln() / Z_99)?
            }
            ("exponential", [mean]) => Self::Exponential { mean: read(mean)? },
            ("geometric", [mean]) if unit.whole => match plain(mean)? {
                mean if mean >= 1.0 => Self::Geometric { mean },
                _ => return Err("its mean is 1 at least".into()),
            },
            ("zipf", [most, exponent]) if unit.whole => match (read(most)?, plain(exponent)?) {
                (most, exponent) if most >= 1.0 && exponent > 0.0 => Self::Zipf { most, exponent },
                _ => return Err("write the most and an exponent above zero, as in zipf:2000,1.1".into()),
            },
            ("list", all) if !all.is_empty() => Self::List(all.iter().map(|one| read(one)).collect::<Result<_, _>>()?),
            ("fixed" | "uniform" | "normal" | "lognormal" | "exponential" | "geometric" | "zipf", _) => {
                return Err(format!("{kind} is written as in {}", unit.example(kind)));
            }
            _ => return Err(format!("there is no distribution {kind:?}; there are {}", unit.names())),
        })
    }

    fn log_normal(median: f64, sigma: f64) -> Result<Self, String> {
        if median > 0.0 && sigma >= 0.0 {
            Ok(Self::LogNormal { median, sigma })
        } else {
            Err("its median must be above zero and its deviation not below it, as in lognormal:200,0.6".into())
        }
    }
}

impl Unit {
    fn names(&self) -> &'static str {
        if self.whole {
            "fixed, uniform, normal, lognormal, exponential, geometric, zipf, list and recorded"
        } else {
            "fixed, uniform, normal, lognormal, exponential, list and recorded"
        }
    }

    fn example(&self, kind: &str) -> &'static str {
        match (kind, self.whole) {
            ("fixed", true) => "200",
            ("fixed", false) => "2s",
            ("uniform", true) => "uniform:50..400",
            ("uniform", false) => "uniform:1s..5s",
            ("normal", true) => "normal:200,50",
            ("normal", false) => "normal:3s,500ms",
            ("lognormal", true) => "lognormal:200,0.6",
            ("lognormal", false) => "lognormal:3s,0.6",
            ("exponential", true) => "exponential:200",
            ("exponential", false) => "exponential:3s",
            ("geometric", true) => "geometric:3",
            ("zipf", true) => "zipf:2000,1.1",
            _ => "2s; it is for numbers, not for times",
        }
    }
}

fn exponential(generator: &mut impl RngCore) -> f64 {
    Exp1.sample(generator)
}

fn normal(generator: &mut impl RngCore) -> f64 {
    StandardNormal.sample(generator)
}

/// Tries until the first success, by inversion, so that one draw is one number of the generator.
fn geometric(mean: f64, generator: &mut impl RngCore) -> f64 {
    if mean <= 1.0 {
        return 1.0;
    }
    let above_zero = 1.0 - generator.random::<f64>();
    (above_zero.ln() / (1.0 - 1.0 / mean).ln()).ceil().max(1.0)
}

fn count(text: &str) -> Result<f64, String> {
    match text.trim().parse::<u32>() {
        Ok(number) if f64::from(number) <= COUNT_MAX => Ok(number.into()),
        _ => Err(format!("{text:?} is not a whole number between 0 and {COUNT_MAX}")),
    }
}

fn plain(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("{text:?} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::super::draw::{Purpose, generator};
    use super::*;

    fn moments(text: &str) -> (f64, f64, f64) {
        let lengths: Lengths = text.parse().expect(text);
        let drawn = (0..20_000).map(|index| lengths.draw(&mut generator(3, Purpose::PromptLength, index, 0)));
        let mut drawn: Vec<f64> = drawn.map(|one| one.expect("not recorded").into()).collect();
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let variance = drawn.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
        drawn.sort_by(f64::total_cmp);
        (mean, variance.sqrt(), drawn[drawn.len() / 2])
    }

    #[test]
    fn draws_have_the_moments_of_their_distribution() {
        // Expected mean, deviation and median, computed from the distributions' formulas.
        let table = [
            ("200", 200.0, 0.0, 200.0),
            ("uniform:50..400", 225.0, 101.3, 225.0),
            ("normal:200,50", 200.0, 50.0, 200.0),
            ("lognormal:200,0.6", 239.4, 157.8, 200.0),
            ("exponential:200", 200.0, 200.0, 138.6),
            ("geometric:3", 3.0, 2.449, 2.0),
            ("list:10,20,30", 20.0, 8.165, 20.0),
        ];
        for (text, mean, deviation, median) in table {
            let found = moments(text);
            assert!((found.0 - mean).abs() <= 0.03 * mean, "{text}: mean {found:?}");
            assert!((found.1 - deviation).abs() <= 0.06 * deviation + 1e-9, "{text}: deviation {found:?}");
            assert!((found.2 - median).abs() <= 0.03 * median, "{text}: median {found:?}");
        }
        let (mean, deviation, median) = moments("lognormal:200,p99=808");
        assert!((mean - 239.4).abs() < 8.0 && (deviation - 157.8).abs() < 12.0 && (median - 200.0).abs() < 6.0);
        let (zipf, ..) = moments("zipf:100,1.0");
        // 100 / H(100), where H(100) = 5.18738.
        assert!((zipf - 19.28).abs() < 1.0, "{zipf}");
    }

    #[test]
    fn bounds_hold() {
        let lengths: Lengths = "normal:100,80,min=50,max=120".parse().expect("bounds");
        let all = (0..5_000).map(|index| lengths.draw(&mut generator(1, Purpose::Turns, index, 0)).expect("drawn"));
        let (least, most) = all.fold((u32::MAX, 0), |(least, most), one| (least.min(one), most.max(one)));
        assert_eq!((least, most), (50, 120));
        let low: Lengths = "normal:1,50".parse().expect("plain");
        assert!((0..1_000).all(|index| low.draw(&mut generator(1, Purpose::Turns, index, 0)) >= Some(1)));
    }

    #[test]
    fn texts_read_back() {
        for text in [
            "64",
            "uniform:10..200",
            "normal:200,50",
            "lognormal:200,0.6,min=10,max=4000",
            "zipf:2000,1.1",
            "exponential:30",
            "geometric:2.5",
            "list:1,2,3",
            "fixed:5,max=7",
            "recorded",
        ] {
            assert_eq!(text.parse::<Lengths>().expect(text).to_string(), text);
        }
        for text in ["2s", "uniform:1s..5s", "exponential:1500ms", "lognormal:3s,0.6,max=60s", "list:1s,2s", "recorded"]
        {
            assert_eq!(text.parse::<Waits>().expect(text).to_string(), text);
        }
        assert_eq!("fixed:64".parse::<Lengths>(), Ok(64.into()));
    }

    #[test]
    fn what_is_wrong_is_told_with_a_remedy() {
        let said = |text: &str| text.parse::<Lengths>().expect_err(text);
        assert!(said("gauss:1,2").contains("there are fixed, uniform, normal"), "{}", said("gauss:1,2"));
        assert!(said("uniform:5").contains("uniform:50..400"), "{}", said("uniform:5"));
        assert!(said("uniform:9..5").contains("exchange"), "{}", said("uniform:9..5"));
        assert!(said("lognormal:200").contains("lognormal:200,0.6"), "{}", said("lognormal:200"));
        assert!(said("normal:200,50,most=7").contains("min= and max="), "{}", said("normal:200,50,most=7"));
        assert!(said("-3").contains("whole number"), "{}", said("-3"));
        assert!("zipf:3,1".parse::<Waits>().expect_err("a time").contains("2s"));
        assert!("5".parse::<Waits>().expect_err("no unit").contains("5ms"));
    }
}
