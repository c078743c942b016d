//! What the simulated disk promises, over random scripts: synced is there, unsynced may be.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const FILES: u64 = 3;
const LEN_MAX: u64 = 10_000;

#[derive(Clone, Debug)]
enum Step {
    /// File, position, length, byte.
    Write(u64, u64, usize, u8),
    SetLen(u64, u64),
    Allocate(u64, u64),
    Sync(u64),
    SyncDir,
    Rename(u64, u64),
    Remove(u64),
    Crash(CrashKeep),
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0..FILES;
    let keep = prop_oneof![
        Just(CrashKeep::All),
        Just(CrashKeep::None),
        Just(CrashKeep::Random)
    ];
    prop_oneof![
        6 => (file.clone(), 0..LEN_MAX, 1..2000_usize, 1..u8::MAX)
            .prop_map(|(file, pos, len, byte)| Step::Write(file, pos, len, byte)),
        1 => (file.clone(), 0..LEN_MAX).prop_map(|(file, len)| Step::SetLen(file, len)),
        1 => (file.clone(), 0..LEN_MAX).prop_map(|(file, len)| Step::Allocate(file, len)),
        3 => file.clone().prop_map(Step::Sync),
        3 => Just(Step::SyncDir),
        1 => (file.clone(), file.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => file.prop_map(Step::Remove),
        1 => keep.prop_map(Step::Crash),
    ]
}

/// One file: what is visible, and what each byte and the length may be after a power cut.
#[derive(Clone, Debug, Default)]
struct Model {
    bytes: Vec<u8>,
    /// For positions changed since the last sync: all they may become.
    maybe: BTreeMap<usize, Vec<u8>>,
    durable: Vec<u8>,
    lens: Vec<usize>,
}

impl Model {
    fn set_len(&mut self, len: usize) {
        for (at, byte) in self
            .bytes
            .iter()
            .enumerate()
            .skip(len)
            .filter(|(_, byte)| **byte != 0)
        {
            let _ = byte;
            self.maybe.entry(at).or_default().push(0);
        }
        self.bytes.resize(len, 0);
        self.lens.push(len);
    }

    fn write(&mut self, pos: usize, bytes: &[u8]) {
        if pos + bytes.len() > self.bytes.len() {
            self.set_len(pos + bytes.len());
        }
        self.bytes[pos..pos + bytes.len()].copy_from_slice(bytes);
        for (at, byte) in (pos..).zip(bytes) {
            self.maybe.entry(at).or_default().push(*byte);
        }
    }

    fn sync(&mut self) {
        self.durable = self.bytes.clone();
        self.maybe.clear();
        self.lens.clear();
    }

    fn may_be(&self, found: &[u8]) -> bool {
        let len = found.len();
        let byte = |at: usize| self.durable.get(at).copied().unwrap_or(0);
        (len == self.durable.len() || self.lens.contains(&len))
            && found.iter().enumerate().all(|(at, found)| {
                *found == byte(at)
                    || self
                        .maybe
                        .get(&at)
                        .is_some_and(|maybe| maybe.contains(found))
            })
    }

    /// The file as a crash left it.
    fn settle(&mut self, found: Vec<u8>) {
        *self = Model {
            durable: found.clone(),
            bytes: found,
            ..Model::default()
        };
    }
}

/// The directory: visible names, names that are durable, and what else each may stand for.
#[derive(Default)]
struct Names {
    files: Vec<Model>,
    visible: BTreeMap<u64, usize>,
    durable: BTreeMap<u64, usize>,
    maybe: BTreeMap<u64, Vec<Option<usize>>>,
}

impl Names {
    fn file(&mut self, name: u64) -> usize {
        if let Some(file) = self.visible.get(&name) {
            return *file;
        }
        self.files.push(Model::default());
        let file = self.files.len() - 1;
        self.set(name, Some(file));
        file
    }

