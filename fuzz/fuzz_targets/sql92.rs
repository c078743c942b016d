//! SQL92 expressions and the properties they are asked about: no panic, whatever they say, and an error that tells where.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (&str, &[u8])| {
    let (source, properties) = data;
    match broker::Sql::compile(source) {
        Ok(sql) => drop(sql.matches(properties)),
        Err(error) => assert!(error.to_string().contains("line ")),
    }
});
