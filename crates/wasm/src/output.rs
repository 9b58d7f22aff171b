//! Standard output and error of an instance: into the function's log, or collected as its answer.

use bytes::{Bytes, BytesMut};
use runtimes::Printer;
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

/// Bytes that one write takes.
const WRITE_MAX: usize = 64 * 1024;

/// Where bytes go.
enum Sink {
    Log(Printer),
    Answer { collected: BytesMut, max: usize, too_large: bool },
}

/// One stream of an instance; all handles write to the same.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<Sink>>);

impl Output {
    /// Lines for the log.
    pub(crate) fn log(printer: Printer) -> Output {
        Output(Arc::new(Mutex::new(Sink::Log(printer))))
    }

    /// An answer of at most `max` bytes; beyond them the program traps.
    pub(crate) fn answer(max: usize) -> Output {
        let sink = Sink::Answer { collected: BytesMut::new(), max, too_large: false };
        Output(Arc::new(Mutex::new(sink)))
    }

    fn lock(&self) -> MutexGuard<'_, Sink> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At the end of an invocation: what is not a complete line is logged.
    pub(crate) fn finish(&self) {
        if let Sink::Log(printer) = &mut *self.lock() {
            printer.finish();
        }
    }

    /// The answer; `None`: it is too large.
    pub(crate) fn take_answer(&self) -> Option<Bytes> {
        match &mut *self.lock() {
            Sink::Log(_) => Some(Bytes::new()),
            Sink::Answer { too_large: true, .. } => None,
            Sink::Answer { collected, .. } => Some(std::mem::take(collected).freeze()),
        }
    }

    fn put(&self, bytes: &[u8]) -> Result<(), TooLarge> {
        match &mut *self.lock() {
            Sink::Log(printer) => printer.write(bytes),
            Sink::Answer { collected, max, too_large } => {
                if collected.len() + bytes.len() > *max {
                    *too_large = true;
                    return Err(TooLarge);
                }
                collected.extend_from_slice(bytes);
            }
        }
        Ok(())
    }
}

struct TooLarge;

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes).map_err(|TooLarge| StreamError::trap("the answer is too large"))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_MAX)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let put = self.put(bytes).map(|()| bytes.len());
        Poll::Ready(put.map_err(|TooLarge| io::ErrorKind::FileTooLarge.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_collected_up_to_their_limit() {
        let output = Output::answer(5);
        let mut handle = output.clone();
        handle.write("abc".into()).unwrap();
        handle.write("de".into()).unwrap();
        assert_eq!(output.take_answer().unwrap(), "abcde");
        handle.write("123456".into()).unwrap_err();
        assert!(output.take_answer().is_none());
    }
}
