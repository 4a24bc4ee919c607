//! A socket that writes once where a connection flushes twice: the headers of a call and its first data come from two tasks, and
//! each write wakes the peer. A flush lets the tasks that are ready go first. It must not know what is written.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered; what is larger goes out as it is.
const GATHERED_MAX: usize = 16 << 10;

/// Around a stream of bytes.
#[derive(Debug)]
pub(super) struct Gathering<S> {
    inner: S,
    gathered: Vec<u8>,
    written: usize,
    waited: bool,
}

impl<S> Gathering<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, gathered: Vec::new(), written: 0, waited: false }
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    /// Writes what is gathered.
    fn drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.gathered.len() {
            let rest = &self.gathered[self.written..];
            let count = ready!(Pin::new(&mut self.inner).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.gathered.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn has_room(&self, more: usize) -> bool {
        self.written == 0 && self.gathered.len() + more <= GATHERED_MAX
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.has_room(bytes.len()) {
            self.gathered.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.drain(context))?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = slices.iter().map(|slice| slice.len()).sum();
        if self.has_room(total) {
            slices.iter().for_each(|slice| self.gathered.extend_from_slice(slice));
            return Poll::Ready(Ok(total));
        }
        ready!(self.drain(context))?;
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() && !std::mem::replace(&mut self.waited, true) {
            // Once around: what else is ready to be written comes first.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.drain(context))?;
        self.waited = false;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_is_written_arrives_whole_and_in_order() {
        let (one, mut other) = tokio::io::duplex(1_000);
        let mut socket = Gathering::new(one);
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            other.read_to_end(&mut all).await.map(|_| all)
        });
        let mut expected = Vec::new();
        for length in [1_usize, 500, 20_000, 3, 16_384, 16_385, 7] {
            let bytes: Vec<u8> = (0..length).map(|place| (place * length) as u8).collect();
            expected.extend_from_slice(&bytes);
            socket.write_all(&bytes).await.unwrap();
            if length % 2 == 0 {
                socket.flush().await.unwrap();
            }
        }
        socket.shutdown().await.unwrap();
        drop(socket);
        assert_eq!(reader.await.unwrap().unwrap(), expected);
    }
}
