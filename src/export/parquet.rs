//! Parquet (<https://parquet.apache.org/docs/file-format/>, read 2026-11-26): the plain columns of [`COLUMNS`], a group of rows at a time,
//! uncompressed with dictionaries.
//!
//! `cost_usd` is a `DECIMAL(38, 12)`, the integer itself: 128 bits of picodollars, which every reader takes exactly. Counts are signed
//! 64-bit integers, `price_version` an unsigned one, `started_at` milliseconds in UTC.

use super::cell::{COLUMNS, Cell, Column, Kind, Row};
use crate::limits::books::EXPORT_GROUP_ROWS;
use ::parquet::column::writer::ColumnWriter;
use ::parquet::data_type::{ByteArray, FixedLenByteArray};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

pub(super) struct Parquet<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    /// By column.
    held: Vec<Held>,
    rows: usize,
}

/// The values of a column that are not written yet.
struct Held {
    values: Values,
    /// 1 for a value, 0 for nothing; only where there may be nothing.
    levels: Option<Vec<i16>>,
}

enum Values {
    Texts(Vec<ByteArray>),
    Longs(Vec<i64>),
    Flags(Vec<bool>),
    Decimals(Vec<FixedLenByteArray>),
}

impl<W: Write + Send> Parquet<W> {
    pub(super) fn begin(to: W) -> io::Result<Self> {
        let schema = parse_message_type(&schema()).map_err(said)?;
        let mine = concat!("igris ", env!("CARGO_PKG_VERSION")).to_owned();
        let properties = WriterProperties::builder().set_created_by(mine).build();
        let writer = SerializedFileWriter::new(to, Arc::new(schema), Arc::new(properties)).map_err(said)?;
        Ok(Self { writer, held: COLUMNS.iter().map(Held::new).collect(), rows: 0 })
    }

    pub(super) fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        for (held, column) in self.held.iter_mut().zip(COLUMNS) {
            held.push((column.cell)(row));
        }
        self.rows += 1;
        if self.rows >= EXPORT_GROUP_ROWS { self.write_group() } else { Ok(()) }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.rows > 0 {
            self.write_group()?;
        }
        self.writer.close().map_err(said).map(drop)
    }

    fn write_group(&mut self) -> io::Result<()> {
        let mut group = self.writer.next_row_group().map_err(said)?;
        let mut held = self.held.iter_mut();
        while let Some(mut column) = group.next_column().map_err(said)? {
            // The schema is made from the same list.
            let Some(held) = held.next() else { break };
            held.write(column.untyped()).map_err(said)?;
            column.close().map_err(said)?;
        }
        group.close().map_err(said)?;
        self.rows = 0;
        Ok(())
    }
}

impl Held {
    fn new(column: &Column) -> Self {
        let values = match column.kind {
            Kind::Text => Values::Texts(Vec::new()),
            Kind::Count | Kind::Mark | Kind::Time | Kind::Pico => Values::Longs(Vec::new()),
            Kind::Flag => Values::Flags(Vec::new()),
            Kind::Dollars => Values::Decimals(Vec::new()),
        };
        Self { values, levels: column.may_be_empty.then(Vec::new) }
    }

    fn push(&mut self, cell: Cell<'_>) {
        if let Some(levels) = &mut self.levels {
            levels.push(i16::from(cell != Cell::Nothing));
        }
        match (&mut self.values, cell) {
            (Values::Texts(texts), Cell::Text(text)) => texts.push(ByteArray::from(text.as_bytes().to_vec())),
            (Values::Flags(flags), Cell::Flag(flag)) => flags.push(flag),
            // An unsigned number keeps its bits; counts stay far below where that could be told.
            (Values::Longs(longs), Cell::Number(number)) => longs.push(number.cast_signed()),
            (Values::Longs(longs), Cell::Time(at)) => longs.push(at.0.cast_signed()),
            (Values::Longs(longs), Cell::Money(money)) => longs.push(i64::try_from(money.pico()).unwrap_or(i64::MAX)),
            (Values::Decimals(decimals), Cell::Money(money)) => {
                decimals.push(FixedLenByteArray::from(money.pico().to_be_bytes().to_vec()));
            }
            // Nothing; a cell of another kind than its column's there is none.
            _ => {}
        }
    }

    fn write(&mut self, column: &mut ColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = self.levels.as_deref();
        match (&mut self.values, column) {
            (Values::Texts(texts), ColumnWriter::ByteArrayColumnWriter(writer)) => {
                writer.write_batch(texts, levels, None)?;
                texts.clear();
            }
            (Values::Longs(longs), ColumnWriter::Int64ColumnWriter(writer)) => {
                writer.write_batch(longs, levels, None)?;
                longs.clear();
            }
            (Values::Flags(flags), ColumnWriter::BoolColumnWriter(writer)) => {
                writer.write_batch(flags, levels, None)?;
                flags.clear();
            }
            (Values::Decimals(decimals), ColumnWriter::FixedLenByteArrayColumnWriter(writer)) => {
                writer.write_batch(decimals, levels, None)?;
                decimals.clear();
            }
            _ => return Err(ParquetError::General("a column is of another kind than its values".to_owned())),
        }
        if let Some(levels) = &mut self.levels {
            levels.clear();
        }
        Ok(())
    }
}

fn schema() -> String {
    let mut text = String::from("message attempts {\n");
    for column in COLUMNS {
        let repetition = if column.may_be_empty { "OPTIONAL" } else { "REQUIRED" };
        let (physical, logical) = match column.kind {
            Kind::Text => ("BYTE_ARRAY", " (STRING)"),
            Kind::Count | Kind::Pico => ("INT64", ""),
            Kind::Mark => ("INT64", " (INTEGER(64,false))"),
            Kind::Flag => ("BOOLEAN", ""),
            Kind::Time => ("INT64", " (TIMESTAMP(MILLIS,true))"),
            Kind::Dollars => ("FIXED_LEN_BYTE_ARRAY (16)", " (DECIMAL(38,12))"),
        };
        // A String takes everything.
        let _ = writeln!(text, "  {repetition} {physical} {}{logical};", column.name);
    }
    text.push('}');
    text
}

fn said(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}
