//! Properties strings, and the properties files of configurations: no panic, and what is listed is found.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::properties::{append, find, iter};

fuzz_target!(|data: &[u8]| {
    let _ = protocol::options::parse(data);
    let mut again = Vec::new();
    for (name, value) in iter(data) {
        assert!(find(data, name).is_some());
        append(&mut again, name, value);
    }
    assert!(iter(&again).eq(iter(data)));
});
