//! Cuts a growing buffer into CR LF lines, looking at every byte once however slowly the head arrives.
//!
//! Limits are checked as the bytes come in, so an endless line is refused before it ends. A whole head and the same head in
//! pieces give the same verdict: for each line one limit is decisive, by where the line starts and not by what was read.

use super::HeadFault;
use memchr::memchr;
use std::ops::Range;

/// Where the search for line ends stands, as offsets from the start of the buffer.
#[derive(Debug, Default, Clone)]
pub(super) struct LineCutter {
    start: usize,
    searched: usize,
}

/// What bounds the next line.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineLimit {
    /// Bytes of the line without its CR LF.
    pub line_bytes: usize,
    /// Bytes of the whole head, line ends and the closing empty line included.
    pub head_bytes: usize,
    /// What to say when the line is the one that is too long.
    pub too_long: HeadFault,
}

impl LineCutter {
    /// The next whole line without its CR LF, or `None` until more bytes come.
    ///
    /// # Errors
    /// The line limit, the head limit, or a line feed without CR (rule H2), each as soon as it shows.
    pub fn next_line(&mut self, bytes: &[u8], limit: LineLimit) -> Result<Option<Range<usize>>, HeadFault> {
        let unseen = bytes.get(self.searched..).unwrap_or_default();
        let Some(found) = memchr(b'\n', unseen) else {
            self.searched = bytes.len();
            return self.check(bytes, bytes.len(), limit).map(|()| None);
        };
        let line_feed = self.searched.saturating_add(found);
        self.check(bytes, line_feed, limit)?;
        let line = bytes.get(self.start..line_feed).unwrap_or_default();
        if line.last() != Some(&b'\r') {
            return Err(HeadFault::BareLineFeed);
        }
        let range = self.start..line_feed.saturating_sub(1);
        self.start = line_feed.saturating_add(1);
        self.searched = self.start;
        Ok(Some(range))
    }

    /// Whether nothing has been looked at yet.
    pub fn is_fresh(&self) -> bool {
        self.searched == 0
    }

    /// How many bytes the lines so far took.
    pub fn consumed(&self) -> usize {
        self.start
    }

    #[cfg(test)]
    pub fn searched(&self) -> usize {
        self.searched
    }

    /// Checks a line whose bytes up to `end` (where its LF is or will be) hold no LF.
    fn check(&self, bytes: &[u8], end: usize, limit: LineLimit) -> Result<(), HeadFault> {
        let longest = limit.line_bytes.saturating_add(1); // The line and its CR.
        let length = end.saturating_sub(self.start);
        // A line that may reach its own limit inside the head is judged by that one, any later line by the head's.
        let line_decides = self.start.saturating_add(longest).saturating_add(1) < limit.head_bytes;
        if line_decides {
            let ends_in_cr = end.checked_sub(1).and_then(|last| bytes.get(last)) == Some(&b'\r');
            let fits = length < longest || (length == longest && ends_in_cr);
            return if fits { Ok(()) } else { Err(limit.too_long) };
        }
        if end < limit.head_bytes { Ok(()) } else { Err(HeadFault::HeadTooLong) }
    }
}
