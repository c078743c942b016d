//! As much of the protocol as it takes to ask a server whether it's ready; not the crate that is under test.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

const BROKER_CLUSTER_INFO: i32 = 106;
const REPLY_LIMIT: Duration = Duration::from_secs(5);
const REPLY_BYTES_MAX: usize = 1 << 20;

/// Waits until the nameserver names the broker, which a broker's "boot success" does not promise:
/// when its first registration fails the next one comes half a minute later.
pub(crate) fn wait_registered(namesrv: SocketAddr, broker: &str, limit: Duration) -> Result<()> {
    let started = Instant::now();
    loop {
        let cluster = call(namesrv, BROKER_CLUSTER_INFO)?;
        if cluster.contains(&format!("\"{broker}\"")) {
            return Ok(());
        }
        if started.elapsed() > limit {
            bail!(
                "{broker} is not registered with {namesrv} after {limit:?}, which knows {cluster}"
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sends a request without fields and returns the body of the reply.
fn call(address: SocketAddr, code: i32) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, REPLY_LIMIT)
        .with_context(|| format!("no connection to {address}"))?;
    stream.set_read_timeout(Some(REPLY_LIMIT))?;
    stream.write_all(&request(code))?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    ensure!(
        (4..REPLY_BYTES_MAX).contains(&length),
        "a reply of {length} bytes from {address}"
    );
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    let header = frame[1..4]
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let body = frame
        .get(4 + header..)
        .context("the header is longer than its frame")?;
    Ok(String::from_utf8_lossy(body).into_owned())
}

fn request(code: i32) -> Vec<u8> {
    let header = format!(
        r#"{{"code":{code},"language":"JAVA","version":479,"opaque":1,"flag":0,"serializeTypeCurrentRPC":"JSON"}}"#
    );
    let length = header.len() as u32;
    [
        &(length + 4).to_be_bytes(),
        &length.to_be_bytes(),
        header.as_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A nameserver that answers with these bodies in turn.
    fn namesrv(bodies: &'static [&'static str]) -> (SocketAddr, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            for body in bodies {
                let (mut stream, _) = listener.accept().unwrap();
                let mut asked = vec![0; request(BROKER_CLUSTER_INFO).len()];
                stream.read_exact(&mut asked).unwrap();
                assert_eq!(asked, request(BROKER_CLUSTER_INFO));
                let frame = [
                    &(4 + 2 + body.len() as u32).to_be_bytes()[..],
                    &[0, 0, 0, 2],
                    b"{}",
                    body.as_bytes(),
                ];
                stream.write_all(&frame.concat()).unwrap();
            }
        });
        (address, thread)
    }

    #[test]
    fn waits_for_the_broker() {
        let (address, thread) = namesrv(&["{}", r#"{"brokerAddrTable":{"broker-a":{}}}"#]);
        wait_registered(address, "broker-a", Duration::from_secs(20)).unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn and_not_for_ever() {
        let (address, thread) = namesrv(&["{}"]);
        assert!(wait_registered(address, "broker-a", Duration::ZERO).is_err());
        thread.join().unwrap();
    }
}
