//! Bodies in fastjson's dialect and compressed registrations: no panic, and what is read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::bodies::{Heartbeat, RegisterBrokerBody, TopicRoute};
use protocol::fastjson::{from_slice, to_vec, to_vec_standard};

fuzz_target!(|data: &[u8]| {
    if let Ok(heartbeat) = from_slice::<Heartbeat>(data) {
        assert_eq!(from_slice::<Heartbeat>(&to_vec(&heartbeat)).unwrap(), heartbeat);
    }
    if let Ok(route) = from_slice::<TopicRoute>(data) {
        assert_eq!(from_slice::<TopicRoute>(&to_vec(&route)).unwrap(), route);
        assert_eq!(from_slice::<TopicRoute>(&to_vec_standard(&route)).unwrap(), route);
    }
    let _ = RegisterBrokerBody::decode_compressed(data, protocol::command::VERSION);
});
