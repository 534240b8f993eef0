//! A JSON object a line. Money is a decimal in a text, since a reader's float would round it, and picodollars are a whole number; what is
//! not known is `null`.

use super::cell::{COLUMNS, Cell, Kind, Row, instant};
use std::io::{self, Write};

pub(super) struct Jsonl<W: Write> {
    to: W,
    line: Vec<u8>,
}

impl<W: Write> Jsonl<W> {
    pub(super) fn begin(to: W) -> Self {
        Self { to, line: Vec::new() }
    }

    pub(super) fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        let line = &mut self.line;
        line.clear();
        for (place, column) in COLUMNS.iter().enumerate() {
            line.extend_from_slice(if place == 0 { b"{\"" } else { b",\"" });
            line.extend_from_slice(column.name.as_bytes());
            line.extend_from_slice(b"\":");
            match (column.cell)(row) {
                Cell::Nothing => line.extend_from_slice(b"null"),
                Cell::Text(text) => serde_json::to_writer(&mut *line, &*text).map_err(io::Error::from)?,
                Cell::Number(number) => write!(line, "{number}")?,
                Cell::Flag(flag) => write!(line, "{flag}")?,
                Cell::Time(at) => write!(line, "\"{}\"", instant(at))?,
                Cell::Money(money) if column.kind == Kind::Pico => write!(line, "{}", money.pico())?,
                Cell::Money(money) => write!(line, "\"{money}\"")?,
            }
        }
        line.extend_from_slice(b"}\n");
        self.to.write_all(line)
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.to.flush()
    }
}
