//! The truth log while it is being made: a line of JSON for every request, written to a file as the request ends.
//!
//! The file is bounded: once it is full, one last line says so and later ones are counted.

use serde_json::Value;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// An open journal.
pub(super) struct Journal {
    file: File,
    bytes: u64,
    bytes_max: u64,
    lost: u64,
}

impl Journal {
    /// Begins a new file in place of one that may be there.
    pub(super) fn create(path: &Path, bytes_max: u64) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, bytes: 0, bytes_max, lost: 0 })
    }

    /// Lines that could not be kept.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends a line, which is in the file when this returns.
    pub(super) fn write(&mut self, line: &Value) {
        let text = format!("{line}\n");
        let is_room = self.bytes + text.len() as u64 <= self.bytes_max;
        if is_room && self.lost == 0 {
            self.bytes += text.len() as u64;
            if self.file.write_all(text.as_bytes()).is_ok() {
                return;
            }
        }
        if self.lost == 0 {
            // The end that readers look for; if even that cannot be written, the count still tells.
            let _ = self.file.write_all(b"{\"truncated\":true}\n");
        }
        self.lost += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_journal_says_so_once_and_counts_the_rest() {
        let path = std::env::temp_dir().join(format!("igris-load-journal-{}.jsonl", std::process::id()));
        let mut journal = Journal::create(&path, 30).expect("a file");
        for number in 0..5 {
            journal.write(&serde_json::json!({ "sequence": number }));
        }
        let text = std::fs::read_to_string(&path).expect("the file");
        let _ = std::fs::remove_file(&path);
        assert_eq!(text, "{\"sequence\":0}\n{\"sequence\":1}\n{\"truncated\":true}\n");
        assert_eq!(journal.lost(), 3);
    }
}
