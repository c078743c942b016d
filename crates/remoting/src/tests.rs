//! Connections over real sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use protocol::command::{CommandOut, NoHeader, encode_command};
use protocol::frame::Codec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::*;

mod crowd;
mod ending;
mod limited;
mod malformed;
mod talking;

/// What the test service does for each code.
const ECHO: i32 = 1;
/// Keeps the request unanswered until [`Echo::answer_kept`].
const KEEP: i32 = 2;
const PANIC: i32 = 3;
/// Answers with as many bytes as the body says.
const LARGE: i32 = 4;
/// Loses the request.
const LOSE: i32 = 5;
/// Calls ECHO on the asker and answers with what it says.
const ASK_BACK: i32 = 6;
/// Keeps the connection's task until [`Echo::stuck`] is free.
const STICK: i32 = 7;
/// Answers with how many requests were handed on so far.
const COUNT: i32 = 8;
/// Closes the connection it comes on.
const CLOSE: i32 = 9;

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Echo {
    kept: Mutex<Vec<(Bytes, ReplyTo)>>,
    batches: Mutex<Vec<usize>>,
    peers: Mutex<Vec<Arc<Peer>>>,
    closed: Mutex<Vec<u64>>,
    stuck: Mutex<()>,
}

impl Service for Echo {
    fn handle(&self, peer: &Arc<Peer>, requests: Vec<Request>) {
        self.batches.lock().push(requests.len());
        for request in requests {
            let body = request.body().clone();
            match request.code {
                ECHO => {
                    self.peers.lock().push(Arc::clone(peer));
                    request.reply(0, None, &NoHeader, body);
                }
                KEEP => self.kept.lock().push((body, request.into_reply())),
                PANIC => panic!("as asked"),
                LARGE => {
                    let len: usize = std::str::from_utf8(&body).unwrap().parse().unwrap();
                    request.reply(0, None, &NoHeader, vec![7; len]);
                }
                LOSE => drop(request),
                ASK_BACK => {
                    let peer = Arc::clone(peer);
                    tokio::spawn(async move {
                        let answer = peer.call(ECHO, &NoHeader, body, PATIENCE).await.unwrap();
                        request.reply(0, None, &NoHeader, answer.body().clone());
                    });
                }
                COUNT => request.reply(0, None, &NoHeader, self.handled().to_string().into_bytes()),
                CLOSE => {
                    peer.close();
                    request.reply(0, None, &NoHeader, body);
                }
                STICK => drop(self.stuck.lock()),
                _ => request.refuse_unknown(),
            }
        }
    }

    fn closed(&self, peer: &Arc<Peer>) {
        self.closed.lock().push(peer.id());
    }
}

impl Echo {
    /// Requests handed on so far.
    fn handled(&self) -> usize {
        self.batches.lock().iter().sum()
    }
}

/// A running server.
struct Running {
    addr: SocketAddr,
    echo: Arc<Echo>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap();
    }

    async fn connect(&self) -> Connection {
        connect(
            &self.addr.to_string(),
            Arc::new(Echo::default()),
            &Limits::default(),
        )
        .await
        .unwrap()
    }
}

/// Where errors are logged: nobody must log one that the tests did not cause. Panics in the task that
/// logs it, which the test awaits in [`Running::stop`].
struct Alarm;

impl std::io::Write for Alarm {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let expected = ["panic in a handler", "stuck in their handlers"];
        assert!(expected.iter().any(|words| text.contains(words)), "{text}");
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn serve(limits: Limits) -> Running {
    // Fails when another test has done so.
    let _ = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::ERROR)
        .with_writer(|| Alarm)
        .try_init();
    let server = Server::bind(&["127.0.0.1:0".parse().unwrap()], limits).unwrap();
    let addr = server.local_addrs()[0];
    let echo = Arc::new(Echo::default());
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = tokio::spawn(server.run(Arc::clone(&echo) as Arc<dyn Service>, shutdown));
    Running {
        addr,
        echo,
        stop,
        task,
    }
}

async fn eventually(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("did not happen");
}

/// The connection is fine, whatever happened to others.
async fn check_alive(client: &Connection) {
    let call = client.call(ECHO, &NoHeader, b"alive?".to_vec(), PATIENCE);
    assert_eq!(in_time(call).await.unwrap().body(), "alive?");
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("took too long")
}

/// A socket whose bytes the test chooses.
async fn raw(server: &Running) -> net::Stream {
    net::connect(&server.addr.to_string(), PATIENCE)
        .await
        .unwrap()
}

/// A whole frame with a request.
fn request_frame(code: i32, opaque: i32, body: &[u8]) -> Vec<u8> {
    let command = CommandOut {
        code,
        opaque,
        ..CommandOut::default()
    };
    let mut frame = BytesMut::new();
    encode_command(&mut frame, Codec::Json, &command, &NoHeader, body.len()).unwrap();
    frame.extend_from_slice(body);
    frame.to_vec()
}

/// Reads until the other side closes; a reset is a close too.
async fn read_to_end(stream: &mut net::Stream) -> Vec<u8> {
    let mut read = Vec::new();
    let _ = in_time(stream.read_to_end(&mut read)).await;
    read
}
