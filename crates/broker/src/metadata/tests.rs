//! Metadata files: what is used when which of the two is unusable, and what a power cut leaves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use store::disk::{CrashKeep, Disk, Fault, FaultError, FaultOn, SimDisk};

use super::MetadataFile;

type Content = BTreeMap<String, i64>;

fn content(value: i64) -> Content {
    BTreeMap::from([("value".to_owned(), value)])
}

fn file(disk: &Disk) -> MetadataFile {
    disk.create_dir_all(Path::new("/config")).unwrap();
    MetadataFile::new(disk, PathBuf::from("/config/x.json"))
}

/// Saves one change more; returns whether it is in the file.
fn save(file: &MetadataFile, value: i64) -> bool {
    let mut changes = 0;
    file.save_changes(|saved| {
        changes = saved + 1;
        Some((changes, content(value)))
    });
    file.is_saved(changes)
}

#[test]
fn the_copy_stands_in_for_an_unusable_file() {
    const GOOD: Option<&str> = Some("{\"value\":1}");
    const COPY: Option<&str> = Some("{\"value\":2}");
    const TORN: Option<&str> = Some("{\"val");
    const EMPTY: Option<&str> = Some("");
    for (main, copy, expected) in [
        (None, None, Ok(None)),
        (GOOD, None, Ok(Some(1))),
        (GOOD, TORN, Ok(Some(1))),
        (TORN, COPY, Ok(Some(2))),
        (EMPTY, COPY, Ok(Some(2))),
        (None, COPY, Ok(Some(2))),
        (EMPTY, None, Ok(None)),
        (EMPTY, EMPTY, Ok(None)),
        (TORN, None, Err(())),
        (TORN, EMPTY, Err(())),
        (None, TORN, Err(())),
    ] {
        let disk = Disk::Sim(SimDisk::new(1));
        let file = file(&disk);
        for (path, text) in [("/config/x.json", main), ("/config/x.json.bak", copy)] {
            if let Some(text) = text {
                disk.replace(Path::new(path), text.as_bytes()).unwrap();
            }
        }
        let loaded = file
            .load::<Content>()
            .map(|loaded| loaded.map(|content| content["value"]))
            .map_err(|_| ());
        assert_eq!(loaded, expected, "file {main:?}, copy {copy:?}");
    }
}

#[test]
fn saving_keeps_what_was_there_before_but_never_a_broken_file() {
    let disk = Disk::Sim(SimDisk::new(1));
    let file = file(&disk);
    disk.replace(Path::new("/config/x.json"), b"{\"val")
        .unwrap();
    disk.replace(Path::new("/config/x.json.bak"), b"{\"value\":1}")
        .unwrap();
    assert_eq!(file.load::<Content>().unwrap(), Some(content(1)));
    save(&file, 2);
    assert_eq!(
        disk.read(Path::new("/config/x.json.bak")).unwrap(),
        b"{\"value\":1}"
    );
    save(&file, 3);
    let copy: Content =
        protocol::fastjson::from_slice(&disk.read(Path::new("/config/x.json.bak")).unwrap())
            .unwrap();
    assert_eq!(copy, content(2));
}

#[test]
fn a_power_cut_at_any_moment_leaves_the_old_or_the_new_content() {
    for keep in [CrashKeep::All, CrashKeep::None, CrashKeep::Random] {
        for seed in 0..20 {
            let mut after = 0;
            while !cut_while_saving(keep, seed, after) {
                after += 1;
            }
            assert!(
                after >= 5,
                "a save is several changes to the disk, not {after}"
            );
        }
    }
}

/// Cuts the power after so many changes of the second save; returns whether it was done by then.
fn cut_while_saving(keep: CrashKeep, seed: u64, after: u64) -> bool {
    let sim = SimDisk::new(seed);
    let disk = Disk::Sim(sim.clone());
    let saved = file(&disk);
    assert!(save(&saved, 1));
    sim.fail(Fault {
        on: FaultOn::AnyChange,
        path: String::new(),
        after,
        error: FaultError::Io,
        sticky: true,
    });
    let done = save(&saved, 2);
    let restarted = file(&Disk::Sim(sim.crash(keep)));
    let loaded = restarted.load::<Content>();
    let loaded = loaded.unwrap_or_else(|error| panic!("{keep:?}, {after} changes: {error}"));
    let value = loaded.map(|content| content["value"]);
    if done {
        assert_eq!(value, Some(2), "{keep:?}: it had been saved");
    } else {
        assert!(
            matches!(value, Some(1 | 2)),
            "{keep:?}, {after} changes: {value:?}"
        );
    }
    assert!(save(&restarted, 3), "it goes on from there");
    assert_eq!(restarted.load::<Content>().unwrap(), Some(content(3)));
    done
}

#[tokio::test]
async fn what_could_not_be_written_is_told_and_tried_again() {
    let sim = SimDisk::new(1);
    let file = file(&Disk::Sim(sim.clone()));
    let save_up_to = |changes: u64| {
        file.save_changes(|saved| (changes > saved).then(|| (changes, content(changes as i64))))
    };
    assert!(file.is_saved(0) && file.saved(0).await);
    let waiting = file.saved(1);
    sim.fail(Fault {
        on: FaultOn::Write,
        path: "x.json".into(),
        after: 0,
        error: FaultError::NoSpace,
        sticky: true,
    });
    save_up_to(2);
    assert!(!waiting.await && !file.is_saved(1));
    assert_eq!(file.load::<Content>().unwrap_or(None), None);
    sim.heal();
    save_up_to(2);
    assert!(file.saved(2).await && file.is_saved(2) && !file.is_saved(3));
    assert_eq!(file.load::<Content>().unwrap(), Some(content(2)));
    file.save_changes(|saved| -> Option<(u64, Content)> {
        assert_eq!(saved, 2);
        None
    });
}
