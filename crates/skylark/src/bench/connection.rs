//! A blocking connection for load: nothing between the thread and the socket, and answers are read where they arrived, so
//! that the generator costs the machine it shares with the server as little as possible.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::BytesMut;
use memchr::memmem;
use protocol::codes::response;
use protocol::command::{
    CommandOut, Head, HeadError, Header, binary_head, encode_command, json_head,
};
use protocol::frame::{Codec, cut};
use remoting::net::BlockingStream;

/// How long a broker may take to answer, held pulls (15 s) included.
const REPLY_TIMEOUT: Duration = Duration::from_secs(40);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const FRAME_BYTES_MAX: usize = 16 << 20;
const READ_BYTES: usize = 128 << 10;

pub(super) struct Connection {
    stream: BlockingStream,
    /// What has arrived and is not used yet: `inbound[start..end]`.
    inbound: Vec<u8>,
    start: usize,
    end: usize,
}

/// An answer where it arrived.
pub(super) struct Reply<'a> {
    codec: Codec,
    header: &'a [u8],
    pub(super) body: &'a [u8],
}

impl Connection {
    pub(super) fn open(addr: &str) -> anyhow::Result<Connection> {
        let stream = remoting::net::connect_blocking(addr, CONNECT_TIMEOUT)
            .with_context(|| format!("can't connect to {addr}"))?;
        Connection::over(stream)
    }

    fn over(stream: BlockingStream) -> anyhow::Result<Connection> {
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Connection {
            stream,
            inbound: vec![0; READ_BYTES],
            start: 0,
            end: 0,
        })
    }

    /// The same connection for another thread; only one of the two may read.
    pub(super) fn share(&self) -> anyhow::Result<Connection> {
        Connection::over(self.stream.try_clone()?)
    }

    /// Wakes the thread that reads.
    pub(super) fn close(&self) {
        // Fails only if the other side was faster.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream
            .write_all(bytes)
            .context("can't send to the broker")
    }

    /// From now on nothing waits: for `try_write` and `try_read`.
    pub(super) fn set_nonblocking(&self) -> anyhow::Result<()> {
        Ok(self.stream.set_nonblocking(true)?)
    }

    /// Writes what the socket takes of `bytes`; None if that is nothing.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> anyhow::Result<Option<usize>> {
        match self.stream.write(bytes) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("can't send to the broker"),
        }
    }

    /// Reads what has arrived; false if that is nothing.
    pub(super) fn try_read(&mut self) -> anyhow::Result<bool> {
        self.make_room();
        match self.stream.read(&mut self.inbound[self.end..]) {
            Ok(0) => bail!("the broker closed the connection"),
            Ok(count) => {
                self.end += count;
                Ok(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error).context("can't read from the broker"),
        }
    }

    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.inbound.len() - self.end < READ_BYTES / 2 {
            self.inbound.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let room = self.end + READ_BYTES;
            self.inbound.resize(room.max(self.inbound.len()), 0);
        }
    }

    /// Waits until something arrives.
    pub(super) fn read(&mut self) -> anyhow::Result<()> {
        self.make_room();
        let count = match self.stream.read(&mut self.inbound[self.end..]) {
            Ok(0) => bail!("the broker closed the connection"),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                bail!(
                    "no answer from the broker for {} s",
                    REPLY_TIMEOUT.as_secs()
                )
            }
            // Stopped and continued meanwhile (Ctrl-Z): it goes on.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error).context("can't read from the broker"),
        };
        self.end += count;
        Ok(())
    }

    /// The next answer of what has arrived.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Reply<'_>>> {
        let arrived = &self.inbound[self.start..self.end];
        let Some(frame) = cut(arrived, FRAME_BYTES_MAX).context("the broker sent no frame")? else {
            return Ok(None);
        };
        self.start += frame.end;
        Ok(Some(Reply {
            codec: frame.codec,
            body: &arrived[frame.header.end..frame.end],
            header: &arrived[frame.header],
        }))
    }

    /// Sends one frame and waits for its answer; for use while nothing else is under way.
    fn exchange<T>(
        &mut self,
        frame: &[u8],
        read: impl FnOnce(&Head<'_>, &[u8]) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.write(frame)?;
        loop {
            self.read()?;
            if let Some(reply) = self.next()? {
                let head = reply.head()?;
                if head.code == response::SUCCESS {
                    return read(&head, reply.body);
                }
                return Err(Refused {
                    code: head.code,
                    remark: remark(&head),
                }
                .into());
            }
        }
    }

    /// Sends one frame and waits for its success.
    pub(super) fn send(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        self.exchange(frame, |_, _| Ok(()))
    }

    /// Asks without a body; `read` is given the head and body of an answer with code 0.
    pub(super) fn call<'h, T>(
        &mut self,
        code: i32,
        header: &impl Header<'h>,
        read: impl FnOnce(&Head<'_>, &[u8]) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut request = BytesMut::new();
        let command = CommandOut {
            code,
            ..CommandOut::default()
        };
        encode_command(&mut request, Codec::Json, &command, header, 0)?;
        self.exchange(&request, read)
    }
}

impl Reply<'_> {
    pub(super) fn head(&self) -> Result<Head<'_>, HeadError> {
        match self.codec {
            Codec::Json => json_head(self.header),
            Codec::Rocketmq => binary_head(self.header),
        }
    }

    /// The opaque, if this is a success as brokers usually write it; everything else is left to [`Reply::head`], which
    /// takes many times as long.
    pub(super) fn success(&self) -> Option<i32> {
        const OPAQUE: &[u8] = b"\"opaque\":";
        if self.codec != Codec::Json || !self.header.starts_with(b"{\"code\":0,") {
            return None;
        }
        // A quote inside a string has a backslash, so this is no part of one.
        let digits = &self.header[memmem::rfind(self.header, OPAQUE)? + OPAQUE.len()..];
        let end = digits.iter().position(|digit| !digit.is_ascii_digit())?;
        std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
    }
}

/// An answer with a code other than 0.
#[derive(Debug, thiserror::Error)]
#[error("code {code} {}: {remark}", response::name(*code).unwrap_or("unknown"))]
pub(super) struct Refused {
    pub(super) code: i32,
    remark: String,
}

pub(super) fn remark(head: &Head<'_>) -> String {
    head.remark
        .map(|remark| remark.to_str().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
