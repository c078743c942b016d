//! Tags: Java's string hash, the code that consume queues hold, and tag subscriptions.

use std::collections::HashSet;

/// Java's `String.hashCode`: over UTF-16 units.
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// The tags code of a consume queue entry: the sign-extended hash; 0 without tags.
pub fn tags_code(tags: &str) -> i64 {
    i64::from(java_hash(tags))
}

/// A tag subscription, such as `*` or `a || b`. It works on hashes, so it may let other tags through;
/// clients compare the strings again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagFilter {
    /// Everything.
    All,
    /// Messages whose tags code is one of these. A message without tags has code 0.
    Codes(HashSet<i32>),
}

/// An expression of nothing but separators, which Apache refuses to parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("subString split error")]
pub struct TagExpressionError;

impl TagFilter {
    /// Reads tags joined by `||`; empty or `*` is everything. A `*` among others is an ordinary tag, and
    /// blanks between separators are no tag (`FilterAPI.buildSubscriptionData`).
    pub fn parse(expression: &str) -> Result<TagFilter, TagExpressionError> {
        if expression.is_empty() || expression == "*" {
            return Ok(TagFilter::All);
        }
        // Java's split drops empty strings at the end, so that only separators give no parts at all.
        if expression.split("||").all(str::is_empty) {
            return Err(TagExpressionError);
        }
        let tags = TagFilter::tags(expression);
        Ok(TagFilter::Codes(tags.map(java_hash).collect()))
    }

    /// The tags of an expression that is not everything.
    pub fn tags(expression: &str) -> impl Iterator<Item = &str> {
        expression
            .split("||")
            .map(java_trim)
            .filter(|tag| !tag.is_empty())
    }

    /// Whether a message with this tags code may be wanted. Apache compares the low 32 bits.
    pub fn matches(&self, tags_code: i64) -> bool {
        match self {
            TagFilter::All => true,
            TagFilter::Codes(codes) => codes.contains(&(tags_code as i32)),
        }
    }
}

/// Java's `String.trim`: everything up to a blank goes, and no Unicode space does.
fn java_trim(text: &str) -> &str {
    text.trim_matches(|character| character <= ' ')
}

#[cfg(test)]
mod tests;
