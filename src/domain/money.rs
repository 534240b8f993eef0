//! Money as integers: picodollars (10^-12 USD), fine enough for one token of the cheapest model.
//!
//! Floats appear only at the JSON edge, never in a sum (rule L1).

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// Picodollars in one US dollar.
pub const PICO_PER_USD: i128 = 1_000_000_000_000;
/// Picodollars in a millionth of a dollar.
pub const PICO_PER_MICRO: i128 = 1_000_000;

/// An amount of US dollars in picodollars. Wide enough that no sum of a lifetime overflows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i128);

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);

    /// From picodollars.
    pub const fn from_pico(pico: i128) -> Self {
        Self(pico)
    }

    /// In picodollars.
    pub const fn pico(self) -> i128 {
        self.0
    }

    /// Reads a plain decimal of dollars such as `0.00234`, exactly; `None` when it is not one or is finer than a picodollar.
    pub fn parse_usd(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 18 || fraction.len() > 12 || !digits(whole) || !digits(fraction) {
            return None;
        }
        let whole: i128 = whole.parse().ok()?;
        let padded: i128 = format!("{fraction:0<12}").parse().ok()?;
        Some(Self(whole * PICO_PER_USD + padded))
    }

    /// As a float of dollars, for JSON answers only.
    pub fn to_usd(self) -> f64 {
        self.0 as f64 / PICO_PER_USD as f64
    }
}

/// Writes dollars as an exact decimal without trailing zeros: `0.00234`, `0`, `12.5`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(self.letters(&mut [0; LETTERS_MAX])).unwrap_or_default())
    }
}

/// A sign, 27 digits of dollars, a point and twelve digits behind it.
const LETTERS_MAX: usize = 41;

impl Money {
    /// Appends what [`Display`](fmt::Display) shows; on the request path, so without its machinery.
    pub fn append(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.letters(&mut [0; LETTERS_MAX]));
    }

    fn letters(self, room: &mut [u8; LETTERS_MAX]) -> &[u8] {
        let pico = self.0.unsigned_abs();
        let mut end = 0;
        let mut put = |letters: &[u8]| {
            if let Some(slots) = room.get_mut(end..end + letters.len()) {
                slots.copy_from_slice(letters);
                end += letters.len();
            }
        };
        if self.0 < 0 {
            put(b"-");
        }
        // Eighteen million dollars are the most that fits; the division of what does not is much slower.
        let fraction = match u64::try_from(pico) {
            Ok(pico) => {
                put(itoa::Buffer::new().format(pico / PICO_PER_USD as u64).as_bytes());
                pico % PICO_PER_USD as u64
            }
            Err(_) => {
                put(itoa::Buffer::new().format(pico / PICO_PER_USD as u128).as_bytes());
                (pico % PICO_PER_USD as u128) as u64
            }
        };
        if fraction != 0 {
            // One dollar more, so that no zero is missing behind the point; its digit makes room for that.
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(fraction + PICO_PER_USD as u64).as_bytes();
            let last = digits.iter().rposition(|digit| *digit != b'0').unwrap_or(0);
            put(b".");
            put(digits.get(1..=last).unwrap_or_default());
        }
        &room[..end]
    }
}

impl Add for Money {
    type Output = Money;
    fn add(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Money) {
        *self = *self + other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Money>>(amounts: I) -> Money {
        amounts.fold(Money::ZERO, Add::add)
    }
}

/// The price of one token, in picodollars; one dollar per million tokens is 10^6 of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenPrice(u64);

impl TokenPrice {
    /// Reads dollars per million tokens, as price lists print them: `2.5`, `0.025`. `None` when finer than a picodollar a token.
    pub fn parse_usd_per_mtok(text: &str) -> Option<Self> {
        let pico_per_mtok = Money::parse_usd(text)?.pico();
        if pico_per_mtok % 1_000_000 != 0 {
            return None;
        }
        u64::try_from(pico_per_mtok / 1_000_000).ok().map(Self)
    }

    /// From picodollars a token.
    pub const fn from_pico(pico: u64) -> Self {
        Self(pico)
    }

    /// Picodollars a token.
    pub const fn pico(self) -> u64 {
        self.0
    }

    /// What so many tokens cost.
    pub fn times(self, tokens: u64) -> Money {
        Money(i128::from(self.0) * i128::from(tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_read_and_print_exactly() {
        for text in ["0", "0.00234", "12.5", "0.000000000001", "999999999999"] {
            assert_eq!(Money::parse_usd(text).map(|m| m.to_string()).as_deref(), Some(text));
        }
        for text in ["", "-1", "1e3", ".5", "1.0000000000001", "+1", "1 "] {
            assert_eq!(Money::parse_usd(text), None, "{text}");
        }
    }

    /// Every sign, every number of digits on either side of the point.
    #[test]
    fn any_amount_is_written_as_its_digits_say() {
        let by_hand = |pico: i128| {
            let (whole, fraction) = (pico.unsigned_abs() / 1_000_000_000_000, pico.unsigned_abs() % 1_000_000_000_000);
            let text = format!("{}{whole}.{fraction:012}", if pico < 0 { "-" } else { "" });
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        let mut amount: i128 = 1;
        for place in 0..37 {
            for pico in
                [amount, amount - 1, amount + 1, amount / 3 * 7 + 1, -amount, i128::MAX - amount, i128::MIN + amount]
            {
                let mut out = b"x".to_vec();
                Money::from_pico(pico).append(&mut out);
                assert_eq!(String::from_utf8_lossy(&out), format!("x{}", by_hand(pico)), "{place}");
                assert_eq!(Money::from_pico(pico).to_string(), by_hand(pico));
            }
            amount = amount.saturating_mul(10);
        }
        assert_eq!(Money::from_pico(i128::MIN).to_string(), by_hand(i128::MIN));
    }

    #[test]
    fn a_price_per_million_is_whole_picodollars_a_token() {
        let price = TokenPrice::parse_usd_per_mtok("0.025").expect("a valid price");
        assert_eq!(price.pico(), 25_000);
        assert_eq!(price.times(1_000_000), Money::parse_usd("0.025").expect("a valid amount"));
    }
}
