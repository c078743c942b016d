//! Tests of the disks: both behave alike, and the simulated one keeps what was synced.

use std::io::ErrorKind;
use std::path::Path;

use super::*;

mod sim;

/// Runs the same script on both disks.
fn on_both(script: impl Fn(&Disk, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    script(&Disk::Os, dir.path());
    let disk = Disk::Sim(SimDisk::new(1));
    disk.create_dir_all(Path::new("/root")).unwrap();
    script(&disk, Path::new("/root"));
}

#[cfg(unix)]
#[test]
fn a_stamp_tells_of_each_change() {
    on_both(|disk, root| {
        let (dir, path) = (root.join("dir"), root.join("dir/a"));
        disk.create_dir(&dir).unwrap();
        let file = disk.open_write(&path).unwrap();
        file.write_all_at(b"a", 0).unwrap();
        let (of_dir, of_file) = (disk.stamp(&dir).unwrap(), disk.stamp(&path).unwrap());
        disk.read(&path).unwrap();
        disk.list(&dir).unwrap();
        file.sync_data().unwrap();
        assert_eq!(disk.stamp(&path).unwrap(), of_file);
        // The clock of a file system moves on every few milliseconds.
        let moves_on = |path: &Path, before, change: &dyn Fn()| {
            (0..1_000_000).any(|_| {
                change();
                disk.stamp(path).unwrap() != before
            })
        };
        let write = || file.write_all_at(b"a", 0).unwrap();
        assert!(moves_on(&path, of_file, &write));
        assert_eq!(disk.stamp(&dir).unwrap(), of_dir, "no name has changed");
        let rename = || {
            disk.rename(&path, &dir.join("b")).unwrap();
            disk.rename(&dir.join("b"), &path).unwrap();
        };
        assert!(moves_on(&dir, of_dir, &rename));
        let missing = disk.stamp(&root.join("none")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn reads_what_was_written() {
    on_both(|disk, root| {
        let file = disk.open_write(&root.join("a")).unwrap();
        file.write_all_at(b"hello", 4094).unwrap();
        assert_eq!(file.len().unwrap(), 4099);
        let mut buf = [1; 8];
        assert_eq!(file.read_at(&mut buf, 4093, Wait::ForDisk).unwrap(), 6);
        assert_eq!(&buf, b"\0hello\x01\x01");
        let cached = |buf: &mut [u8], pos| {
            let read = file.read_at(buf, pos, Wait::No);
            read.map_err(|error| error.kind())
        };
        if cfg!(target_os = "linux") || matches!(file, File::Sim(_)) {
            // What was just written is in memory.
            let mut found = [1; 8];
            assert_eq!(cached(&mut found, 4093), Ok(6));
            assert_eq!(found, buf);
        }
        assert_eq!(file.read_at(&mut buf, 4099, Wait::ForDisk).unwrap(), 0);
        assert_eq!(cached(&mut buf, 4099), Err(ErrorKind::WouldBlock));
        assert_eq!(file.read_at(&mut buf, 9999, Wait::ForDisk).unwrap(), 0);
        assert_eq!(
            file.read_exact_at(&mut buf, 4093, Wait::ForDisk)
                .unwrap_err()
                .kind(),
            ErrorKind::UnexpectedEof
        );

        file.set_len(4096).unwrap();
        file.set_len(4100).unwrap();
        file.sync_data().unwrap();
        let again = disk.open_read(&root.join("a")).unwrap();
        let mut buf = [1; 6];
        again.read_exact_at(&mut buf, 4094, Wait::ForDisk).unwrap();
        assert_eq!(&buf, b"he\0\0\0\0");
        assert!(again.write_all_at(b"x", 0).is_err());
        assert_eq!(disk.read(&root.join("a")).unwrap().len(), 4100);
    });
}

#[test]
fn allocates_without_cutting() {
    on_both(|disk, root| {
        let file = disk.open_write(&root.join("a")).unwrap();
        file.allocate(0).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        file.allocate(10_000).unwrap();
        file.allocate(2).unwrap();
        assert_eq!(file.len().unwrap(), 10_000);
        assert_eq!(&disk.read(&root.join("a")).unwrap()[..4], b"abc\0");
    });
}

#[test]
fn finds_data_behind_holes() {
    on_both(|disk, root| {
        let file = disk.open_write(&root.join("a")).unwrap();
        assert_eq!(file.data_from(0).unwrap(), None);
        assert_eq!(file.data_end().unwrap(), 0);
        file.allocate(1 << 20).unwrap();
        file.write_all_at(b"x", 100_000).unwrap();
        let found = file.data_from(10).unwrap().unwrap();
        assert!((10..=100_000).contains(&found), "{found}");
        assert_eq!(file.data_from(100_000).unwrap(), Some(100_000));
        assert_eq!(file.data_from(1 << 20).unwrap(), None);
        let end = file.data_end().unwrap();
        assert!((100_001..=1 << 20).contains(&end), "{end}");
        match disk.sync_all(root) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            done => done.unwrap(),
        }
        assert_eq!(disk.boot_id(), disk.boot_id());
    });
}

#[test]
fn names() {
    on_both(|disk, root| {
        disk.create_dir_all(&root.join("x/y")).unwrap();
        disk.create_dir_all(&root.join("x/y")).unwrap();
        disk.open_write(&root.join("x/b"))
            .unwrap()
            .write_all_at(b"12", 0)
            .unwrap();
        disk.open_write(&root.join("x/a")).unwrap();
        disk.replace(&root.join("x/c"), b"old and long").unwrap();
        disk.replace(&root.join("x/c"), b"new").unwrap();
        disk.rename(&root.join("x/a"), &root.join("x/d")).unwrap();
        let list = disk.list(&root.join("x")).unwrap();
        let seen: Vec<_> = list
            .iter()
            .map(|e| (e.name.as_str(), e.len, e.is_dir))
            .collect();
        assert_eq!(
            seen,
            [
                ("b", 2, false),
                ("c", 3, false),
                ("d", 0, false),
                ("y", 0, true)
            ]
        );
        assert_eq!(disk.read(&root.join("x/c")).unwrap(), b"new");

        disk.remove_file(&root.join("x/b")).unwrap();
        assert!(!disk.exists(&root.join("x/b")));
        disk.remove_dir_all(&root.join("x")).unwrap();
        assert!(!disk.exists(&root.join("x")));
        for error in [
            disk.open_read(&root.join("no")).unwrap_err(),
            disk.open_existing(&root.join("no")).unwrap_err(),
            disk.open_write(&root.join("no/file")).unwrap_err(),
            disk.remove_file(&root.join("no")).unwrap_err(),
            disk.rename(&root.join("no"), &root.join("yes"))
                .unwrap_err(),
            disk.list(&root.join("no")).unwrap_err(),
            disk.len(&root.join("no")).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(
                error
                    .to_string()
                    .contains(&root.join("no").display().to_string()),
                "{error}"
            );
        }
        assert!(disk.space(root).unwrap().total > 0);
    });
}

#[test]
fn locks_once() {
    on_both(|disk, root| {
        let path = root.join("lock");
        assert!(!disk.is_locked(&path).unwrap() && !disk.exists(&path));
        let lock = disk.lock(&path).unwrap();
        assert!(disk.is_locked(&path).unwrap());
        assert_eq!(disk.lock(&path).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(lock);
        assert!(!disk.is_locked(&path).unwrap());
        let _lock = disk.lock(&path).unwrap();
        assert_eq!(disk.read(&path).unwrap(), b"lock");
    });
}

#[test]
fn boots() {
    assert!(Disk::Os.boot_id().is_some() || !cfg!(target_os = "linux"));
    let sim = SimDisk::new(1);
    let boot = |sim: &Arc<SimDisk>| Disk::Sim(sim.clone()).boot_id();
    assert_eq!(boot(&sim.crash(CrashKeep::All)), boot(&sim));
    assert_ne!(boot(&sim.crash(CrashKeep::None)), boot(&sim));
    assert_ne!(boot(&sim.crash(CrashKeep::Random)), boot(&sim));
}

#[test]
fn percent_in_use() {
    for (total, free, usable, expected) in [
        (0, 0, 0, None),
        (100, 100, 100, Some(0)),
        (1000, 999, 999, Some(1)),
        (1000, 500, 500, Some(50)),
        // What only root may take is neither.
        (1000, 500, 300, Some(63)),
        (1000, 0, 0, Some(100)),
        (u64::MAX, 1, 1, Some(100)),
    ] {
        assert_eq!(
            Space {
                total,
                free,
                usable
            }
            .used_percent(),
            expected
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn file_systems_are_told_apart() {
    let here = tempfile::tempdir().unwrap();
    let below = here.path().join("below");
    let linked = here.path().join("linked");
    Disk::Os.create_dir_all(&below).unwrap();
    std::os::unix::fs::symlink("/proc", &linked).unwrap();
    let of = |path: &Path| Disk::Os.file_system(path).unwrap();
    assert_eq!(of(&below), of(here.path()));
    assert_ne!(of(&linked), of(here.path()));
}
