//! Lines from a stdin without editing: a pipe, a file, or a terminal with `--plain`.

use std::{
    io::{self, BufRead, IsTerminal},
    thread,
};

use tokio::sync::mpsc;

use crate::clean;

/// Lines read ahead of whoever takes them.
const AHEAD: usize = 16;

/// What [`PlainInput::next`] read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A line without its `\n` or `\r\n`. It may be empty, and bytes that aren't UTF-8 are U+FFFD.
    Line(String),
    /// A line with more bytes than allowed. It was skipped to its end.
    TooLong,
    /// The end of the input. On a terminal (^D) more may follow; otherwise every further call says so.
    End,
}

/// Standard input, line by line, read in a thread of its own.
#[derive(Debug)]
pub struct PlainInput {
    reads: mpsc::Receiver<Read>,
}

impl PlainInput {
    /// Begins to read stdin. A line may have up to `most` bytes.
    ///
    /// Once only: a second reader would get what the first one doesn't.
    ///
    /// # Errors
    /// No thread could be had.
    pub fn open(most: usize) -> io::Result<Self> {
        let (sender, reads) = mpsc::channel(AHEAD);
        thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let stdin = io::stdin();
            let again = stdin.is_terminal();
            read(stdin.lock(), most, again, |read| sender.blocking_send(read).is_ok());
        })?;
        Ok(Self { reads })
    }

    /// The next line. Cancel safe: a line is either returned or still there.
    pub async fn next(&mut self) -> Read {
        self.reads.recv().await.unwrap_or(Read::End)
    }
}

/// Reads until `give` says that nobody listens, or the end; with `again` the end isn't the last word.
fn read(mut input: impl BufRead, most: usize, again: bool, mut give: impl FnMut(Read) -> bool) {
    let mut line = Line::new(most);
    loop {
        let bytes = match input.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::warn!("standard input can't be read: {error}");
                give(Read::End);
                return;
            }
        };
        if bytes.is_empty() {
            if line.has_begun() && !give(line.end()) {
                return;
            }
            if !give(Read::End) || !again {
                return;
            }
            continue;
        }
        let taken = bytes.len();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if let Some(read) = line.push(piece)
                && !give(read)
            {
                return;
            }
        }
        input.consume(taken);
    }
}

/// The line being read; never longer than it may be.
struct Line {
    bytes: Vec<u8>,
    most: usize,
    too_long: bool,
}

impl Line {
    fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most, too_long: false }
    }

    fn has_begun(&self) -> bool {
        self.too_long || !self.bytes.is_empty()
    }

    /// Takes more of the line, which it ends if its last byte is a `\n`.
    fn push(&mut self, piece: &[u8]) -> Option<Read> {
        let (piece, ends) = match piece.strip_suffix(b"\n") {
            Some(piece) => (piece, true),
            None => (piece, false),
        };
        // One byte more for a `\r` that will turn out to belong to the line's end.
        if self.bytes.len() + piece.len() > self.most.saturating_add(1) {
            self.too_long = true;
            self.bytes = Vec::new();
        } else if !self.too_long {
            self.bytes.extend_from_slice(piece);
        }
        ends.then(|| {
            if self.bytes.last() == Some(&b'\r') {
                self.bytes.pop();
            }
            self.end()
        })
    }

    fn end(&mut self) -> Read {
        let bytes = std::mem::take(&mut self.bytes);
        if std::mem::take(&mut self.too_long) || bytes.len() > self.most {
            Read::TooLong
        } else {
            Read::Line(clean::bytes(&bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything read from `bytes` that arrive `at_once` at a time.
    fn reads(bytes: &[u8], at_once: usize, most: usize) -> Vec<Read> {
        let mut all = Vec::new();
        let input = io::BufReader::with_capacity(at_once, bytes);
        read(input, most, false, |read| {
            all.push(read);
            true
        });
        all
    }

    fn line(text: &str) -> Read {
        Read::Line(text.to_owned())
    }

    #[test]
    fn lines_end_with_a_line_feed_and_the_last_one_with_the_input() {
        assert_eq!(
            reads(b"a\n\nb\r\nc\rd", 3, 9),
            [line("a"), line(""), line("b"), line("c\rd"), Read::End]
        );
        assert_eq!(reads(b"", 3, 9), [Read::End]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_is_read() {
        assert_eq!(
            reads(b"abcd\nabcde\nab\n", 2, 4),
            [line("abcd"), Read::TooLong, line("ab"), Read::End]
        );
        assert_eq!(reads(b"abcd\r\nabcde\r\n", 3, 4), [line("abcd"), Read::TooLong, Read::End]);
        assert_eq!(reads(b"abcde", 3, 4), [Read::TooLong, Read::End]);
    }

    #[test]
    fn an_endless_line_takes_no_endless_memory() {
        let mut line = Line::new(10);
        for _ in 0..100 {
            assert_eq!(line.push(&[b'x'; 1000]), None);
            assert!(line.bytes.capacity() <= 1000);
        }
        assert_eq!(line.push(b"\n"), Some(Read::TooLong));
    }

    #[test]
    fn n33_bytes_that_are_not_utf_8_are_replaced() {
        assert_eq!(reads(b"caf\xe9\n", 9, 9), [line("caf\u{fffd}"), Read::End]);
    }

    #[test]
    fn nobody_listening_ends_the_reading() {
        let mut given = 0;
        read(&b"a\nb\nc\n"[..], 9, true, |_| {
            given += 1;
            given < 2
        });
        assert_eq!(given, 2);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_the_bytes_arrive(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..60),
            at_once in 1_usize..20,
            most in 0_usize..10,
        ) {
            prop_assert_eq!(reads(&bytes, at_once, most), reads(&bytes, 1000, most));
        }
    }
}
