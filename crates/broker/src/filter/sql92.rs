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

#[derive(Debug, PartialEq, Eq)]
enum Cause {
    Character(char),
    Unclosed,
    Unexpected {
        found: Option<String>,
        wanted: &'static str,
    },
    NotBoolean,
    NotOrdered,
    EqualNull,
    EqualKinds,
    BetweenEmpty,
    InOfProperty,
    WholeRange,
    DecimalRange,
    TooDeep,
    TooLong,
}

impl std::error::Error for SqlError {}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        match &*self.cause {
            Cause::Character(character) => write!(f, "unexpected character {character:?}"),
            Cause::Unclosed => write!(f, "the text that begins here has no closing quote"),
            Cause::Unexpected { found, wanted } => match found {
                Some(found) => write!(f, "found \"{found}\", expected {wanted}"),
                None => write!(f, "the expression ends, expected {wanted}"),
            },
            Cause::NotBoolean => write!(f, "this is neither true nor false"),
            Cause::NotOrdered => write!(f, "only numbers and properties can be greater or less"),
            Cause::EqualNull => write!(f, "nothing equals NULL; use IS NULL"),
            Cause::EqualKinds => write!(f, "a boolean can only equal a boolean"),
            Cause::BetweenEmpty => write!(f, "nothing is between a number and a smaller one"),
            Cause::InOfProperty => write!(f, "only a property can be in a list"),
            Cause::WholeRange => write!(f, "the number is greater than {}", i64::MAX),
            Cause::DecimalRange => write!(f, "a decimal number must be above 0 and finite"),
            Cause::TooDeep => {
                let max = crate::limits::EXPRESSION_DEPTH_MAX;
                write!(f, "nested more than {max} deep")
            }
            Cause::TooLong => {
                let max = crate::limits::EXPRESSION_BYTES_MAX;
                write!(f, "an expression has at most {max} bytes")
            }
        }
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
