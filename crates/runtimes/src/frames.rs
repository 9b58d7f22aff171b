//! The private protocol between the daemon and our own boot programs: frames over an inherited socket pair.
//!
//! ```text
//! frame   = length: u32 little-endian, of what follows; kind: u8; body
//! daemon → runtime
//!   1 event        deadline: i64 (ms since 1970), request id: 36 bytes, lengths of arn: u16, trace id: u16,
//!                  client context: u32, then arn, trace id, client context, payload (the rest)
//!   2 begin        to one that waits: each variable as NAME=VALUE, a zero after each of them
//!   3 restore      to one that was initialised for SnapStart, once, before any event: no body
//!   4 attached     after 2: the function's files are there: working directory
//! runtime → daemon
//!   1 booted       user code is about to be loaded
//!   2 ready        initialised; events may come
//!   3 init error   report; the runtime exits afterwards
//!   4 response     payload
//!   5 error        report
//!   6 stream start content type
//!   7 stream data  at most 64 KiB
//!   8 stream end
//!   9 stream error report
//!  10 final error  report; the runtime exits afterwards
//!  11 waiting      started without the environment of a function, it waits for it; then all begins as usual
//!  12 restored     hooks have run; events may come
//!  13 restore error report; the runtime exits afterwards
//! report  = length of type: u16, type, JSON (the rest)
//! ```
//! One event at a time; it is answered by one of 4, 5, 10, or by 6, any number of 7, and one of 8, 9. Anything else ends
//! the environment. Less than a HTTP exchange in every respect: one write and one read per direction.

use crate::link::{Report, Said, Signal};
use bytes::{Buf, Bytes, BytesMut};
use rustix::net::SendFlags;
use std::{
    ffi::OsString,
    future::{Future, poll_fn},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    pin::pin,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe::{Receiver, Sender},
};

/// Bytes of an event's fixed part, its length included.
const EVENT_HEADER: usize = 57;
/// Bytes of any frame's fixed part.
const HEADER: usize = 5;
/// Longest frame besides a response: a report.
const FRAME_MAX: usize = 16 * 1024 * 1024;
/// Data of a stream in one frame: some wait for the stream's reader, and are held meanwhile.
const STREAM_DATA_MAX: usize = 64 * 1024;
/// Payloads up to this size are copied behind their header, so that one plain write suffices.
const COPY_MAX: usize = 16 * 1024;

/// What an event frame carries.
pub(crate) struct Event<'a> {
    pub(crate) deadline_ms: i64,
    pub(crate) request_id: &'a str,
    pub(crate) arn: &'a str,
    pub(crate) trace: &'a str,
    pub(crate) client_context: &'a str,
    /// Not in frames: our own boot programs are told when they start.
    pub(crate) tenant: &'a str,
    pub(crate) payload: &'a Bytes,
}

/// Writes everything of an event but its payload into `out`.
fn encode_head(event: &Event<'_>, out: &mut Vec<u8>) {
    let short = |text: &str| text.len().min(usize::from(u16::MAX));
    let (arn, trace) = (short(event.arn), short(event.trace));
    let context = event.client_context.len();
    let length = EVENT_HEADER - 4 + arn + trace + context + event.payload.len();
    out.clear();
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out.push(1);
    out.extend_from_slice(&event.deadline_ms.to_le_bytes());
    out.extend_from_slice(event.request_id.as_bytes());
    out.extend_from_slice(&(arn as u16).to_le_bytes());
    out.extend_from_slice(&(trace as u16).to_le_bytes());
    out.extend_from_slice(&(context as u32).to_le_bytes());
    out.extend_from_slice(&event.arn.as_bytes()[..arn]);
    out.extend_from_slice(&event.trace.as_bytes()[..trace]);
    out.extend_from_slice(event.client_context.as_bytes());
}

/// Writes a begin frame into `out`.
fn encode_begin(env: &[(OsString, OsString)], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0, 0, 0, 0, 2]);
    for (name, value) in env {
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value.as_bytes());
        out.push(0);
    }
    set_length(out);
}

/// Completes a frame of which everything else is there.
fn set_length(frame: &mut Vec<u8>) {
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX).to_le_bytes();
    frame.splice(..4, length);
}

/// The daemon's end of the channel.
pub(crate) struct Frames {
    /// The socket, as what is waited on for reading alone: to who may also write, the kernel tells of everything that the
    /// runtime takes, which wakes the daemon once more for each event.
    stream: Receiver,
    inbox: BytesMut,
    outbox: Vec<u8>,
    response_max: usize,
    /// Bytes that are still to come of a response that is too long.
    unwanted: usize,
    told_in_order: bool,
}

