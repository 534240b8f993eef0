//! One row for each attempt, in a format that others read: CSV, JSON lines, Parquet.
//!
//! Rows are written as they come, in bounded memory: of Parquet one group of rows is held. Which columns there are stands once, in
//! [`COLUMNS`]; every format has all of them under the same names. No text of a prompt or an answer is in a row, since none is in a report.

mod cell;
mod csv;
mod jsonl;
mod parquet;

pub use cell::{COLUMNS, Cell, Column, Kind, Row};

use std::io::{self, Write};

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a line of names (RFC 4180).
    Csv,
    /// A JSON object a line.
    Jsonl,
    /// Apache Parquet, uncompressed.
    Parquet,
}

/// A file that is being written.
pub struct Export<W: Write + Send> {
    sink: Sink<W>,
}

enum Sink<W: Write + Send> {
    Csv(csv::Csv<W>),
    Jsonl(jsonl::Jsonl<W>),
    Parquet(parquet::Parquet<W>),
}

impl Format {
    /// Every one, in the order in which they are named.
    pub const ALL: [Self; 3] = [Self::Csv, Self::Jsonl, Self::Parquet];

    /// Its name, which is also the usual end of a file's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The media type: RFC 4180 §3, `application/jsonl` as it is in use, and <https://www.iana.org/assignments/media-types> for Parquet.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Jsonl => "application/jsonl",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

impl<W: Write + Send> Export<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// What `to` answers.
    pub fn begin(format: Format, to: W) -> io::Result<Self> {
        let sink = match format {
            Format::Csv => Sink::Csv(csv::Csv::begin(to)?),
            Format::Jsonl => Sink::Jsonl(jsonl::Jsonl::begin(to)),
            Format::Parquet => Sink::Parquet(parquet::Parquet::begin(to)?),
        };
        Ok(Self { sink })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// What the destination answers; the file is of no use then.
    pub fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        match &mut self.sink {
            Sink::Csv(sink) => sink.row(row),
            Sink::Jsonl(sink) => sink.row(row),
            Sink::Parquet(sink) => sink.row(row),
        }
    }

    /// Ends the file. Without this it is not whole.
    ///
    /// # Errors
    /// What the destination answers.
    pub fn finish(self) -> io::Result<()> {
        match self.sink {
            Sink::Csv(sink) => sink.finish(),
            Sink::Jsonl(sink) => sink.finish(),
            Sink::Parquet(sink) => sink.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
