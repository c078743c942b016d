//! The floor: the least that a broker could do with a SEND. It finds the request's id, appends the frames it has read
//! to a file with one pwrite(2) at an atomically reserved offset, and answers. What a broker takes longer than this is its own work.
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use bytes::{Buf, BytesMut};
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The line that says that it serves.
pub(crate) const READY: &str = "floor is ready";

const WORKERS: usize = 2;
const READ_BYTES: usize = 256 * 1024;
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    port: u16,
    /// Where the frames go
    #[arg(long)]
    file: PathBuf,
}

pub(crate) fn execute(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(&options.file)
            .context("the floor's file")?;
        let log = Arc::new(Log {
            file,
            end: AtomicU64::new(0),
        });
        println!("{READY}");
        std::io::stdout().flush()?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream, Arc::clone(&log)));
        }
    })
}

struct Log {
    file: File,
    end: AtomicU64,
}

async fn serve(mut stream: TcpStream, log: Arc<Log>) -> std::io::Result<()> {
    let mut input = BytesMut::with_capacity(READ_BYTES);
    let mut replies = Vec::with_capacity(READ_BYTES);
    loop {
        input.reserve(READ_BYTES);
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        replies.clear();
        let whole = answer(&input, &mut replies).ok_or(std::io::ErrorKind::InvalidData)?;
        let offset = log.end.fetch_add(whole as u64, Ordering::Relaxed);
        log.file.write_all_at(&input[..whole], offset)?;
        input.advance(whole);
        stream.write_all(&replies).await?;
    }
}

/// Writes a reply to each whole frame; returns where these end. None when it isn't a frame.
fn answer(input: &[u8], replies: &mut Vec<u8>) -> Option<usize> {
    let mut whole = 0;
    while let Some(length) = input[whole..].first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            return None;
        }
        let Some(frame) = input.get(whole + 4..whole + 4 + length) else {
            break;
        };
        reply(opaque(frame)?, replies);
        whole += 4 + length;
    }
    Some(whole)
}

fn opaque(frame: &[u8]) -> Option<i32> {
    match frame.first()? {
        // In binary headers it stands at the fifth byte.
        1 => Some(i32::from_be_bytes(*frame.get(9..)?.first_chunk()?)),
        _ => {
            const NAME: &[u8] = b"\"opaque\":";
            let at = memchr::memmem::find(frame, NAME)? + NAME.len();
            let digits = frame[at..].iter().take_while(|byte| byte.is_ascii_digit());
            Some(digits.fold(0i32, |value, digit| {
                value.wrapping_mul(10).wrapping_add(i32::from(digit - b'0'))
            }))
        }
    }
}

fn reply(opaque: i32, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    let header = format_args!(
        r#"{{"code":0,"flag":1,"language":"JAVA","opaque":{opaque},"serializeTypeCurrentRPC":"JSON","version":479}}"#
    );
    // A Vec takes everything.
    let _ = out.write_fmt(header);
    let length = (out.len() - start - 8) as u32;
    out[start..start + 4].copy_from_slice(&(length + 4).to_be_bytes());
    out[start + 4..start + 8].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, header: &[u8]) -> Vec<u8> {
        let length = header.len() as u32;
        [
            &(length + 4).to_be_bytes()[..],
            &[kind],
            &length.to_be_bytes()[1..],
            header,
        ]
        .concat()
    }

    #[test]
    fn whole_frames_of_both_codecs_are_answered() {
        let json = frame(
            0,
            br#"{"code":310,"language":"JAVA","opaque":1234,"flag":0}"#,
        );
        let binary = frame(
            1,
            &[
                1, 54, 12, 1, 223, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        );
        let input = [&json[..], &binary, &json[..9]].concat();
        let mut replies = Vec::new();
        assert_eq!(
            answer(&input, &mut replies),
            Some(json.len() + binary.len())
        );
        let text = String::from_utf8_lossy(&replies);
        assert!(
            text.contains(r#""opaque":1234,"#) && text.contains(r#""opaque":258,"#),
            "{text}"
        );
        assert_eq!(
            u32::from_be_bytes(*replies.first_chunk().unwrap()) as usize + 4,
            replies.len() / 2 + 1
        );
    }

    #[test]
    fn other_bytes_end_the_connection() {
        assert_eq!(answer(b"GET / HTTP/1.1\r\n", &mut Vec::new()), None);
    }
}