impl Frames {
    /// A channel and the runtime's end of it. Responses longer than `response_max` are thrown away as they arrive.
    pub(crate) fn pair(response_max: usize) -> io::Result<(Frames, OwnedFd)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let frames = Frames {
            stream: Receiver::from_owned_fd_unchecked(ours.into())?,
            inbox: BytesMut::with_capacity(16 * 1024),
            outbox: Vec::with_capacity(1024),
            response_max,
            unwanted: 0,
            told_in_order: false,
        };
        Ok((frames, theirs.into()))
    }

    /// Hands over an event.
    pub(crate) async fn send(&mut self, event: &Event<'_>) -> io::Result<()> {
        encode_head(event, &mut self.outbox);
        if event.payload.len() <= COPY_MAX {
            self.outbox.extend_from_slice(event.payload);
            return self.write_all(&self.outbox).await;
        }
        self.write_all(&self.outbox).await?;
        self.write_all(event.payload).await
    }

    /// Tells a runtime that waits what it is for. Texts contain no zero: they are those of an environment.
    /// What this touches need not be there before [`Frames::attached`].
    pub(crate) async fn begin(&mut self, env: &[(OsString, OsString)]) -> io::Result<()> {
        encode_begin(env, &mut self.outbox);
        self.write_all(&self.outbox).await?;
        // It holds credentials.
        self.outbox.fill(0);
        Ok(())
    }

    /// Tells it that everything is there, and where it works.
    pub(crate) async fn attached(&mut self, folder: &Path) -> io::Result<()> {
        let mut frame = vec![0, 0, 0, 0, 4];
        frame.extend_from_slice(folder.as_os_str().as_bytes());
        set_length(&mut frame);
        self.write_all(&frame).await
    }

    /// Tells a runtime that it is restored.
    pub(crate) async fn restore(&mut self) -> io::Result<()> {
        self.write_all(&[1, 0, 0, 0, 3]).await
    }

    /// Writes at once what there is room for; for the rest it waits.
    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.stream, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let same = self.stream.as_fd().try_clone_to_owned()?;
                    return Sender::from_owned_fd_unchecked(same)?.write_all(bytes).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// See [`crate::link::Link::told_in_order`]: what came last was waited for, and came in one piece that left nothing to read,
    /// as each answer of our own programs does that is not long.
    pub(crate) fn told_in_order(&self) -> bool {
        self.told_in_order
    }

    /// The next thing that the runtime says. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signal {
        let mut reads = 0;
        self.told_in_order = false;
        loop {
            if self.unwanted > 0 {
                let got = self.unwanted.min(self.inbox.len());
                self.inbox.advance(got);
                self.unwanted -= got;
                if self.unwanted == 0 {
                    return Signal::Said(Said::TooLarge);
                }
            } else {
                match parse(&mut self.inbox, self.response_max) {
                    Parsed::Said(said) => return Signal::Said(said),
                    Parsed::Broken(reason) => return Signal::Broken(reason),
                    Parsed::Incomplete { wants } => self.inbox.reserve(wants),
                    Parsed::Discard { length } => {
                        self.unwanted = length;
                        continue;
                    }
                }
            }
            let (room, empty) = (self.inbox.capacity() - self.inbox.len(), self.inbox.is_empty());
            let mut waited = false;
            let read = {
                let mut reading = pin!(self.stream.read_buf(&mut self.inbox));
                poll_fn(|cx| {
                    let polled = reading.as_mut().poll(cx);
                    waited |= polled.is_pending();
                    polled
                })
                .await
            };
            match read {
                Ok(0) | Err(_) => return Signal::Closed,
                Ok(got) => {
                    reads += 1;
                    self.told_in_order = waited && empty && reads == 1 && got < room;
                }
            }
        }
    }
}

