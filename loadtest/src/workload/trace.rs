//! Recorded arrivals: CSV files as their authors publish them, read row by row.
//!
//! | form | first line | instants |
//! |---|---|---|
//! | BurstGPT (<https://github.com/HPMLL/BurstGPT>) | `Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type` | seconds |
//! | Azure LLM inference (<https://github.com/Azure/AzurePublicDataset>) | `TIMESTAMP,ContextTokens,GeneratedTokens` | date and time, to 100 ns |
//! | ours | `at_s,prompt_tokens,output_tokens` | seconds |
//!
//! Columns are found by name, in any order; others are passed over. The first row is the run's start.

use anyhow::{Context as _, bail};
use csv::StringRecord;
use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

/// One recorded request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// When, from the first row, in the run's time.
    pub at: Duration,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the answer; failed requests of BurstGPT have 0.
    pub output_tokens: u32,
}

/// A file of them, being read.
pub struct Rows {
    path: String,
    reader: csv::Reader<BufReader<File>>,
    record: StringRecord,
    columns: [usize; 3],
    speed: f64,
    first: Option<i128>,
    last: Option<i128>,
}

/// What the columns are called, in small letters.
const NAMES: [(&str, &[&str]); 3] = [
    ("instants", &["timestamp", "at_s"]),
    ("prompt tokens", &["request tokens", "contexttokens", "prompt_tokens"]),
    ("answer tokens", &["response tokens", "generatedtokens", "output_tokens"]),
];

impl Rows {
    /// Opens a file and finds its columns.
    ///
    /// # Errors
    /// It cannot be read, or a column is not there.
    pub fn open(path: &str, speed: f64) -> anyhow::Result<Self> {
        let file =
            File::open(path).with_context(|| format!("cannot read the trace {path}; give the path of a CSV file"))?;
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(BufReader::new(file));
        let headers = reader.headers().with_context(|| format!("{path}:1: the first line cannot be read"))?.clone();
        let mut columns = [0; 3];
        for (column, (what, names)) in columns.iter_mut().zip(NAMES) {
            let found = headers.iter().position(|header| names.contains(&header.to_ascii_lowercase().as_str()));
            *column = found.with_context(|| {
                format!(
                    "{path}:1: there is no column of {what}; the first line must name columns as BurstGPT does \
                     (Timestamp, Request tokens, Response tokens), as Azure does (TIMESTAMP, ContextTokens, \
                     GeneratedTokens), or at_s, prompt_tokens and output_tokens"
                )
            })?;
        }
        Ok(Self { path: path.to_owned(), reader, record: StringRecord::new(), columns, speed, first: None, last: None })
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// A row cannot be understood, or goes back in time; the sentence has file and line.
    pub fn next_row(&mut self) -> anyhow::Result<Option<Row>> {
        let line = self.reader.position().line();
        let more = self.reader.read_record(&mut self.record);
        if !more.with_context(|| format!("{}:{line}: the row cannot be read", self.path))? {
            return Ok(None);
        }
        let line = self.record.position().map_or(line, csv::Position::line);
        self.understand().map(Some).with_context(|| format!("{}:{line}", self.path))
    }

    fn understand(&mut self) -> anyhow::Result<Row> {
        let [at, prompt, output] = self.columns.map(|column| self.record.get(column).unwrap_or_default());
        let nanos = instant(at).with_context(|| {
            format!("{at:?} is neither seconds such as 12.5 nor a time such as 2023-11-16 18:15:46.6805900")
        })?;
        let tokens = |text: &str| {
            let number = text.parse::<f64>().ok().filter(|number| (0.0..=1e8).contains(number));
            number.map(|number| number as u32).with_context(|| format!("{text:?} is not a number of tokens"))
        };
        let (prompt_tokens, output_tokens) = (tokens(prompt)?, tokens(output)?);
        let first = *self.first.get_or_insert(nanos);
        if self.last.is_some_and(|last| nanos < last) {
            bail!("{at:?} is earlier than the row before; sort the file by its instants");
        }
        self.last = Some(nanos);
        let seconds = (nanos - first).max(0) as f64 / 1e9 / self.speed;
        let at = Duration::try_from_secs_f64(seconds).context("the instant is too far from the first")?;
        Ok(Row { at, prompt_tokens, output_tokens })
    }
}

/// Reads the rows that a run would use, and counts them.
///
/// # Errors
/// As [`Rows::next_row`]; also where there is none.
pub fn check(path: &str, speed: f64, end: Option<Duration>, requests: Option<u64>) -> anyhow::Result<u64> {
    let mut rows = Rows::open(path, speed)?;
    let mut count = 0;
    while requests.is_none_or(|most| count < most) {
        match rows.next_row()? {
            Some(row) if end.is_none_or(|end| row.at < end) => count += 1,
            _ => break,
        }
    }
    if count == 0 {
        bail!("{path}: the trace has no row to send; give a longer --duration or another file");
    }
    Ok(count)
}

/// Nanoseconds of seconds as a number, or of a date and time in UTC.
fn instant(text: &str) -> Option<i128> {
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.is_finite() && seconds.abs() < 1e12).then(|| (seconds * 1e9).round() as i128);
    }
    let text = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00")).unwrap_or(text);
    let (date, time) = text.split_once([' ', 'T'])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hour, minute): (i64, i64) = (time.next()?.parse().ok()?, time.next()?.parse().ok()?);
    let (second, fraction) = time.next().map(|second| second.split_once('.').unwrap_or((second, "")))?;
    let second: i64 = second.parse().ok()?;
    let good = (1..=12).contains(&month) && (1..=31).contains(&day) && (0..24).contains(&hour);
    let all_digits = fraction.len() <= 9 && fraction.bytes().all(|digit| digit.is_ascii_digit());
    if !good || !(0..60).contains(&minute) || !(0..=60).contains(&second) || !all_digits || !(1..=9999).contains(&year)
    {
        return None;
    }
    let nanos: i128 = format!("{fraction:0<9}").parse().ok()?;
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(i128::from(seconds) * 1_000_000_000 + nanos)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant, "chrono-compatible low-level date algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_to_the_tick() {
        assert_eq!(instant("12.5"), Some(12_500_000_000));
        assert_eq!(instant("1970-01-01 00:00:00"), Some(0));
        assert_eq!(instant("2000-02-29T12:34:56Z"), Some(951_827_696_000_000_000));
        let (first, second) = (instant("2023-11-16 18:15:46.6805900"), instant("2023-11-16 18:15:50.9951690"));
        assert_eq!(second.expect("a time") - first.expect("a time"), 4_314_579_000);
        assert_eq!(instant("2024-05-10 00:00:00.009930+00:00"), instant("2024-05-10 00:00:00.00993"));
        for wrong in ["", "yesterday", "2023-13-01 00:00:00", "2023-11-16", "2023-11-16 24:00:00", "nan", "1 2 3"] {
            assert_eq!(instant(wrong), None, "{wrong}");
        }
    }
}
