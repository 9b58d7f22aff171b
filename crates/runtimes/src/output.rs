//! What a function prints: bytes of its pipes into log records.

use base::{LogEvent, Timestamp};
use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, PoisonError},
};
use tokio::net::unix::pipe::Receiver;

/// Longest record, in bytes; a longer one is cut into several. Source: CloudWatch Logs, maximum event size.
pub(crate) const RECORD_MAX: usize = 256 * 1024;
/// Bytes of records that wait for the journal; then the reader stops, and the function with it once its pipe is full.
const WAITING_MAX: usize = 1024 * 1024;

/// How often it is looked whether there is room again.
const FULL_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Cuts a byte stream into records: lines, and frames of any number of lines.
///
/// A frame is what Lambda's runtimes write to their telemetry descriptor: type `a55a00xx` (`xx` names level and format),
/// length, microseconds since 1970 as u64, all big-endian, then the text. It is recognised at the start of a line, where its
/// first byte can begin no UTF-8 text.
#[derive(Default)]
pub(crate) struct Splitter {
    partial: Vec<u8>,
}

const FRAME_HEADER: usize = 16;
const FRAME_MAGIC: [u8; 3] = [0xa5, 0x5a, 0x00];

impl Splitter {
    /// Takes bytes; appends the records that they complete.
    pub(crate) fn feed(&mut self, bytes: &[u8], now: Timestamp, out: &mut Vec<LogEvent>) {
        if self.partial.is_empty() {
            let consumed = take_records(bytes, now, out);
            self.partial.extend_from_slice(&bytes[consumed..]);
        } else {
            self.partial.extend_from_slice(bytes);
            let consumed = take_records(&self.partial, now, out);
            self.partial.drain(..consumed);
        }
    }

    /// What is left of an unfinished line, at the end.
    pub(crate) fn finish(&mut self, now: Timestamp, out: &mut Vec<LogEvent>) {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            push(&rest, now, out);
        }
    }
}

/// Appends the complete records of `bytes`; returns how many bytes they were.
fn take_records(bytes: &[u8], now: Timestamp, out: &mut Vec<LogEvent>) -> usize {
    let mut consumed = 0;
    loop {
        let rest = &bytes[consumed..];
        match next_record(rest) {
            Next::Frame { text, at, length } => {
                push(text, at, out);
                consumed += length;
            }
            Next::Line { length } => {
                push(&rest[..length], now, out);
                consumed += length + 1;
            }
            Next::Cut { length } => {
                push(&rest[..length], now, out);
                consumed += length;
            }
            Next::Incomplete => return consumed,
        }
    }
}

enum Next<'a> {
    Frame { text: &'a [u8], at: Timestamp, length: usize },
    Line { length: usize },
    Cut { length: usize },
    Incomplete,
}

fn next_record(bytes: &[u8]) -> Next<'_> {
    let magic = bytes.len().min(FRAME_MAGIC.len());
    if magic > 0 && bytes[..magic] == FRAME_MAGIC[..magic] {
        let Some(header) = bytes.first_chunk::<FRAME_HEADER>() else { return Next::Incomplete };
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let micros = header[8..].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        // An absurd length is no frame: then it is text, of a kind.
        if length <= 16 * RECORD_MAX {
            let Some(text) = bytes.get(FRAME_HEADER..FRAME_HEADER + length) else { return Next::Incomplete };
            let at = Timestamp(i64::try_from(micros / 1000).unwrap_or(i64::MAX));
            return Next::Frame { text, at, length: FRAME_HEADER + length };
        }
    }
    match bytes.iter().take(RECORD_MAX + 1).position(|byte| *byte == b'\n') {
        Some(length) => Next::Line { length },
        None if bytes.len() > RECORD_MAX => Next::Cut { length: boundary(bytes, RECORD_MAX) },
        None => Next::Incomplete,
    }
}

/// The last position up to `at` that does not cut a character.
fn boundary(bytes: &[u8], at: usize) -> usize {
    (at.saturating_sub(3)..=at)
        .rev()
        .find(|&i| bytes.get(i).is_none_or(|byte| byte & 0xc0 != 0x80))
        .unwrap_or(at)
}