/// What the start of the inbox means.
#[derive(Debug)]
enum Parsed {
    Said(Said),
    Incomplete {
        wants: usize,
    },
    /// A response of so many bytes, header included, that nobody wants.
    Discard {
        length: usize,
    },
    Broken(&'static str),
}

/// Takes one frame from `inbox`.
fn parse(inbox: &mut BytesMut, response_max: usize) -> Parsed {
    if inbox.len() < HEADER {
        return Parsed::Incomplete { wants: 4096 };
    }
    let length = u32::from_le_bytes([inbox[0], inbox[1], inbox[2], inbox[3]]) as usize;
    let kind = inbox[4];
    if length == 0 {
        return Parsed::Broken("empty frame");
    }
    let total = length + 4;
    if kind == 4 && total - HEADER > response_max {
        return Parsed::Discard { length: total };
    }
    if (kind != 4 && length > FRAME_MAX) || (kind == 7 && total - HEADER > STREAM_DATA_MAX) {
        return Parsed::Broken("frame too long");
    }
    if inbox.len() < total {
        return Parsed::Incomplete { wants: total - inbox.len() };
    }
    let mut frame = inbox.split_to(total);
    frame.advance(HEADER);
    let body = frame.freeze();
    match interpret(kind, body) {
        Some(said) => Parsed::Said(said),
        None => Parsed::Broken("unknown or malformed frame"),
    }
}

fn interpret(kind: u8, body: Bytes) -> Option<Said> {
    Some(match kind {
        1 => Said::Booted,
        2 => Said::Ready,
        3 => Said::InitError(report(body)?),
        4 => Said::Response(body),
        5 => Said::Error { report: report(body)?, last: false },
        6 => Said::StreamStart { content_type: Some(String::from_utf8_lossy(&body).into_owned()) },
        7 => Said::StreamData(body),
        8 => Said::StreamEnd,
        9 => Said::StreamError(report(body)?),
        10 => Said::Error { report: report(body)?, last: true },
        11 => Said::Waiting,
        12 => Said::Restored,
        13 => Said::RestoreError(report(body)?),
        _ => return None,
    })
}

fn report(mut body: Bytes) -> Option<Report> {
    let length = usize::from(body.try_get_u16_le().ok()?);
    if body.len() < length {
        return None;
    }
    let kind = body.split_to(length);
    Some(Report { kind: String::from_utf8_lossy(&kind).into_owned(), payload: body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = ((body.len() + 1) as u32).to_le_bytes().to_vec();
        out.push(kind);
        out.extend(body);
        out
    }

    #[test]
    fn an_event_is_laid_out_as_documented() {
        let mut out = Vec::new();
        let event = Event {
            deadline_ms: 0x0102_0304,
            request_id: "ffffffff-ffff-4fff-bfff-ffffffffffff",
            arn: "arn",
            trace: "t",
            client_context: "{}",
            tenant: "",
            payload: &Bytes::from_static(b"1"),
        };
        encode_head(&event, &mut out);
        assert_eq!(out.len(), EVENT_HEADER + 6);
        assert_eq!(&out[..4], &(EVENT_HEADER as u32 - 4 + 7).to_le_bytes());
        assert_eq!(&out[5..13], &0x0102_0304i64.to_le_bytes());
        assert_eq!(&out[13..49], event.request_id.as_bytes());
        assert_eq!(&out[49..57], &[3, 0, 1, 0, 2, 0, 0, 0]);
        assert_eq!(&out[57..], b"arnt{}");
    }

    #[test]
    fn a_beginning_is_laid_out_as_documented() {
        let mut out = vec![7];
        let env = [("A".into(), "1=2".into()), ("B".into(), "".into())];
        encode_begin(&env, &mut out);
        assert_eq!(&out[..5], &[(out.len() - 4) as u8, 0, 0, 0, 2]);
        assert_eq!(&out[5..], b"A=1=2\0B=\0");
    }

    #[tokio::test]
    async fn what_is_told_of_files_comes_right_behind_a_beginning() {
        let (mut ours, theirs) = Frames::pair(100).unwrap();
        ours.begin(&[("A".into(), "1".into())]).await.unwrap();
        ours.attached(Path::new("/var/task")).await.unwrap();
        let mut told = [0; 64];
        let length =
            std::io::Read::read(&mut std::os::unix::net::UnixStream::from(theirs), &mut told).unwrap();
        assert_eq!(&told[..length], b"\x05\0\0\0\x02A=1\0\x0a\0\0\0\x04/var/task");
    }

    #[tokio::test]
    async fn a_response_that_is_too_long_is_thrown_away_however_often_the_wait_for_it_is_given_up() {
        let (mut ours, theirs) = Frames::pair(100).unwrap();
        let mut theirs = std::os::unix::net::UnixStream::from(theirs);
        let mut long = 1_001_u32.to_le_bytes().to_vec();
        long.push(4);
        long.extend([b'x'; 1_000]);
        for piece in long.chunks(300) {
            let given_up = tokio::time::timeout(std::time::Duration::ZERO, ours.next()).await;
            assert!(given_up.is_err(), "{given_up:?}");
            std::io::Write::write_all(&mut theirs, piece).unwrap();
        }
        assert!(matches!(ours.next().await, Signal::Said(Said::TooLarge)));
        std::io::Write::write_all(&mut theirs, &[1, 0, 0, 0, 2]).unwrap();
        assert!(matches!(ours.next().await, Signal::Said(Said::Ready)));
    }

    #[tokio::test]
    async fn only_what_was_waited_for_and_came_in_one_piece_is_told_in_order() {
        let (mut ours, theirs) = Frames::pair(100_000).unwrap();
        let mut theirs = std::os::unix::net::UnixStream::from(theirs);
        let mut write = |pieces: &[&[u8]]| {
            for piece in pieces {
                std::io::Write::write_all(&mut theirs, piece).unwrap();
            }
        };
        let answer = frame(4, b"{}");
        // There before it was asked for.
        write(&[&answer]);
        ours.stream.readable().await.unwrap();
        assert!(matches!(ours.next().await, Signal::Said(Said::Response(_))) && !ours.told_in_order());
        let mut waited_for = async |pieces: &[&[u8]]| {
            {
                let mut next = pin!(ours.next());
                assert!(futures_util::future::poll_immediate(next.as_mut()).await.is_none());
                write(pieces);
                assert!(matches!(next.await, Signal::Said(Said::Response(_))));
            }
            ours.told_in_order()
        };
        assert!(waited_for(&[&answer]).await);
        // A second one behind it says that more may have been written since.
        assert!(waited_for(&[&answer, &answer]).await);
        let (mut ours, theirs) = Frames::pair(100_000).unwrap();
        let mut theirs = std::os::unix::net::UnixStream::from(theirs);
        std::io::Write::write_all(&mut theirs, &frame(4, &[b'x'; 50_000])).unwrap();
        assert!(matches!(ours.next().await, Signal::Said(Said::Response(_))) && !ours.told_in_order());
    }

    #[tokio::test]
    async fn frames_arrive_whole_however_they_are_cut() {
        let (mut ours, theirs) = Frames::pair(100).unwrap();
        let mut theirs = std::os::unix::net::UnixStream::from(theirs);
        let mut bytes = frame(1, b"");
        bytes.extend(frame(5, b"\x03\0Odd{}"));
        bytes.extend(frame(4, &[b'x'; 101]));
        bytes.extend(frame(4, b"{}"));
        let writer = std::thread::spawn(move || {
            for byte in bytes {
                std::io::Write::write_all(&mut theirs, &[byte]).unwrap();
            }
        });
        assert!(matches!(ours.next().await, Signal::Said(Said::Booted)));
        match ours.next().await {
            Signal::Said(Said::Error { report, last: false }) => {
                assert_eq!((report.kind.as_str(), &report.payload[..]), ("Odd", &b"{}"[..]));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(ours.next().await, Signal::Said(Said::TooLarge)));
        assert!(matches!(ours.next().await, Signal::Said(Said::Response(body)) if body == "{}"));
        assert!(matches!(ours.next().await, Signal::Closed));
        writer.join().unwrap();
    }

    #[tokio::test]
    async fn large_events_arrive_whole() {
        let (mut ours, theirs) = Frames::pair(100).unwrap();
        let mut theirs = std::os::unix::net::UnixStream::from(theirs);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            std::io::Read::read_to_end(&mut theirs, &mut all).unwrap();
            all
        });
        let payload = Bytes::from(vec![b'x'; 3_000_000]);
        let id = "ffffffff-ffff-4fff-bfff-ffffffffffff";
        let event = Event {
            deadline_ms: 1,
            request_id: id,
            arn: "",
            trace: "",
            client_context: "",
            tenant: "",
            payload: &payload,
        };
        ours.send(&event).await.unwrap();
        drop(ours);
        let all = reader.join().unwrap();
        assert_eq!(all.len(), EVENT_HEADER + payload.len());
        assert!(all.ends_with(&payload[..1000]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64), kind in 0u8..12) {
            let mut inbox = BytesMut::from(&frame(kind, &bytes)[..]);
            let _ = parse(&mut inbox, 32);
            let mut inbox = BytesMut::from(&bytes[..]);
            let _ = parse(&mut inbox, 32);
        }
    }
}
