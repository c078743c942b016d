//! Tests of the checkpoint file.

use std::path::Path;

use super::*;
use crate::disk::{CrashKeep, Fault, FaultError, FaultOn, SimDisk};

const PATH: &str = "/checkpoint";

fn checkpoint(extra: Option<Extra>) -> Checkpoint {
    Checkpoint {
        physic_ms: 0x0102_0304_0506_0708,
        logics_ms: 2,
        index_ms: 3,
        master_flushed: 4,
        confirm: -1,
        extra,
    }
}

fn ours() -> Checkpoint {
    checkpoint(Some(Extra {
        boot: Some(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        sync_flush: true,
        log_durable: LogOffset(0x11_2233),
        queues_durable: LogOffset(0x22),
        queues_written: LogOffset(0x33),
        closed: Some(QueueTotals {
            queues: 3,
            next: 0x44,
        }),
    }))
}

#[test]
fn layout() {
    let disk = Disk::Sim(SimDisk::new(1));
    ours().write(&disk, Path::new(PATH), true).unwrap();
    let bytes = disk.read(Path::new(PATH)).unwrap();
    assert_eq!(bytes.len(), 4096);
    #[rustfmt::skip]
    let expected = [
        1, 2, 3, 4, 5, 6, 7, 8,
        0, 0, 0, 0, 0, 0, 0, 2,
        0, 0, 0, 0, 0, 0, 0, 3,
        0, 0, 0, 0, 0, 0, 0, 4,
        255, 255, 255, 255, 255, 255, 255, 255,
        b'S', b'K', b'Y', b'C', 0, 0, 0, 7,
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
        0, 0, 0, 0, 0, 0x11, 0x22, 0x33,
        0, 0, 0, 0, 0, 0, 0, 0x22,
        0, 0, 0, 0, 0, 0, 0, 0x33,
        0, 0, 0, 3,
        0, 0, 0, 0, 0, 0, 0, 0x44,
    ];
    assert_eq!(bytes[..100], expected);
    assert_eq!(bytes[100..104], crc32fast::hash(&expected).to_be_bytes());
    assert!(bytes[104..].iter().all(|byte| *byte == 0));
    assert_eq!(
        Checkpoint::read(&disk, Path::new(PATH)).unwrap(),
        Some(ours())
    );
}

#[test]
fn what_java_rewrote_loses_the_extra() {
    let disk = Disk::Sim(SimDisk::new(1));
    let path = Path::new(PATH);
    ours().write(&disk, path, true).unwrap();
    disk.open_write(path)
        .unwrap()
        .write_all_at(&9_i64.to_be_bytes(), 8)
        .unwrap();
    let read = Checkpoint::read(&disk, path).unwrap().unwrap();
    assert_eq!(
        read,
        Checkpoint {
            logics_ms: 9,
            ..checkpoint(None)
        }
    );

    checkpoint(None).write(&disk, path, true).unwrap();
    assert_eq!(
        Checkpoint::read(&disk, path).unwrap(),
        Some(checkpoint(None))
    );
}

#[test]
fn short_absent_or_unreadable() {
    let sim = SimDisk::new(1);
    let disk = Disk::Sim(sim.clone());
    let path = Path::new(PATH);
    assert_eq!(Checkpoint::read(&disk, path).unwrap(), None);
    let file = disk.open_write(path).unwrap();
    file.write_all_at(&[1; 39], 0).unwrap();
    assert_eq!(Checkpoint::read(&disk, path).unwrap(), None);
    file.set_len(40).unwrap();
    assert_eq!(Checkpoint::read(&disk, path).unwrap().unwrap().extra, None);
    sim.fail(Fault {
        on: FaultOn::Read,
        path: "checkpoint".into(),
        after: 0,
        error: FaultError::Io,
        sticky: false,
    });
    let error = Checkpoint::read(&disk, path).unwrap_err().to_string();
    assert!(error.contains(PATH), "{error}");
}

#[test]
fn a_power_cut_leaves_the_old_or_the_new() {
    for seed in 0..200 {
        for fail_at in 0..4 {
            let sim = SimDisk::new(seed);
            let disk = Disk::Sim(sim.clone());
            let path = Path::new(PATH);
            checkpoint(None).write(&disk, path, true).unwrap();
            sim.fail(Fault {
                on: FaultOn::AnyChange,
                path: String::new(),
                after: fail_at,
                error: FaultError::Io,
                sticky: true,
            });
            let written = ours().write(&disk, path, true).is_ok();
            let left = Disk::Sim(sim.crash(CrashKeep::Random));
            let read = Checkpoint::read(&left, path).unwrap().unwrap();
            if written {
                assert_eq!(read, ours());
            } else {
                let torn_by_a_failed_write = read.extra.is_none();
                assert!(read == ours() || torn_by_a_failed_write, "{read:?}");
            }
        }
    }
}
