//! The only place that opens sockets: listening, connecting, resolving names. A simulated network,
//! TLS and what is special to a platform belong here.
#![expect(
    clippy::disallowed_types,
    reason = "this is the place that opens sockets"
)]

use std::io::{self, IoSlice};
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::limits::{PORT_TRIES, PORT_WAIT};

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {addr}: {source}")]
pub struct BindError {
    /// The address asked for.
    pub addr: SocketAddr,
    /// What the system said; `AddrInUse` when another process has the port.
    pub source: io::Error,
}

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name or address can't be turned into an address of this machine's resolver.
    #[error("can't resolve {addr}: {source}")]
    Resolve {
        /// As asked for, `host:port`.
        addr: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Every address of the name refused or failed; this is the last one's error.
    #[error("can't connect to {addr}: {source}")]
    Refused {
        /// As asked for, `host:port`.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody answered in time.
    #[error("can't connect to {addr}: no answer within {} ms", after.as_millis())]
    Timeout {
        /// As asked for, `host:port`.
        addr: String,
        /// How long it was tried, over all addresses of the name.
        after: Duration,
    },
}

/// A bound socket that takes connections.
#[derive(Debug)]
pub struct Listener(TcpListener);

/// Binds `addr` (port 0: any free port) with SO_REUSEADDR, so that a restart need not wait for old
/// connections to time out; and waits for a port that is in use, up to a second: a process that was just killed has
/// its ports until the system has cleared its memory, and we may be here sooner. Needs a tokio runtime around it.
pub fn listen(addr: SocketAddr, backlog: u32) -> Result<Listener, BindError> {
    let open = || {
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // On Windows the option means something else: two processes could listen on one port.
        if cfg!(unix) {
            socket.set_reuseaddr(true)?;
        }
        socket.bind(addr)?;
        socket.listen(backlog)
    };
    let mut bound = open();
    for _ in 0..PORT_TRIES {
        if !matches!(&bound, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
            break;
        }
        std::thread::sleep(PORT_WAIT);
        bound = open();
    }
    bound
        .map(Listener)
        .map_err(|source| BindError { addr, source })
}

impl Listener {
    /// The bound address, with the port chosen for 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next connection and where it comes from.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, SocketAddr)>> {
        self.0
            .poll_accept(cx)
            .map_ok(|(stream, from)| (Stream(stream), from))
    }
}

/// The addresses of `host:port`. IPv6 addresses are written `[::1]:9876`.
pub async fn resolve(addr: &str) -> Result<Vec<SocketAddr>, ConnectError> {
    let failed = |source| ConnectError::Resolve {
        addr: addr.to_owned(),
        source,
    };
    let found: Vec<_> = tokio::net::lookup_host(addr)
        .await
        .map_err(failed)?
        .collect();
    if found.is_empty() {
        return Err(failed(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        )));
    }
    Ok(found)
}

/// Connects to `host:port`, trying every address of the name in turn, `timeout` over all.
pub async fn connect(addr: &str, timeout: Duration) -> Result<Stream, ConnectError> {
    let attempt = async {
        let mut last = None;
        for candidate in resolve(addr).await? {
            match TcpStream::connect(candidate).await {
                Ok(stream) => return Ok(Stream(stream)),
                Err(source) => last = Some(source),
            }
        }
        let source = last.unwrap_or_else(|| io::ErrorKind::NotFound.into());
        Err(ConnectError::Refused {
            addr: addr.to_owned(),
            source,
        })
    };
    match tokio::time::timeout(timeout, attempt).await {
        Ok(done) => done,
        Err(_) => Err(ConnectError::Timeout {
            addr: addr.to_owned(),
            after: timeout,
        }),
    }
}

/// A socket that blocks: for those who live on threads of their own.
pub use std::net::TcpStream as BlockingStream;

/// A plain blocking socket, for load generators that do their own framing on threads of their own.
pub fn connect_blocking(addr: &str, timeout: Duration) -> io::Result<BlockingStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in addr.to_socket_addrs()? {
        match std::net::TcpStream::connect_timeout(&candidate, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(source) => last = source,
        }
    }
    Err(last)
}

/// A connected socket.
#[derive(Debug)]
pub struct Stream(TcpStream);

impl Stream {
    /// Small replies must not wait for the other side's acknowledgement of earlier ones.
    pub fn set_nodelay(&self) -> io::Result<()> {
        self.0.set_nodelay(true)
    }

    /// Our end.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The other end.
    pub fn remote_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
