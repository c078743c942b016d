//! Metadata files: what is used when which of the two is unusable, and what a power cut leaves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use store::disk::{CrashKeep, Disk, SimDisk};

use super::MetadataFile;

type Content = BTreeMap<String, i64>;

fn content(value: i64) -> Content {
    BTreeMap::from([("value".to_owned(), value)])
}

fn file(disk: &Disk) -> MetadataFile {
    disk.create_dir_all(Path::new("/config")).unwrap();
    MetadataFile::new(disk, PathBuf::from("/config/x.json"))
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
    file.save(|| content(2));
    assert_eq!(
        disk.read(Path::new("/config/x.json.bak")).unwrap(),
        b"{\"value\":1}"
    );
    file.save(|| content(3));
    let copy: Content =
        protocol::fastjson::from_slice(&disk.read(Path::new("/config/x.json.bak")).unwrap())
            .unwrap();
    assert_eq!(copy, content(2));
}

#[test]
fn a_power_cut_leaves_the_old_or_the_new_content() {
    for keep in [CrashKeep::All, CrashKeep::None, CrashKeep::Random] {
        let sim = SimDisk::new(7);
        let disk = Disk::Sim(sim.clone());
        let saved = file(&disk);
        saved.save(|| content(1));
        saved.save(|| content(2));
        let disk = Disk::Sim(sim.crash(keep));
        assert_eq!(
            file(&disk).load::<Content>().unwrap(),
            Some(content(2)),
            "{keep:?}"
        );
    }
}
