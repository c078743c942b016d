//! The floor: the least that a broker could do with a SEND. It finds the request's id, appends the frame
//! to a log with a pwrite(2) at an atomically reserved offset, and answers. What a broker takes longer than this is its own work.
//! The log's files are preallocated, and made ahead, as a broker's are: what the file system does otherwise for a file that
//! grows is no part of a floor.
use std::fs::File;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use bytes::{Buf, BytesMut};
use clap::Args;
use rustix::fs::{FallocateFlags, fallocate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The line that says that it serves.
pub(crate) const READY: &str = "floor is ready";

const WORKERS: usize = 2;
const READ_BYTES: usize = 256 * 1024;
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// As large as a commit log's.
const FILE_BYTES: u64 = 1 << 30;
const FILES_MAX: usize = 1024;

#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    port: u16,
    /// Where the frames go; it must be there
    #[arg(long)]
    dir: PathBuf,
}

pub(crate) fn execute(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let log = Arc::new(Log::new(options.dir.clone(), FILE_BYTES));
        log.file(0).and(log.file(1)).context("the floor's files")?;
        println!("{READY}");
        io::stdout().flush()?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream, Arc::clone(&log)));
        }
    })
}

struct Log {
    dir: PathBuf,
    file_bytes: u64,
    files: Vec<OnceLock<io::Result<File>>>,
    end: AtomicU64,
}

impl Log {
    fn new(dir: PathBuf, file_bytes: u64) -> Log {
        Log {
            dir,
            file_bytes,
            files: (0..FILES_MAX).map(|_| OnceLock::new()).collect(),
            end: AtomicU64::new(0),
        }
    }

    /// Made and preallocated if it is not there.
    fn file(&self, number: usize) -> io::Result<&File> {
        let make = || {
            let file = File::create_new(self.dir.join(number.to_string()))?;
            fallocate(&file, FallocateFlags::empty(), 0, self.file_bytes)?;
            Ok(file)
        };
        let place = self.files.get(number);
        let place = place.ok_or(io::ErrorKind::StorageFull)?;
        let file = place.get_or_init(make).as_ref();
        file.map_err(|error| error.kind().into())
    }

    /// What begins in a file goes there as a whole. Returns the file to be made now, so that it is there when it is needed.
    fn append(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let start = self.end.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let number = |offset| (offset / self.file_bytes) as usize;
        self.file(number(start))?
            .write_all_at(bytes, start % self.file_bytes)?;
        let next = number(start + bytes.len() as u64);
        Ok((next > number(start)).then_some(next + 1))
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Log>) -> io::Result<()> {
    let mut input = BytesMut::with_capacity(READ_BYTES);
    let mut replies = Vec::with_capacity(READ_BYTES);
    loop {
        input.reserve(READ_BYTES);
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        replies.clear();
        let mut whole = 0;
        while let Some(frame) = first_frame(&input[whole..])? {
            reply(opaque(frame)?, &mut replies);
            if let Some(next) = log.append(frame)? {
                let log = Arc::clone(&log);
                tokio::task::spawn_blocking(move || log.file(next).map(|_| ()));
            }
            whole += frame.len();
        }
        input.advance(whole);
        stream.write_all(&replies).await?;
    }
}

/// With its length, if all of it is there.
fn first_frame(input: &[u8]) -> io::Result<Option<&[u8]>> {
    let Some(length) = input.first_chunk() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    match length {
        ..=FRAME_BYTES_MAX => Ok(input.get(..4 + length)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn opaque(frame: &[u8]) -> io::Result<i32> {
    id(&frame[4..]).ok_or(io::ErrorKind::InvalidData.into())
}

fn id(frame: &[u8]) -> Option<i32> {
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
        let (mut rest, mut replies) = (&input[..], Vec::new());
        while let Some(frame) = first_frame(rest).unwrap() {
            reply(opaque(frame).unwrap(), &mut replies);
            rest = &rest[frame.len()..];
        }
        assert_eq!(rest, &json[..9]);
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
        assert!(first_frame(b"GET / HTTP/1.1\r\n").is_err());
        assert!(opaque(&[0, 0, 0, 1, 0]).is_err());
    }

    #[test]
    fn frames_go_to_preallocated_files_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(dir.path().to_owned(), 8192);
        let appended = |bytes: usize| log.append(&vec![1; bytes]).unwrap();
        let length = |name| std::fs::metadata(dir.path().join(name)).unwrap().len();
        assert_eq!(appended(8000), None);
        assert_eq!(length("0"), 8192);
        assert_eq!(appended(1000), Some(2), "it reaches into the second");
        assert_eq!(length("0"), 9000, "but stays where it began");
        assert_eq!(appended(100), None);
        assert_eq!(length("1"), 8192);
        let second = std::fs::read(dir.path().join("1")).unwrap();
        let written = second.iter().filter(|byte| **byte == 1).count();
        assert_eq!(written, 100);
    }
}
