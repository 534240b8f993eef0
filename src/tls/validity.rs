//! How long a certificate is good for: two times out of its DER, and nothing else of it.
//!
//! rustls checks what others show us and not what we show: a listener whose certificate has ended would refuse every client.
//! Bounded by the input, without recursion; what is not understood is no answer.

use crate::domain::clock::UnixMillis;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When the first certificate of a chain ends (`notAfter`, RFC 5280 §4.1.2.5); `None` if that cannot be told.
pub fn end_of(chain_pem: &[u8]) -> Option<UnixMillis> {
    let leaf = CertificateDer::pem_slice_iter(chain_pem).next()?.ok()?;
    let (certificate, _) = element(&leaf, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if let Some((_, behind)) = element(rest, VERSION) {
        rest = behind;
    }
    // Serial number, signature algorithm and issuer stand before it.
    for _ in 0..3 {
        rest = any(rest)?.2;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let (tag, text, _) = any(any(validity)?.2)?;
    time(tag, text)
}

/// The content of an element with this tag, and what is behind it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(input)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content and what is behind (X.690 §8.1); lengths of at most four bytes.
fn any(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = input.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..=0x7f => (short, rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(long - 0x80)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`; two digits from 50 on are of the last century (RFC 5280 §4.1.2.5.1).
fn time(tag: u8, text: &[u8]) -> Option<UnixMillis> {
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2_000 + year } else { 1_900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let fields: Vec<u64> = rest.chunks(2).map(number).collect::<Option<_>>()?;
    let [month, day, hour, minute, second] = fields.as_slice() else { return None };
    if rest.len() != 10 || !(1..=12).contains(month) || !(1..=31).contains(day) || year < 1970 {
        return None;
    }
    let seconds = days(year, *month, *day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(UnixMillis(seconds.saturating_mul(1_000)))
}

fn number(digits: &[u8]) -> Option<u64> {
    let digit = |number: u64, digit: &u8| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'));
    digits.iter().try_fold(0, digit)
}

/// Days since 1970-01-01, counting years from March so that the leap day comes last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year / 4 - year / 100 + year / 400;
    (year * 365 + leaps + (month * 153 + 2) / 5 + day - 1) - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use igris_load::certs::Authority;

    #[test]
    fn times_are_read_as_the_standard_writes_them() {
        let read = |tag, text: &str| time(tag, text.as_bytes()).map(UnixMillis::to_rfc3339);
        assert_eq!(read(UTC_TIME, "261123065153Z").as_deref(), Some("2026-11-23T06:51:53Z"));
        assert_eq!(read(UTC_TIME, "700101000000Z").as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(read(GENERALIZED_TIME, "20000229000000Z").as_deref(), Some("2000-02-29T00:00:00Z"));
        assert_eq!(read(GENERALIZED_TIME, "99991231235959Z").as_deref(), Some("9999-12-31T23:59:59Z"));
        for bad in ["", "Z", "2611230651Z", "261123065153", "26112306515aZ", "261323065153Z", "2611230651530Z"] {
            assert_eq!(read(UTC_TIME, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_certificate_says_when_it_ends_and_a_cut_one_says_nothing_wrong() {
        let issued = Authority::new("own").expect("made").issue(&["localhost"]).expect("signed");
        let end = end_of(issued.cert_pem.as_bytes()).expect("an end");
        assert!(end > UnixMillis::now(), "{}", end.to_rfc3339());
        let leaf = CertificateDer::from_pem_slice(issued.cert_pem.as_bytes()).expect("our own PEM");
        for cut in 0..leaf.len() {
            assert!(any(&leaf[..cut]).is_none(), "{cut}");
        }
        assert_eq!(end_of(b"no pem"), None);
    }
}
