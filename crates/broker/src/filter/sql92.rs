//! SQL92 as RocketMQ 5.3.3 has it: conditions on a message's properties.
//!
//! | what | how |
//! |---|---|
//! | `a > 1`, `>=`, `<`, `<=`, `a BETWEEN 1 AND 5`, `NOT BETWEEN` | numbers only; a property is read as the number that it is compared with |
//! | `a = 'x'`, `<>` | numbers, texts in single quotes (a quote within is doubled), TRUE and FALSE |
//! | `a IN ('x', 'y')`, `NOT IN` | a property among texts |
//! | `a CONTAINS 'x'`, `STARTSWITH`, `ENDSWITH`, each with NOT | false if the property is missing, and if the text is empty |
//! | `a IS NULL`, `IS NOT NULL` | |
//! | `NOT`, `AND`, `OR`, in this order, and parentheses | |
//!
//! A missing property makes what it is part of unknown, unless that is true or false anyhow; a message is wanted if the whole is true.
//! Where Apache gives up on a message, because a property is not the number that it would have to be, the message is not wanted,
//! whatever else the expression says. Text behind a complete expression is ignored. The table in sql92/golden.txt,
//! made by Apache's own parser, pins all of this.

use std::fmt;

use protocol::properties;

use crate::limits;

mod evaluate;
mod lexer;
mod number;
mod parser;
#[cfg(test)]
mod tests;

use evaluate::Expression;

/// A condition, compiled.
pub struct Sql {
    expression: Expression,
    /// The properties it asks for, in order, with their numbers in the expression.
    names: Box<[(Box<str>, usize)]>,
}

/// Why an expression can't be compiled, and where in it.
#[derive(Debug, PartialEq, Eq)]
pub struct SqlError {
    line: usize,
    column: usize,
    /// Boxed, for the parser's stack holds as many results as the expression is deep.
    cause: Box<Cause>,
}

/// Words are Apache's where it has some; it does not say where the last ones apply.
#[derive(Debug, PartialEq, Eq)]
enum Cause {
    Character(char),
    /// A text or a comment without an end, and the place of its beginning.
    Unclosed(&'static str, usize),
    Unexpected {
        found: String,
        wanted: &'static str,
    },
    Ends(&'static str),
    NotBoolean(String),
    NotCompared(String),
    KindsNotCompared(String, String),
    BetweenEmpty(String, String),
    BetweenNull,
    InOfProperty(String),
    WholeRange(String),
    DecimalAbove(String),
    DecimalBelow(String),
    TooDeep,
    TooLong,
}

impl std::error::Error for SqlError {}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = format_args!("line {}, column {}", self.line, self.column);
        match &*self.cause {
            Cause::Character(character) => {
                return write!(f, "Lexical error at {place}. Encountered: {character:?}");
            }
            Cause::Unclosed(what, column) => {
                return write!(
                    f,
                    "Lexical error at {place}. The {what} from column {column} on has no end"
                );
            }
            Cause::Unexpected { found, wanted } => {
                return write!(
                    f,
                    "Encountered \"{found}\" at {place}. Was expecting {wanted}"
                );
            }
            Cause::Ends(wanted) => {
                return write!(f, "Encountered the end at {place}. Was expecting {wanted}");
            }
            Cause::NotBoolean(value) => {
                write!(f, "Expression will not result in a boolean value: {value}")
            }
            Cause::NotCompared(value) => write!(f, "Value '{value}' cannot be compared."),
            Cause::KindsNotCompared(left, right) => {
                write!(f, "'{left}' cannot be compared with '{right}'")
            }
            Cause::BetweenEmpty(low, high) => {
                write!(
                    f,
                    "Illegal values of between, left value({low}) must less than or equal to right value({high})"
                )
            }
            Cause::BetweenNull => {
                write!(f, "Illegal values of between, values can not be null!")
            }
            Cause::InOfProperty(value) => {
                write!(f, "Expected a property for In expression, got: {value}")
            }
            Cause::WholeRange(number) => {
                write!(
                    f,
                    "For input string: \"{number}\", which is greater than {}",
                    i64::MAX
                )
            }
            Cause::DecimalAbove(number) => {
                write!(f, "{number} is greater than 1.7976931348623157E308")
            }
            Cause::DecimalBelow(number) => write!(f, "{number} is less than 4.9E-324"),
            Cause::TooDeep => {
                write!(f, "nested more than {} deep", limits::EXPRESSION_DEPTH_MAX)
            }
            Cause::TooLong => {
                write!(f, "more than {} bytes", limits::EXPRESSION_BYTES_MAX)
            }
        }?;
        write!(f, " ({place})")
    }
}

/// As many properties need no allocation.
const FEW: usize = 8;

impl Sql {
    /// Compiles an expression.
    pub fn compile(source: &str) -> Result<Sql, SqlError> {
        let (expression, names) = parser::parse(source)?;
        let mut names: Vec<(Box<str>, usize)> = names
            .into_iter()
            .map(|(name, number)| (name.into(), number))
            .collect();
        names.sort_unstable();
        Ok(Sql {
            expression,
            names: names.into_boxed_slice(),
        })
    }

    /// Whether a message with these properties, in their stored form, is wanted.
    pub fn matches(&self, properties: &[u8]) -> bool {
        let (mut few, mut many);
        let values: &mut [Option<&str>] = match self.names.len() {
            0..=FEW => {
                few = [None; FEW];
                &mut few
            }
            count => {
                many = vec![None; count];
                &mut many
            }
        };
        for (name, value) in properties::iter(properties) {
            let known = self
                .names
                .binary_search_by(|(known, _)| (**known).cmp(name));
            if let Ok(at) = known {
                values[self.names[at].1] = Some(value);
            }
        }
        self.expression.truth(values) == Ok(Some(true))
    }
}
