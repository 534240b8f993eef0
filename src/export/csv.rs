//! CSV as RFC 4180 has it, with a line of names. Money is an exact decimal, instants are RFC 3339, what is not known is empty.
//!
//! A text that a spreadsheet would take for a formula gets an apostrophe before it, since model names come from whoever asks
//! (<https://owasp.org/www-community/attacks/CSV_Injection>, read 2026-11-26). Numbers are never changed.

use super::cell::{COLUMNS, Cell, Kind, Row, instant};
use ::csv::Writer;
use std::borrow::Cow;
use std::io::{self, Write};

pub(super) struct Csv<W: Write> {
    writer: Writer<W>,
}

impl<W: Write> Csv<W> {
    pub(super) fn begin(to: W) -> io::Result<Self> {
        let mut writer = ::csv::WriterBuilder::new().terminator(::csv::Terminator::CRLF).from_writer(to);
        writer.write_record(COLUMNS.iter().map(|column| column.name)).map_err(io::Error::from)?;
        Ok(Self { writer })
    }

    pub(super) fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        for column in COLUMNS {
            let field: Cow<'_, str> = match (column.cell)(row) {
                Cell::Nothing => Cow::Borrowed(""),
                Cell::Text(text) => harmless(text),
                Cell::Number(number) => number.to_string().into(),
                Cell::Flag(flag) => if flag { "true" } else { "false" }.into(),
                Cell::Time(at) => instant(at).into(),
                Cell::Money(money) if column.kind == Kind::Pico => money.pico().to_string().into(),
                Cell::Money(money) => money.to_string().into(),
            };
            self.writer.write_field(field.as_bytes()).map_err(io::Error::from)?;
        }
        self.writer.write_record(None::<&[u8]>).map_err(io::Error::from)
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A text that no spreadsheet calculates.
fn harmless(text: Cow<'_, str>) -> Cow<'_, str> {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        true => format!("'{text}").into(),
        false => text,
    }
}