fn push(text: &[u8], at: Timestamp, out: &mut Vec<LogEvent>) {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut rest = text;
    while rest.len() > RECORD_MAX {
        let (piece, after) = rest.split_at(boundary(rest, RECORD_MAX));
        out.push(LogEvent { at, message: String::from_utf8_lossy(piece).into_owned() });
        rest = after;
    }
    out.push(LogEvent { at, message: String::from_utf8_lossy(rest).into_owned() });
}

/// The read ends of a process's output.
pub(crate) struct Output {
    out: Receiver,
    err: Receiver,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    out: Splitter,
    err: Splitter,
    records: Vec<LogEvent>,
    bytes: usize,
    /// Which of them has no writer any more.
    closed: [bool; 2],
}

thread_local! {
    /// What is read into; so large that one reading usually is enough.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; 16 * 1024].into());
}

impl Output {
    /// Both must be non-blocking.
    pub(crate) fn new(out: OwnedFd, err: OwnedFd) -> std::io::Result<Output> {
        let read = Mutex::new(Read::default());
        Ok(Output { out: Receiver::from_owned_fd(out)?, err: Receiver::from_owned_fd(err)?, read })
    }

    /// Takes what the pipes hold now and appends the complete records to `into`. Never waits.
    pub(crate) fn drain(&self, now: Timestamp, into: &mut Vec<LogEvent>) {
        self.pull_both(now, into, |pipe, buffer| Ok(rustix::io::read(pipe.as_fd(), buffer)?));
    }

    /// The same where the reactor knows what they hold ([`Link::told_in_order`]): a pipe of which it does not know is not read.
    ///
    /// [`Link::told_in_order`]: crate::link::Link::told_in_order
    pub(crate) fn drain_known(&self, now: Timestamp, into: &mut Vec<LogEvent>) {
        self.pull_both(now, into, |pipe, buffer| pipe.try_read(buffer));
    }