    fn set(&mut self, name: u64, file: Option<usize>) {
        match file {
            Some(file) => self.visible.insert(name, file),
            None => self.visible.remove(&name),
        };
        self.maybe.entry(name).or_default().push(file);
    }
}

fn path(name: u64) -> std::path::PathBuf {
    Path::new("/d").join(name.to_string())
}

fn check_visible(disk: &Disk, names: &Names) {
    for name in 0..FILES {
        match names.visible.get(&name) {
            None => assert!(!disk.exists(&path(name))),
            Some(file) => assert!(disk.read(&path(name)).unwrap() == names.files[*file].bytes),
        }
    }
}

/// Every name stands for one of the files it may, with content this may have; goes on from there.
fn settle(disk: &Disk, names: &mut Names) {
    let mut left = Names::default();
    for name in 0..FILES {
        let durable = names.durable.get(&name).copied();
        let maybe = names.maybe.get(&name).cloned().unwrap_or_default();
        let candidates = [durable].into_iter().chain(maybe);
        match disk.read(&path(name)) {
            Err(_) => assert!(
                candidates.into_iter().any(|file| file.is_none()),
                "{name} is gone"
            ),
            Ok(found) => {
                let fits = candidates
                    .flatten()
                    .any(|file| names.files[file].may_be(&found));
                assert!(fits, "{name} has what was never written");
                let mut file = Model::default();
                file.settle(found);
                left.files.push(file);
                left.visible.insert(name, left.files.len() - 1);
            }
        }
    }
    left.durable = left.visible.clone();
    *names = left;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]
    #[test]
    fn keeps_its_promises(seed: u64, steps in prop::collection::vec(step(), 1..60)) {
        let mut sim = SimDisk::new(seed);
        let mut disk = Disk::Sim(sim.clone());
        disk.create_dir_all(Path::new("/d")).unwrap();
        let mut names = Names::default();
        for step in steps {
            match step {
                Step::Write(name, pos, len, byte) => {
                    let bytes = vec![byte; len];
                    let file = names.file(name);
                    disk.open_write(&path(name)).unwrap().write_all_at(&bytes, pos).unwrap();
                    names.files[file].write(pos as usize, &bytes);
                }
                Step::SetLen(name, len) => {
                    let file = names.file(name);
                    disk.open_write(&path(name)).unwrap().set_len(len).unwrap();
                    names.files[file].set_len(len as usize);
                }
                Step::Allocate(name, len) => {
                    let file = names.file(name);
                    disk.open_write(&path(name)).unwrap().allocate(len).unwrap();
                    if len as usize > names.files[file].bytes.len() {
                        names.files[file].set_len(len as usize);
                    }
                }
                Step::Sync(name) => {
                    let file = names.file(name);
                    disk.open_write(&path(name)).unwrap().sync_data().unwrap();
                    names.files[file].sync();
                }
                Step::SyncDir => {
                    disk.sync_dir(Path::new("/d")).unwrap();
                    names.durable = names.visible.clone();
                    names.maybe.clear();
                }
                Step::Rename(from, to) if from != to => {
                    let renamed = disk.rename(&path(from), &path(to)).is_ok();
                    prop_assert_eq!(renamed, names.visible.contains_key(&from));
                    if renamed {
                        let file = names.visible[&from];
                        names.set(from, None);
                        names.set(to, Some(file));
                    }
                }
                Step::Rename(..) => {}
                Step::Remove(name) => {
                    let removed = disk.remove_file(&path(name)).is_ok();
                    prop_assert_eq!(removed, names.visible.contains_key(&name));
                    if removed {
                        names.set(name, None);
                    }
                }
                Step::Crash(keep) => {
                    sim = sim.crash(keep);
                    disk = Disk::Sim(sim.clone());
                    if keep != CrashKeep::All {
                        settle(&disk, &mut names);
                    }
                }
            }
            check_visible(&disk, &names);
        }
    }
}

fn write(disk: &Disk, path: &str, bytes: &[u8]) {
    disk.open_write(Path::new(path))
        .unwrap()
        .write_all_at(bytes, 0)
        .unwrap();
}

/// The worst case must come up, or the simulation proves nothing.
#[test]
fn sectors_are_torn_and_reordered() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..400 {
        let sim = SimDisk::new(seed);
        let disk = Disk::Sim(sim.clone());
        let file = disk.open_write(Path::new("/a")).unwrap();
        file.set_len(2048).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        file.write_all_at(&[1; 2048], 0).unwrap();
        let left = Disk::Sim(sim.crash(CrashKeep::Random))
            .read(Path::new("/a"))
            .unwrap();
        let sectors: Vec<u8> = left.chunks(512).map(|sector| sector[0]).collect();
        assert!(
            left.chunks(512)
                .all(|sector| sector.iter().all(|byte| *byte == sector[0]))
        );
        seen.insert(sectors);
    }
    assert_eq!(seen.len(), 16, "every subset of four sectors");
}

