//! The client that plays the script: a connection for each name, JSON headers, one request at a time.
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::reply::{Reply, Said};
use super::script::{Line, Step, value};

/// How long an answer may take: Apache holds some for 15 s.
const REPLY_LIMIT: Duration = Duration::from_secs(20);
const REPLY_BYTES_MAX: usize = 16 << 20;
/// How long a request is repeated that must succeed in the end.
const AWAIT_LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Clients {
    broker: SocketAddr,
    namesrv: SocketAddr,
    connections: HashMap<String, Connection>,
    kept: HashMap<String, String>,
}

impl Clients {
    pub(crate) fn new(broker: SocketAddr, namesrv: SocketAddr) -> Clients {
        let kept = [
            ("broker".to_owned(), broker.to_string()),
            ("port".to_owned(), broker.port().to_string()),
        ];
        Clients {
            broker,
            namesrv,
            connections: HashMap::new(),
            kept: kept.into(),
        }
    }

    /// Sends a line's request and returns what was said to it.
    pub(crate) fn play(&mut self, line: &Line) -> Result<Said> {
        let started = Instant::now();
        loop {
            let said = self.ask(&line.step)?;
            let again = line.step.awaits && !said.is_success();
            if again && started.elapsed() < AWAIT_LIMIT {
                std::thread::sleep(PAUSE);
                continue;
            }
            for (name, field) in &line.keeps {
                let value = said.find(field);
                let value = value.with_context(|| format!("no {field} in the reply: {said}"))?;
                self.kept.insert(name.clone(), value);
            }
            return Ok(said);
        }
    }

    fn ask(&mut self, step: &Step) -> Result<Said> {
        let fields = step.fields.iter().map(|(name, text)| {
            let bytes = value(text, |name| self.look_up(name))?;
            Ok((name.clone(), Value::from(String::from_utf8(bytes)?)))
        });
        let fields = fields.collect::<Result<serde_json::Map<_, _>>>()?;
        let body = value(&step.body, |name| self.look_up(name))?;
        let address = match step.target.starts_with("broker") {
            true => self.broker,
            false => self.namesrv,
        };
        let connection = match self.connections.remove(&step.target) {
            Some(connection) => connection,
            None => Connection::open(address)?,
        };
        let (said, connection) = connection.ask(step.code, fields, &body)?;
        if let Some(connection) = connection {
            self.connections.insert(step.target.clone(), connection);
        }
        Ok(said)
    }

    fn look_up(&self, name: &str) -> Option<String> {
        if name == "now" {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
            return Some(since.as_millis().to_string());
        }
        self.kept.get(name).cloned()
    }
}

struct Connection {
    stream: TcpStream,
    opaque: i64,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, REPLY_LIMIT)
            .with_context(|| format!("no connection to {address}"))?;
        stream.set_read_timeout(Some(REPLY_LIMIT))?;
        Ok(Connection { stream, opaque: 0 })
    }

    /// The answer, and the connection if it is still there.
    fn ask(
        mut self,
        code: i32,
        fields: serde_json::Map<String, Value>,
        body: &[u8],
    ) -> Result<(Said, Option<Connection>)> {
        self.opaque += 1;
        let header = json!({
            "code": code, "language": "JAVA", "version": 479, "opaque": self.opaque, "flag": 0,
            "serializeTypeCurrentRPC": "JSON", "extFields": fields,
        });
        let header = header.to_string();
        let header_bytes = (header.len() as u32).to_be_bytes();
        let length = (4 + header.len() + body.len()) as u32;
        let frame = [
            &length.to_be_bytes()[..],
            &header_bytes,
            header.as_bytes(),
            body,
        ];
        self.stream.write_all(&frame.concat())?;
        loop {
            let (header, body) = match self.read() {
                Ok(read) => read,
                Err(error) if is_timeout(&error) => return Ok((Said::Nothing, None)),
                Err(_) => return Ok((Said::Closed, None)),
            };
            let header: Value = serde_json::from_slice(&header).context("a reply's header")?;
            let is_reply = header["flag"].as_i64().is_some_and(|flag| flag & 1 == 1);
            // What the broker asks us is not answered.
            if is_reply && header["opaque"] == self.opaque {
                return Ok((Said::Reply(Reply::new(&header, &body)?), Some(self)));
            }
        }
    }

    fn read(&mut self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut word = [0; 4];
        self.stream.read_exact(&mut word)?;
        let length = u32::from_be_bytes(word) as usize;
        let wrong = || io::Error::other("a frame of the wrong length");
        if !(4..REPLY_BYTES_MAX).contains(&length) {
            return Err(wrong());
        }
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        let header = u32::from_be_bytes([0, frame[1], frame[2], frame[3]]) as usize;
        let body = frame.split_off((4 + header).min(length));
        match frame.len() == 4 + header {
            true => Ok((frame.split_off(4), body)),
            false => Err(wrong()),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
