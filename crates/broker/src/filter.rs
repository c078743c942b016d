//! Which messages a consumer wants: by tags, which the queue's entries tell, or by an SQL92 expression on the properties of the record.

use std::sync::Arc;

use protocol::codes::response;
use protocol::properties;
use protocol::record::Outline;
use protocol::tags::{TagExpressionError, TagFilter};

use crate::broker::Saved;
use crate::refusal::Refusal;

pub(crate) mod bloom;
pub(crate) mod compiled;
pub(crate) mod expressions;
pub(crate) mod sql92;
#[cfg(test)]
mod tests;

use compiled::Compiled;
use expressions::Expressions;
use sql92::{Sql, SqlError};

/// Ready to be asked about messages, first by their entry, and if that does not rule it out by their record.
#[derive(Clone)]
pub(crate) enum Filter {
    Tags(Arc<TagFilter>),
    Sql(Arc<Sql>),
    /// Each retried message by what the group says of the topic that it came from (filterSupportRetry).
    Retried {
        group: String,
        expressions: Arc<Saved<Expressions>>,
    },
}

impl Filter {
    /// Everything.
    pub(crate) fn all() -> Filter {
        Filter::Tags(Arc::new(TagFilter::All))
    }

    /// Whether a message with this tags code may be wanted.
    pub(crate) fn wants_entry(&self, tags_code: i64) -> bool {
        match self {
            Filter::Tags(tags) => tags.matches(tags_code),
            Filter::Sql(_) | Filter::Retried { .. } => true,
        }
    }

    /// Whether a stored message is wanted that [`Filter::wants_entry`].
    pub(crate) fn wants_record(&self, record: &[u8]) -> bool {
        match self {
            Filter::Tags(_) => true,
            Filter::Sql(sql) => {
                Outline::decode(record).is_ok_and(|outline| sql.matches(outline.properties))
            }
            Filter::Retried { group, expressions } => Outline::decode(record)
                .is_ok_and(|outline| wants_retried(group, expressions, outline.properties)),
        }
    }
}

/// A subscription that can't be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("{0}: \"{1}\"")]
    Tags(TagExpressionError, String),
    #[error("an expression of type {0} can't be empty")]
    Empty(String),
    /// Apache notices these two in pops and in 46; from pulls with such a subscription it hides nothing.
    #[error("there is no filter of type {0}")]
    Kind(String),
    #[error("{cause}, in \"{start}\"")]
    Sql { cause: SqlError, start: String },
}

impl From<FilterError> for Refusal {
    fn from(error: FilterError) -> Refusal {
        let remark = format!("parse the consumer's subscription failed: {error}");
        Refusal::new(response::SUBSCRIPTION_PARSE_FAILED, remark)
    }
}

/// The filter of a request that carries its subscription. What is compiled once is not compiled again.
pub(crate) fn of_request(
    compiled: &Compiled,
    kind: &str,
    expression: &str,
) -> Result<Filter, FilterError> {
    if is_tag(kind) {
        let tags = TagFilter::parse(expression);
        let tags = tags.map_err(|error| FilterError::Tags(error, start(expression)))?;
        return Ok(Filter::Tags(Arc::new(tags)));
    }
    if expression.is_empty() {
        return Err(FilterError::Empty(start(kind)));
    }
    compile(compiled, kind, expression).map(Filter::Sql)
}

/// An expression that is not of tags.
pub(crate) fn compile(
    compiled: &Compiled,
    kind: &str,
    expression: &str,
) -> Result<Arc<Sql>, FilterError> {
    if kind != SQL92 {
        return Err(FilterError::Kind(start(kind)));
    }
    compiled
        .compile(expression)
        .map_err(|cause| FilterError::Sql {
            cause,
            start: start(expression),
        })
}

const SQL92: &str = "SQL92";

/// As much of a text as a remark should repeat.
fn start(text: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What nothing is known of is wanted, as in Apache.
fn wants_retried(group: &str, expressions: &Saved<Expressions>, stored: &[u8]) -> bool {
    let Some(topic) = properties::find(stored, properties::RETRY_TOPIC) else {
        return true;
    };
    let sql = {
        let expressions = expressions.state.read();
        expressions
            .find(group, topic)
            .and_then(|found| found.sql.clone())
    };
    sql.is_none_or(|sql| sql.matches(stored))
}

/// Whether an expression type means tags; clients may leave it out.
pub(crate) fn is_tag(kind: &str) -> bool {
    matches!(kind, "" | "TAG")
}
