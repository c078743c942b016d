//! The two kinds of offsets, which must never be mixed up.

use std::fmt;

use crate::command::{FieldSink, FieldValue};
use crate::text::Text;

macro_rules! offset {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Clone,
            Copy,
            Debug,
            Default,
            PartialEq,
            Eq,
            PartialOrd,
            Ord,
            Hash,
            serde::Serialize,
            serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FieldValue<'_> for $name {
            const EXPECTED: &'static str = <i64 as FieldValue<'_>>::EXPECTED;

            fn read(value: Text<'_>) -> Option<Self> {
                i64::read(value).map($name)
            }

            fn write(&self, name: &'static str, out: &mut FieldSink<'_>) {
                self.0.write(name, out);
            }
        }
    };
}

offset! {
    /// A place in the commit log, in bytes from its beginning.
    LogOffset
}

offset! {
    /// A place in a queue: the number of a message there.
    QueueOffset
}
