//! Figures as people read them: three digits and a unit, so that no axis needs a footnote.

/// A length of time of so many nanoseconds: `0`, `850 ns`, `12.3 µs`, `1.05 ms`, `2.5 s`, `3.2 min`.
pub fn time(nanos: f64) -> String {
    if !nanos.is_finite() {
        return "–".into();
    }
    let size = nanos.abs();
    let (scale, unit) = match size {
        0.0 => return "0".into(),
        _ if size < 999.5 => (1.0, "ns"),
        _ if size < 999.5e3 => (1e3, "µs"),
        _ if size < 999.5e6 => (1e6, "ms"),
        _ if size < 120e9 => (1e9, "s"),
        _ if size < 7200e9 => (60e9, "min"),
        _ => (3600e9, "h"),
    };
    format!("{} {unit}", digits(nanos / scale))
}

/// A time on the clock of a run, from seconds: `0`, `30 s`, `5 min`, `1.5 h`.
pub fn clock(seconds: f64) -> String {
    time(seconds * 1e9)
}

/// A number of things: `0`, `950`, `1.2k`, `3.45M`.
pub fn count(number: f64) -> String {
    if !number.is_finite() {
        return "–".into();
    }
    let size = number.abs();
    match size {
        _ if size < 999.5 => digits(number),
        _ if size < 999.5e3 => format!("{}k", digits(number / 1e3)),
        _ if size < 999.5e6 => format!("{}M", digits(number / 1e6)),
        _ => format!("{}G", digits(number / 1e9)),
    }
}

/// A share of one: `0 %`, `99.95 %`.
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "–".into();
    }
    let percent = share * 100.0;
    // What is not quite all must not read as all.
    if percent > 99.0 && percent < 100.0 {
        let text = format!("{:.3}", (percent * 1e3).floor() / 1e3);
        return format!("{} %", text.trim_end_matches('0').trim_end_matches('.'));
    }
    format!("{} %", digits(percent))
}

/// So many bytes: `512 B`, `3.4 MiB`.
pub fn bytes(number: f64) -> String {
    if !number.is_finite() {
        return "–".into();
    }
    let scale = byte_unit(number);
    let unit = match scale {
        1.0 => "B",
        1024.0 => "KiB",
        1_048_576.0 => "MiB",
        _ => "GiB",
    };
    format!("{} {unit}", digits(number / scale))
}

/// The bytes of the unit that so many bytes are written in.
pub(super) fn byte_unit(number: f64) -> f64 {
    match number.abs() {
        size if size < 1024.0 => 1.0,
        size if size < 1_048_576.0 => 1024.0,
        size if size < 1_073_741_824.0 => 1_048_576.0,
        _ => 1_073_741_824.0,
    }
}

/// A whole number with thin gaps between its thousands: `1 234 567`.
pub fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits without zeros that say nothing.
fn digits(number: f64) -> String {
    let size = number.abs();
    let places = match size {
        _ if size >= 99.95 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ if size >= 0.09995 => 3,
        _ => 4,
    };
    let text = format!("{number:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        for (nanos, text) in [
            (0.0, "0"),
            (850.0, "850 ns"),
            (12_345.0, "12.3 µs"),
            (1_050_000.0, "1.05 ms"),
            (999_999.0, "1 ms"),
            (2.5e9, "2.5 s"),
            (30e9, "30 s"),
            (300e9, "5 min"),
            (7200e9, "2 h"),
            (-4_000.0, "-4 µs"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(time(nanos), text, "{nanos}");
        }
    }

    #[test]
    fn counts_shares_and_bytes() {
        assert_eq!(count(0.0), "0");
        assert_eq!(count(999.7), "1k");
        assert_eq!(count(1_250_000.0), "1.25M");
        assert_eq!(percent(0.9999), "99.99 %");
        assert_eq!(percent(0.999_999_9), "99.999 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(bytes(3.0 * 1_048_576.0), "3 MiB");
        assert_eq!(whole(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(whole(12), "12");
    }
}