    fn pull_both(
        &self,
        now: Timestamp,
        into: &mut Vec<LogEvent>,
        from: impl Fn(&Receiver, &mut [u8]) -> io::Result<usize>,
    ) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.take(into);
        // What was closed stays so: most runtimes write to one pipe only, and this is done at every invocation.
        for (pipe, is_err) in [(&self.out, false), (&self.err, true)] {
            if !read.closed[usize::from(is_err)] {
                read.pull(|buffer| from(pipe, buffer), is_err, now);
            }
        }
        read.take(into);
    }

    /// Takes what was read already.
    pub(crate) fn take(&self, into: &mut Vec<LogEvent>) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).take(into);
    }

    /// The same at the end: also what is not a complete line.
    pub(crate) fn finish(&self, now: Timestamp, into: &mut Vec<LogEvent>) {
        self.drain(now, into);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.out.finish(now, into);
        read.err.finish(now, into);
    }

    /// Resolves when there is something to take; pends for ever when both pipes are closed. Cancel-safe.
    pub(crate) async fn readable(&self, now: impl Fn() -> Timestamp) {
        let mut open = [true, true];
        loop {
            let which = tokio::select! {
                ready = self.out.readable(), if open[0] => (ready.is_ok(), false),
                ready = self.err.readable(), if open[1] => (ready.is_ok(), true),
                else => return std::future::pending().await,
            };
            let (ready, is_err) = which;
            let state = if ready { self.fill(is_err, now()) } else { Pull::Closed };
            match state {
                Pull::Some => return,
                Pull::Nothing => {}
                // Nobody takes what an idle environment writes until its next invocation; do not spin meanwhile.
                Pull::Full => tokio::time::sleep(FULL_PAUSE).await,
                Pull::Closed => open[usize::from(is_err)] = false,
            }
        }
    }

    fn fill(&self, is_err: bool, now: Timestamp) -> Pull {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let pipe = if is_err { &self.err } else { &self.out };
        // This way the pipe is known to be empty afterwards, and is waited for again.
        read.pull(|buffer| pipe.try_read(buffer), is_err, now)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pull {
    Some,
    Nothing,
    Closed,
    Full,
}

impl Read {
    fn take(&mut self, into: &mut Vec<LogEvent>) {
        self.bytes = 0;
        into.append(&mut self.records);
    }

    /// Reads until the pipe is empty or enough waits.
    fn pull(
        &mut self,
        from: impl FnMut(&mut [u8]) -> io::Result<usize>,
        is_err: bool,
        now: Timestamp,
    ) -> Pull {
        BUFFER.with_borrow_mut(|buffer| self.pull_through(buffer, from, is_err, now))
    }

    fn pull_through(
        &mut self,
        buffer: &mut [u8],
        mut from: impl FnMut(&mut [u8]) -> io::Result<usize>,
        is_err: bool,
        now: Timestamp,
    ) -> Pull {
        let mut any = Pull::Nothing;
        while self.bytes < WAITING_MAX {
            let got = match from(buffer) {
                Ok(0) => {
                    self.closed[usize::from(is_err)] = true;
                    return if any == Pull::Nothing { Pull::Closed } else { any };
                }
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return any,
            };
            any = Pull::Some;
            self.bytes += got;
            let splitter = if is_err { &mut self.err } else { &mut self.out };
            splitter.feed(&buffer[..got], now, &mut self.records);
        }
        // More than enough waits already: whoever takes it makes room.
        if any == Pull::Nothing { Pull::Full } else { any }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(chunks: &[&[u8]]) -> Vec<(i64, String)> {
        let mut splitter = Splitter::default();
        let mut out = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk, Timestamp(7), &mut out);
        }
        splitter.finish(Timestamp(9), &mut out);
        out.into_iter().map(|event| (event.at.0, event.message)).collect()
    }

    fn frame(text: &str, micros: u64) -> Vec<u8> {
        let mut out = vec![0xa5, 0x5a, 0, 3];
        out.extend((text.len() as u32).to_be_bytes());
        out.extend(micros.to_be_bytes());
        out.extend(text.as_bytes());
        out
    }

    fn records(of: &[(i64, &str)]) -> Vec<(i64, String)> {
        of.iter().map(|(at, text)| (*at, (*text).to_owned())).collect()
    }

    #[test]
    fn lines_are_records_and_an_unfinished_one_waits() {
        assert_eq!(split(&[b"a\nb", b"c\n\nd"]), records(&[(7, "a"), (7, "bc"), (7, ""), (9, "d")]));
    }

    #[test]
    fn frames_keep_their_lines_together_and_their_time() {
        let mut bytes = b"before\n".to_vec();
        bytes.extend(frame("one\ntwo\n", 5_000));
        bytes.extend(b"after\n");
        let expected = records(&[(7, "before"), (5, "one\ntwo"), (7, "after")]);
        assert_eq!(split(&[&bytes]), expected);
        let cut: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(split(&cut), expected);
    }

    #[test]
    fn long_lines_are_cut_between_characters_and_bad_bytes_replaced() {
        let long = "é".repeat(RECORD_MAX / 2 + 10);
        let cut = split(&[b"x", long.as_bytes(), b"\n\xff\n"]);
        assert_eq!(cut.len(), 3);
        assert_eq!(cut[0].1.len() + cut[1].1.len(), long.len() + 1);
        assert!(!cut[0].1.contains('\u{fffd}') && cut[0].1.len() <= RECORD_MAX);
        assert_eq!(cut[2].1, "\u{fffd}");
    }

    proptest! {
        /// However the bytes are cut, the records are the same, and nothing panics.
        #[test]
        fn cuts_do_not_matter(
            pieces in proptest::collection::vec(
                prop_oneof![
                    "[a-c\n]{0,8}".prop_map(String::into_bytes),
                    "[a-c\n]{0,8}".prop_map(|text| frame(&text, 1_000)),
                    proptest::collection::vec(any::<u8>(), 0..8),
                ],
                0..8,
            ),
            width in 1usize..9,
        ) {
            let bytes: Vec<u8> = pieces.concat();
            let chunks: Vec<&[u8]> = bytes.chunks(width).collect();
            let whole = split(&[&bytes]);
            prop_assert_eq!(split(&chunks), whole);
        }
    }

    #[tokio::test]
    async fn output_is_read_from_both_pipes() {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let ((out_read, out_write), (err_read, err_write)) = (pipe(), pipe());
        let output = Output::new(out_read, err_read).unwrap();
        rustix::io::write(&err_write, b"e\n").unwrap();
        drop(out_write);
        output.readable(|| Timestamp(1)).await;
        let mut lines = Vec::new();
        output.drain(Timestamp(1), &mut lines);
        rustix::io::write(&err_write, b"f").unwrap();
        output.finish(Timestamp(2), &mut lines);
        let texts: Vec<_> = lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(texts, ["e", "f"]);
    }
}
