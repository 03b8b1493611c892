//! Lists, as people and as programs read them.

use std::io::{self, BufWriter, Write};

use helpline_cli_common::{
    clean,
    exit::{Exit, Failure},
};
use helpline_server::store::StoreError;
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use crate::admin;

/// Why a listing ended early.
pub(crate) enum Stop {
    Store(StoreError),
    Output(io::Error),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What it means that a listing ended so.
pub(crate) fn finish(shown: Result<(), Stop>) -> Result<(), Failure> {
    match shown {
        Ok(()) => Ok(()),
        // The reader has seen enough.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Stop::Output(error)) => {
            Err(Failure::new(Exit::IoError, "cannot write the list").because(error))
        }
        Err(Stop::Store(error)) => Err(admin::failed(error)),
    }
}

/// Writes a short list: a table with a head, or one JSON object a line.
pub(crate) fn write<const COLUMNS: usize>(
    as_json: bool,
    head: [&str; COLUMNS],
    rows: impl Iterator<Item = ([String; COLUMNS], Value)>,
) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut rows: Vec<_> = rows.collect();
    let mut write = || {
        if as_json {
            for (_, json) in &rows {
                writeln!(out, "{}", clean::json_escape(&json.to_string()))?;
            }
            return out.flush();
        }
        let head = (head.map(str::to_owned), Value::Null);
        rows.insert(0, head);
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|(row, _)| row.get(column));
            cells.map(|cell| cell.width()).max().unwrap_or_default()
        };
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        for (row, _) in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                let room = width.saturating_sub(cell.width()) + 2;
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', room));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        out.flush()
    };
    finish(write().map_err(Stop::Output))
}
