//! A histogram without its empty buckets: some hundred bytes where the whole one has two hundred thousand.
//!
//! Rows of seconds are kept this way, so that an hour of them fits in memory and two of them add in microseconds.

use super::timings::histogram;
use hdrhistogram::Histogram;

/// What the buckets of [`histogram`] are multiples of, as a power of two: all below its 100 ns are alike in steps of 64 ns.
const UNIT_BITS: u32 = 6;

/// Counts by value, ascending; each entry is two variable-length integers: the distance to the last value, and the count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sparse {
    bytes: Vec<u8>,
    entries: u64,
}

impl Sparse {
    /// Keeps what a histogram holds. Made for histograms as [`histogram`] makes them; of others, times below 64 ns become 0.
    pub fn of(whole: &Histogram<u64>) -> Self {
        let mut packed = Packer::default();
        for step in whole.iter_recorded() {
            packed.push(whole.lowest_equivalent(step.value_iterated_to()) >> UNIT_BITS, step.count_at_value());
        }
        packed.finish()
    }

    /// The histogram again.
    pub fn whole(&self) -> Histogram<u64> {
        let mut whole = histogram();
        for (value, count) in self.pairs() {
            whole.saturating_record_n(value << UNIT_BITS, count);
        }
        whole
    }

    /// Adds what another holds.
    pub fn add(&mut self, other: &Self) {
        if other.entries == 0 {
            return;
        }
        let (mut mine, mut theirs) = (self.pairs().peekable(), other.pairs().peekable());
        let mut packed = Packer::default();
        loop {
            let (value, count) = match (mine.peek().copied(), theirs.peek().copied()) {
                (None, None) => break,
                (Some((a, count)), Some((b, more))) if a == b => {
                    theirs.next();
                    mine.next();
                    (a, count + more)
                }
                (Some(left), Some(right)) if left.0 > right.0 => {
                    theirs.next();
                    right
                }
                (Some(left), _) => {
                    mine.next();
                    left
                }
                (None, Some(right)) => {
                    theirs.next();
                    right
                }
            };
            packed.push(value, count);
        }
        *self = packed.finish();
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.pairs().map(|(_, count)| count).sum()
    }

    /// The value below or at which so large a part lies, nanoseconds, as [`Histogram::value_at_quantile`] tells it but for
    /// the bucket's width; `None` where nothing was recorded.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        let wanted = ((self.count() as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.pairs().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        found.or_else(|| self.pairs().last()).map(|(value, _)| value << UNIT_BITS)
    }

    /// Bytes it takes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }

    fn pairs(&self) -> Pairs<'_> {
        Pairs { bytes: &self.bytes, value: 0, left: self.entries }
    }
}

/// Writes entries.
#[derive(Default)]
struct Packer {
    sparse: Sparse,
    last: u64,
}

impl Packer {
    fn push(&mut self, value: u64, count: u64) {
        write(&mut self.sparse.bytes, value - self.last);
        write(&mut self.sparse.bytes, count);
        self.sparse.entries += 1;
        self.last = value;
    }

    fn finish(mut self) -> Sparse {
        self.sparse.bytes.shrink_to_fit();
        self.sparse
    }
}

/// Reads entries: value in units, count.
struct Pairs<'a> {
    bytes: &'a [u8],
    value: u64,
    left: u64,
}

impl Iterator for Pairs<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.value += read(&mut self.bytes);
        Some((self.value, read(&mut self.bytes)))
    }
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 || shift > 63 {
            break;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::timings::NANOS_MAX;

    fn drawn(count: u64, seed: u64) -> Histogram<u64> {
        let mut whole = histogram();
        for number in 0..count {
            let digest = (number + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            whole.saturating_record(digest >> (20 + digest % 40));
        }
        whole
    }

    /// What a histogram holds. Two may hold the same and differ: the library remembers whether a zero was once 63.
    fn held(whole: &Histogram<u64>) -> Vec<(u64, u64)> {
        whole.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    }

    #[test]
    fn nothing_is_lost_in_packing() {
        for count in [0, 1, 7, 100_000] {
            let whole = drawn(count, 3);
            let packed = Sparse::of(&whole);
            assert!(held(&packed.whole()) == held(&whole) && packed.count() == count, "{count}");
        }
        let mut edges = histogram();
        for value in [0, 63, 64, 100, 131_071, 131_072, NANOS_MAX, u64::MAX] {
            edges.saturating_record(value);
        }
        assert_eq!(held(&Sparse::of(&edges).whole()), held(&edges));
    }

    #[test]
    fn sums_are_those_of_the_whole() {
        let (mut a, b) = (drawn(5000, 1), drawn(3000, 77));
        let mut packed = Sparse::of(&a);
        packed.add(&Sparse::of(&b));
        packed.add(&Sparse::default());
        a.add(&b).expect("the same bounds");
        assert!(held(&packed.whole()) == held(&a));
        for quantile in [0.0, 0.5, 0.99, 1.0] {
            let exact = a.lowest_equivalent(a.value_at_quantile(quantile));
            assert_eq!(packed.quantile(quantile), Some(exact), "{quantile}");
        }
        assert_eq!(Sparse::default().quantile(0.5), None);
    }
}
