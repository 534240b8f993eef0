//! Trace context: the field `traceparent`, which traces are sampled, and the ids of our own spans (<https://www.w3.org/TR/trace-context-2/>).
//!
//! Pure, and without allocation: it is read and written on the request path. Ids of spans are not stored anywhere: a span's id follows from
//! the id of its exchange or attempt, on both sides of the waist.

use super::id::{AttemptId, RequestId};

/// Bytes of the field in the only version there is: `00-<32>-<16>-<2>`.
pub const TRACEPARENT_BYTES: usize = 55;

/// What a client's `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace, never 0.
    pub trace: u128,
    /// The caller's span, never 0.
    pub span: u64,
    /// Whether the caller records it.
    pub sampled: bool,
}

/// Where an exchange stands in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace, never 0.
    pub id: u128,
    /// The caller's span, if the caller said which.
    pub parent: Option<u64>,
    /// Whether it is recorded.
    pub sampled: bool,
}

/// The share of traces that are recorded where no caller has decided; all of them unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sampling {
    /// Traces whose lowest 56 bits are below this are not recorded: one that a smaller share records, a greater one records too.
    threshold: u64,
}

/// As many values as the random part of a trace id has.
const RANDOM: u64 = 1 << 56;

// === impl TraceParent ===

impl TraceParent {
    /// Reads the field. What a later version appends is passed over; a value that is not valid counts as none.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let (known, more) = value.split_at_checked(TRACEPARENT_BYTES)?;
        let version = hex(known.get(..2)?)?;
        let ends_well = more.is_empty() || version > 0 && more.starts_with(b"-");
        let dashes = [2, 35, 52].iter().all(|place| known[*place] == b'-');
        if version == 0xff || !ends_well || !dashes {
            return None;
        }
        let (trace, span, flags) = (hex(&known[3..35])?, hex(&known[36..52])?, hex(&known[53..])?);
        let span = u64::try_from(span).ok()?;
        (trace != 0 && span != 0).then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// The number in lower-case hexadecimal digits, of 32 at most.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

// === impl Sampling ===

impl Sampling {
    /// Records this share of traces, 0 to 1.
    pub fn of(share: f64) -> Self {
        // A float into an integer saturates.
        Self { threshold: ((1.0 - share.clamp(0.0, 1.0)) * RANDOM as f64) as u64 }
    }

    /// Whether a trace is recorded.
    pub fn picks(self, trace: u128) -> bool {
        // The lowest 56 bits.
        trace as u64 % RANDOM >= self.threshold
    }
}

// === impl Trace ===

impl Trace {
    /// The trace of an exchange: its caller's, or one of its own, with the id of the exchange.
    pub fn of(given: Option<TraceParent>, request: RequestId, sampling: Sampling) -> Self {
        match given {
            Some(TraceParent { trace, span, sampled }) => Self { id: trace, parent: Some(span), sampled },
            None => {
                let id = request.bits().max(1);
                Self { id, parent: None, sampled: sampling.picks(id) }
            }
        }
    }

    /// The field for a provider, whose parent is the span of our attempt.
    pub fn onward(&self, attempt: AttemptId) -> [u8; TRACEPARENT_BYTES] {
        let mut field = *b"00-00000000000000000000000000000000-0000000000000000-00";
        digits(&mut field[3..35], self.id);
        digits(&mut field[36..52], u128::from(attempt_span(attempt)));
        digits(&mut field[53..], u128::from(self.sampled));
        field
    }
}

/// The span of an exchange.
pub fn exchange_span(request: RequestId) -> u64 {
    folded(request.bits())
}

/// The span of an attempt.
pub fn attempt_span(attempt: AttemptId) -> u64 {
    folded(attempt.bits())
}

/// 64 of 128 random bits, never 0.
fn folded(bits: u128) -> u64 {
    ((bits >> 64) as u64 ^ (bits as u64).rotate_left(17)).max(1)
}

fn digits(place: &mut [u8], number: u128) {
    let mut rest = number;
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_read_or_counts_as_none() {
        let read = TraceParent::parse(GIVEN.as_bytes()).expect("valid");
        assert_eq!((read.trace, read.span), (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7));
        assert!(read.sampled);
        for fine in [GIVEN.replace("-01", "-00"), format!("cc{}-more", &GIVEN[2..]), format!(" {GIVEN} ")] {
            assert!(TraceParent::parse(fine.as_bytes()).is_some(), "{fine}");
        }
        for bad in [
            String::new(),
            GIVEN[..54].to_owned(),
            format!("{GIVEN}-more"),
            format!("{GIVEN}0"),
            GIVEN.to_uppercase(),
            GIVEN.replace("00-4b", "ff-4b"),
            GIVEN.replace("00f067aa0ba902b7", "0000000000000000"),
            GIVEN.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GIVEN.replace("-00f0", "_00f0"),
            "é".repeat(40),
        ] {
            assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_provider_gets_the_same_trace_and_our_span() {
        let request = RequestId::from_bits(7 << 64);
        let attempt = AttemptId::from_bits(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        let trace = Trace::of(TraceParent::parse(GIVEN.as_bytes()), request, Sampling::of(0.0));
        let onward = TraceParent::parse(&trace.onward(attempt)).expect("valid");
        assert_eq!((onward.trace, onward.span, onward.sampled), (trace.id, attempt_span(attempt), true));
        let own = Trace::of(None, request, Sampling::of(1.0));
        assert_eq!((own.id, own.parent, own.sampled), (7 << 64, None, true));
        assert_eq!(Trace::of(None, RequestId::from_bits(0), Sampling::of(1.0)).id, 1, "no trace is 0");
        assert_ne!(exchange_span(request), attempt_span(attempt));
    }

    #[test]
    fn a_share_is_a_share_and_a_greater_one_holds_the_smaller() {
        let mut dice = fastrand::Rng::with_seed(11);
        let traces: Vec<u128> = (0..20_000).map(|_| dice.u128(..)).collect();
        let picked = |share: f64| traces.iter().filter(|trace| Sampling::of(share).picks(**trace)).count();
        assert_eq!((picked(0.0), picked(1.0)), (0, traces.len()));
        assert!((1_800..2_200).contains(&picked(0.1)), "{}", picked(0.1));
        let nested = |trace: &&u128| Sampling::of(0.1).picks(**trace) && !Sampling::of(0.4).picks(**trace);
        assert_eq!(traces.iter().filter(nested).count(), 0);
    }
}
