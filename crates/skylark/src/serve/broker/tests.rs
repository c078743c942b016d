//! Where a broker keeps its store.

use std::path::Path;

use super::*;

fn no_home() -> anyhow::Result<PathBuf> {
    bail!("there is no home directory")
}

#[test]
fn who_says_where_the_store_is_needs_no_home() {
    let options = Options {
        store_root: Some("/var/store".to_owned()),
        ..Options::default()
    };
    let config = with_root(&options, no_home).unwrap();
    assert_eq!(config.store.root, Path::new("/var/store"));
}

#[test]
fn without_a_place_the_store_is_at_home() {
    let config = with_root(&Options::default(), || Ok("/home/me".into())).unwrap();
    assert_eq!(config.store.root, Path::new("/home/me/store"));
    let error = with_root(&Options::default(), no_home).unwrap_err();
    assert_eq!(error.to_string(), "there is no home directory");
}
