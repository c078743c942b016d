//! Typed command headers: one macro, and the headers by subject. Field names and types are those of Apache's
//! `…RequestHeader` and `…ResponseHeader` classes.

/// Declares a header: public fields, each with its name on the wire. `Option` fields may be missing, others
/// must be there unless `or` gives the value of a missing one. Decoding is one pass over the raw fields
/// without a map or an allocation; unknown fields are ignored, and of equal names the last one counts.
macro_rules! header {
    ($(#[$meta:meta])* pub struct $name:ident $(<$life:lifetime>)? {
        $($(#[$field_meta:meta])* $field:ident: $type:ty = $key:literal $(or $default:expr)?,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name $(<$life>)? {
            $(
                $(#[$field_meta])*
                #[doc = concat!(" (`", $key, "` on the wire)")]
                pub $field: $type,
            )*
        }

        $crate::headers::header!(@impl $name [$($life)?] {
            $($field: $type = $key $(or $default)?,)*
        });
    };
    (@impl $name:ident [] {$($fields:tt)*}) => {
        impl<'a> $crate::command::Header<'a> for $name {
            $crate::headers::header!(@body {$($fields)*});
        }
    };
    (@impl $name:ident [$life:lifetime] {$($fields:tt)*}) => {
        impl<$life> $crate::command::Header<$life> for $name<$life> {
            $crate::headers::header!(@body_of $life {$($fields)*});
        }
    };
    (@body {$($fields:tt)*}) => { $crate::headers::header!(@body_of 'a {$($fields)*}); };
    (@body_of $life:lifetime {
        $($field:ident: $type:ty = $key:literal $(or $default:expr)?,)*
    }) => {
        fn decode(
            fields: $crate::command::Fields<$life>,
        ) -> Result<Self, $crate::command::HeaderError> {
            use $crate::command::{FieldValue, HeaderError, position};
            use $crate::text::Text;
            #[allow(non_camel_case_types, reason = "they are the fields' names")]
            enum Field { $($field,)* }
            const NAMES: &[&str] = &[$($key,)*];
            $(let mut $field: Option<$type> = None;)*
            let mut next = 0;
            let mut error = None;
            let read = fields.each(&mut |key, value, escaped| {
                let Some(found) = position(NAMES, key, next) else {
                    return;
                };
                next = found + 1;
                $(if found == Field::$field as usize {
                    let value = Text::raw(value, escaped);
                    $field = <$type as FieldValue<'_>>::read(value);
                    if $field.is_none() {
                        error = Some(HeaderError::invalid($key, value, <$type as FieldValue<'_>>::EXPECTED));
                    }
                    return;
                })*
            });
            read?;
            if let Some(error) = error {
                return Err(error);
            }
            Ok(Self {
                $($field: $field
                    $(.or(Some($default)))?
                    .or_else(<$type as FieldValue<'_>>::absent)
                    .ok_or(HeaderError::Missing { field: $key })?,)*
            })
        }

        fn encode(&self, out: &mut $crate::command::FieldSink<'_>) {
            use $crate::command::FieldValue;
            $(self.$field.write($key, out);)*
        }
    };
}

pub(crate) use header;

pub mod calls;
pub mod client;
pub mod group;
pub mod message;
pub mod nameserver;
pub mod offset;
pub mod pop;
pub mod pull;
pub mod recall;
pub mod reply;
pub mod send;
pub mod topic;
pub mod transaction;
