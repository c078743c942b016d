//! The macros that declare options.

/// Declares a struct of options: typed public fields, [`Default`], and [`OptionSet`](crate::options::OptionSet).
///
/// ```
/// protocol::options! {
///     /// Options of a broker.
///     pub struct Options {
///         /// Largest body of a message.
///         max_message_size: u32 = "maxMessageSize" or 4 << 20, unit "bytes";
///         /// Size of a commit log file.
///         log_file_size: u64 = "mappedFileSizeCommitLog" or 1 << 30, unit "bytes", also "mapedFileSizeCommitLog";
///     }
/// }
/// assert_eq!(Options::default().max_message_size, 4_194_304);
/// ```
#[macro_export]
macro_rules! options {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $(
            $(#[doc = $doc:literal])*
            $field:ident: $type:ty = $key:literal or $default:expr
            $(, unit $unit:literal)? $(, also $($alias:literal)|+)?;
        )*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        $vis struct $name {
            $(
                $(#[doc = $doc])*
                #[doc = concat!(" (`", $key, "`)")]
                pub $field: $type,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::options::OptionSet for $name {
            fn declared(&self) -> &'static [$crate::options::Declared] {
                const DECLARED: &[$crate::options::Declared] = &[$(
                    $crate::options::Declared {
                        key: $key,
                        aliases: &[$($($alias,)+)?],
                        kind: <$type as $crate::options::OptionValue>::kind,
                        default: || {
                            let default: $type = $default;
                            $crate::options::OptionValue::show(&default)
                        },
                        unit: $crate::options!(@unit $($unit)?),
                        doc: concat!($($doc, "\n",)*),
                    },
                )*];
                DECLARED
            }

            fn set(&mut self, index: usize, text: &str) -> Option<String> {
                let mut at = 0..;
                $(if at.next() == Some(index) {
                    self.$field = <$type as $crate::options::OptionValue>::parse(text)?;
                    return Some($crate::options::OptionValue::show(&self.$field));
                })*
                let _ = (at, text);
                None
            }

            fn show(&self, index: usize) -> String {
                let mut at = 0..;
                $(if at.next() == Some(index) {
                    return $crate::options::OptionValue::show(&self.$field);
                })*
                let _ = at;
                String::new()
            }
        }
    };
    (@unit $unit:literal) => { Some($unit) };
    (@unit) => { None };
}

/// Declares an enum that options can have as their type: each variant with its name in configurations.
///
/// ```
/// protocol::option_enum! {
///     /// When an acknowledged message is on disk.
///     pub enum FlushDiskType {
///         /// Before the acknowledgement.
///         SyncFlush = "SYNC_FLUSH",
///         /// Soon after.
///         AsyncFlush = "ASYNC_FLUSH",
///     }
/// }
/// ```
#[macro_export]
macro_rules! option_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name {
            $($(#[$variant_meta])* $variant,)*
        }

        impl $crate::options::OptionValue for $name {
            fn kind() -> String {
                [$($text),*].join(" or ")
            }

            fn parse(text: &str) -> Option<Self> {
                $(if text.eq_ignore_ascii_case($text) {
                    return Some(Self::$variant);
                })*
                None
            }

            fn show(&self) -> String {
                match self {
                    $(Self::$variant => $text.to_owned(),)*
                }
            }
        }
    };
}
