//! Providers with a script: how fast, how sure and how dear each is at every moment, and what one request meets there.
//!
//! A request's luck at a provider depends on the seed, the request and the provider alone: every policy meets the same world.

use fastrand::Rng;

/// How a provider is at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Truth {
    /// Median time to the answer of a short prompt, milliseconds.
    pub median_ms: f64,
    /// Standard deviation of its logarithm.
    pub spread: f64,
    /// Share of requests that fail.
    pub fails: f64,
    /// How long a failure takes, milliseconds.
    pub fail_ms: f64,
    /// Microdollars of a thousand prompt tokens; an answer's token costs four times as much.
    pub price: f64,
    /// Requests in ten seconds; the next is told to wait until they are over.
    pub quota: u32,
    /// The owner's rank of it.
    pub quality: f64,
}

/// What is so unless a script says otherwise.
pub const USUAL: Truth =
    Truth { median_ms: 400.0, spread: 0.3, fails: 0.005, fail_ms: 150.0, price: 300.0, quota: u32::MAX, quality: 0.5 };

/// A provider's script: how it is so many seconds after the start.
pub type Script = fn(f64) -> Truth;

/// One situation.
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// The providers, as listed.
    pub scripts: &'static [Script],
    /// How long it lasts.
    pub seconds: f64,
    /// Requests a second, on average.
    pub rate: f64,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Prompt {
    /// When it comes, seconds.
    pub at: f64,
    /// Its tokens.
    pub input: f64,
    /// The tokens of its answer; nobody knows them beforehand.
    pub output: f64,
}

/// What one attempt meets.
#[derive(Clone, Copy, Debug)]
pub struct Met {
    /// Whether it was answered.
    pub good: bool,
    /// How long it took, seconds.
    pub seconds: f64,
}

/// Seconds of a quota's window.
pub const QUOTA_SECONDS: f64 = 10.0;

impl Truth {
    /// The mean time to the answer of a prompt, seconds.
    pub fn mean_seconds(&self, prompt: &Prompt) -> f64 {
        self.median_ms / 1_000.0 * (self.spread * self.spread / 2.0).exp() * length_factor(prompt)
    }

    /// What a prompt and an answer of so many tokens cost, microdollars.
    pub fn cost(&self, input: f64, output: f64) -> f64 {
        self.price * (input + 4.0 * output) / 1_000.0
    }

    /// What the request of this number meets at the provider of this place.
    pub fn meet(&self, seed: u64, request: usize, place: usize, prompt: &Prompt) -> Met {
        let mut dice = Rng::with_seed(mix(mix(seed, request as u64), place as u64));
        if dice.f64() < self.fails {
            return Met { good: false, seconds: self.fail_ms / 1_000.0 };
        }
        let stray = (self.spread * normal(&mut dice)).exp();
        Met { good: true, seconds: self.median_ms / 1_000.0 * stray * length_factor(prompt) }
    }
}

/// A long prompt takes longer everywhere.
fn length_factor(prompt: &Prompt) -> f64 {
    1.0 + prompt.input / 20_000.0
}

/// The requests of one run: short turns, long documents, long answers.
pub fn prompts(scenario: &Scenario, seed: u64) -> Vec<Prompt> {
    let mut dice = Rng::with_seed(mix(seed, 0x70_72_6f_6d));
    let mut at = 0.0;
    let mut prompts = Vec::new();
    loop {
        at -= (1.0 - dice.f64()).ln() / scenario.rate;
        if at >= scenario.seconds {
            return prompts;
        }
        let stray = 0.5 + dice.f64();
        let (input, output) = match dice.u32(..10) {
            0..6 => (500.0, 200.0),
            6..9 => (8_000.0, 300.0),
            _ => (1_000.0, 1_500.0),
        };
        prompts.push(Prompt { at, input: input * stray, output: output * stray });
    }
}

/// Mixes a number into a seed (the finalizer of SplitMix64).
fn mix(seed: u64, number: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Box and Muller's; the gateway draws by another method.
fn normal(dice: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - dice.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * dice.f64()).cos()
}
