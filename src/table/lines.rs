//! Which line of a CSV file a byte stands on, counted beside the reading: however lines end, and with the empty ones.

use std::collections::VecDeque;
use std::io::Read;

/// Passes on what it reads and keeps where the lines begin that are not empty.
pub(super) struct Lines<R> {
    inner: R,
    delimiter: u8,
    /// How many bytes passed.
    offset: u64,
    /// The line that the next byte stands on, 1-based.
    line: u64,
    /// Where lines begin that are not empty, with their numbers; those before what was asked for last are forgotten.
    begins: VecDeque<(u64, u64)>,
    /// The byte before.
    before: u8,
    quote: Quote,
}

/// Where a cell's quotes stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    /// A cell begins: a quote would open it.
    Begin,
    /// Within a cell without quotes, or after closed ones.
    Outside,
    /// Opened at this byte.
    Open(u64),
    /// Opened at this byte and closed by the byte before, unless this is another quote.
    Closing(u64),
}

impl<R: Read> Lines<R> {
    /// Counts the lines of `inner`, whose cells are parted by `delimiter`.
    pub(super) fn new(inner: R, delimiter: u8) -> Lines<R> {
        let begins = VecDeque::new();
        Lines { inner, delimiter, offset: 0, line: 1, begins, before: b'\n', quote: Quote::Begin }
    }

    /// The number of the first line that is not empty and begins at a byte or after it. Bytes are to be asked for in
    /// ascending order.
    pub(super) fn line_from(&mut self, byte: u64) -> u64 {
        while self.begins.front().is_some_and(|(begin, _)| *begin < byte) {
            self.begins.pop_front();
        }
        self.begins.front().map_or(self.line, |(_, line)| *line)
    }

    /// Where a quote stands that nothing closes, as far as was read.
    pub(super) fn open_quote(&self) -> Option<u64> {
        match self.quote {
            Quote::Open(byte) => Some(byte),
            Quote::Begin | Quote::Outside | Quote::Closing(_) => None,
        }
    }

    fn pass(&mut self, byte: u8) {
        let ends = matches!(byte, b'\n' | b'\r');
        if matches!(self.before, b'\n' | b'\r') && !ends {
            self.begins.push_back((self.offset, self.line));
        }
        self.line += u64::from(byte == b'\r' || (byte == b'\n' && self.before != b'\r'));
        self.quote = match (self.quote, byte) {
            (Quote::Begin, b'"') => Quote::Open(self.offset),
            (Quote::Open(at), b'"') => Quote::Closing(at),
            (Quote::Closing(at), b'"') | (Quote::Open(at), _) => Quote::Open(at),
            (_, byte) if ends || byte == self.delimiter => Quote::Begin,
            _ => Quote::Outside,
        };
        (self.before, self.offset) = (byte, self.offset + 1);
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        for byte in buffer.iter().take(length) {
            self.pass(*byte);
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Lines<&[u8]> {
        let mut lines = Lines::new(text.as_bytes(), b',');
        std::io::copy(&mut lines, &mut std::io::sink()).unwrap();
        lines
    }

    #[test]
    fn lines_are_counted_however_they_end() {
        for text in ["a\nb\n\nc\n", "a\r\nb\r\n\r\nc", "a\rb\r\rc"] {
            let mut lines = read(text);
            let of = |c: char| u64::try_from(text.find(c).unwrap()).unwrap();
            assert_eq!([lines.line_from(0), lines.line_from(of('b'))], [1, 2], "{text:?}");
            assert_eq!(lines.line_from(of('b') + 1), 4, "the empty one between is counted");
        }
    }

    #[test]
    fn a_quote_opens_at_the_beginning_of_a_cell_and_two_within_one_close_none() {
        for (text, open) in [
            ("a,\"b", Some(2)),
            ("a,\"b\"", None),
            ("a,\"b\"\"", Some(2)),
            ("a,\"b\"\"\"", None),
            ("5\" pipe,b", None),
            ("a\n\"b", Some(2)),
        ] {
            assert_eq!(read(text).open_quote(), open, "{text:?}");
        }
    }
}
