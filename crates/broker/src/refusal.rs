//! A request that is answered with an error: response code and remark.

use std::borrow::Cow;

use protocol::codes::response;
use protocol::command::HeaderError;
use store::AppendError;

/// What a client is told instead of what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// See [`protocol::codes::response`].
    pub(crate) code: i32,
    /// The cause, naming the value at fault.
    pub(crate) remark: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(code: i32, remark: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            code,
            remark: remark.into(),
        }
    }

    /// Code 1, for what has no code of its own.
    pub(crate) fn system(remark: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(response::SYSTEM_ERROR, remark)
    }
}

/// Apache answers code 1 when a header can't be used, if it notices at all.
impl From<HeaderError> for Refusal {
    fn from(error: HeaderError) -> Refusal {
        Refusal::system(error.to_string())
    }
}

/// Sealed and full logs answer 14, which makes clients try another broker.
impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Refusal {
        match error {
            AppendError::TooLarge { .. } => {
                Refusal::new(response::MESSAGE_ILLEGAL, error.to_string())
            }
            // Clients try another broker at once, where there is one.
            AppendError::Busy { .. } => Refusal::new(
                response::SYSTEM_BUSY,
                format!("[FLOW_CONTROL]the message was not stored: {error}"),
            ),
            AppendError::DiskFull(_) | AppendError::Sealed(_) | AppendError::Io(_) => {
                let remark =
                    format!("service not available now. The message was not stored: {error}");
                Refusal::new(response::SERVICE_NOT_AVAILABLE, remark)
            }
        }
    }
}

/// The tail that Apache gives to remarks a user can do something about.
pub(crate) const SEE: &str =
    "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.";