#[test]
fn names_are_lost_and_come_back() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let sim = SimDisk::new(seed);
        let disk = Disk::Sim(sim.clone());
        write(&disk, "/old", b"1");
        disk.sync_dir(Path::new("/")).unwrap();
        write(&disk, "/new", b"2");
        disk.remove_file(Path::new("/old")).unwrap();
        let left = Disk::Sim(sim.crash(CrashKeep::Random));
        seen.insert((
            left.exists(Path::new("/old")),
            left.exists(Path::new("/new")),
        ));
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn replace_is_atomic() {
    for seed in 0..50 {
        for after in 0..8 {
            let sim = SimDisk::new(seed);
            let disk = Disk::Sim(sim.clone());
            disk.replace(Path::new("/a"), &[1; 3000]).unwrap();
            sim.fail(Fault {
                on: FaultOn::AnyChange,
                path: String::new(),
                after,
                error: FaultError::Io,
                sticky: true,
            });
            let replaced = disk.replace(Path::new("/a"), &[2; 5000]).is_ok();
            let left = Disk::Sim(sim.crash(CrashKeep::Random))
                .read(Path::new("/a"))
                .unwrap();
            let new = left == [2; 5000];
            assert!(new || !replaced && left == [1; 3000], "{seed} {after}");
        }
    }
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    let lost = (0..20).filter(|seed| {
        let sim = SimDisk::new(*seed);
        let disk = Disk::Sim(sim.clone());
        let file = disk.open_write(Path::new("/a")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        file.write_all_at(b"x", 0).unwrap();
        let fault = Fault {
            on: FaultOn::Sync,
            path: "a".into(),
            after: 0,
            error: FaultError::Io,
            sticky: false,
        };
        sim.fail(fault);
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        assert_eq!(disk.read(Path::new("/a")).unwrap(), b"x", "still visible");
        Disk::Sim(sim.crash(CrashKeep::None))
            .read(Path::new("/a"))
            .unwrap()
            != b"x"
    });
    assert!(lost.count() > 5);
}

#[test]
fn faults() {
    let sim = SimDisk::new(1);
    let disk = Disk::Sim(sim.clone());
    let fault = |on, after, sticky| Fault {
        on,
        path: "a".into(),
        after,
        error: FaultError::NoSpace,
        sticky,
    };
    let file = disk.open_write(Path::new("/a")).unwrap();
    let other = disk.open_write(Path::new("/b")).unwrap();
    sim.fail(fault(FaultOn::Write, 1, false));
    file.write_all_at(b"x", 0).unwrap();
    other.write_all_at(b"x", 0).unwrap();
    assert_eq!(
        file.write_all_at(b"x", 0).unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    file.write_all_at(b"x", 0).unwrap();
    sim.fail(fault(FaultOn::Allocate, 0, true));
    file.allocate(1).unwrap_err();
    file.set_len(1).unwrap_err();
    other.set_len(1).unwrap();
    sim.heal();
    file.set_len(1).unwrap();
    sim.fail(fault(FaultOn::Read, 0, true));
    assert!(disk.read(Path::new("/a")).is_err());
    assert_eq!(sim.changes(), 10, "2 opened, 4 written, 4 lengths set");
}

#[test]
fn capacity() {
    let sim = SimDisk::new(1);
    let disk = Disk::Sim(sim.clone());
    sim.set_capacity(Some(10 * 4096));
    let log = disk.open_write(Path::new("/log")).unwrap();
    log.allocate(8 * 4096).unwrap();
    assert_eq!(sim.used(), 8 * 4096);
    let sparse = disk.open_write(Path::new("/sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    sparse.write_all_at(&[1; 4096 + 1], 1 << 30).unwrap();
    assert_eq!(
        disk.space(Path::new("/")).unwrap().used_percent(),
        Some(100)
    );
    assert_eq!(
        sparse.write_all_at(b"x", 0).unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    log.write_all_at(&[1; 8 * 4096], 0).unwrap();
    assert_eq!(
        log.allocate(9 * 4096).unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    disk.remove_file(Path::new("/sparse")).unwrap();
    log.allocate(9 * 4096).unwrap();
}

#[test]
fn locks_and_handles_end_with_the_process() {
    let sim = SimDisk::new(1);
    let disk = Disk::Sim(sim.clone());
    let _held = disk.lock(Path::new("/lock")).unwrap();
    let file = disk.open_write(Path::new("/a")).unwrap();
    let next = Disk::Sim(sim.crash(CrashKeep::All));
    let _lock = next.lock(Path::new("/lock")).unwrap();
    file.write_all_at(b"late", 0).unwrap();
    assert_eq!(next.read(Path::new("/a")).unwrap(), b"");
}
