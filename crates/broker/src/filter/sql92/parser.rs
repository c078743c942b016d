//! Words to an expression. What Apache refuses while it parses is refused here, with the place of the word it is about.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::evaluate::{Compared, Expression, TextTest, Value, compare};
use super::lexer::{Kind, Lexer, Token};
use super::number::double;
use super::{Cause, SqlError};
use crate::limits;

/// How tightly an operator binds. Each takes operands of the next level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    Equality,
    Comparison,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    /// Where the word before ends.
    end: usize,
    /// Parentheses that are open.
    open: usize,
    names: HashMap<&'a str, usize>,
}

/// An expression, how deep it is nested, and where in the source it is.
struct Node {
    expression: Expression,
    depth: usize,
    start: usize,
    end: usize,
}

/// The expression, and the properties that the numbers in it stand for.
pub(super) fn parse(source: &str) -> Result<(Expression, HashMap<&str, usize>), SqlError> {
    let mut lexer = Lexer::new(source);
    if source.len() > limits::EXPRESSION_BYTES_MAX {
        return Err(lexer.error(0, Cause::TooLong));
    }
    let token = lexer.next()?;
    let mut parser = Parser {
        lexer,
        token,
        end: 0,
        open: 0,
        names: HashMap::new(),
    };
    let whole = parser.binary(Level::Or)?;
    let whole = parser.boolean(whole)?;
    Ok((whole.expression, parser.names))
}

impl<'a> Parser<'a> {
    fn error(&self, at: usize, cause: Cause) -> SqlError {
        self.lexer.error(at, cause)
    }

    fn unexpected<T>(&self, wanted: &'static str) -> Result<T, SqlError> {
        let Token { kind, at, end } = self.token;
        if kind == Kind::End {
            return Err(self.lexer.error_at_end(Cause::Ends(wanted)));
        }
        let found = self.lexer.text(at, end);
        Err(self.error(at, Cause::Unexpected { found, wanted }))
    }

    /// A node as it was written.
    fn source(&self, node: &Node) -> String {
        self.lexer.text(node.start, node.end)
    }

    /// The current word, which is done with.
    fn take(&mut self) -> Result<Token<'a>, SqlError> {
        let next = self.lexer.next()?;
        self.end = self.token.end;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn expect(&mut self, kind: Kind<'_>, wanted: &'static str) -> Result<(), SqlError> {
        if self.token.kind != kind {
            return self.unexpected(wanted);
        }
        self.take().map(drop)
    }

    /// Operators from `lowest` on and their operands, from the left. Ends before what can't follow: it is up to the caller, or
    /// ignored behind the whole expression.
    fn binary(&mut self, lowest: Level) -> Result<Node, SqlError> {
        let mut left = self.unary()?;
        let mut highest = Level::Comparison;
        while let Some(level) = level(self.token.kind)
            && lowest <= level
            && level <= highest
        {
            highest = level;
            left = match level {
                Level::Or | Level::And => self.logic(left, level)?,
                Level::Equality => self.equality(left)?,
                Level::Comparison => self.comparison(left)?,
            };
        }
        Ok(left)
    }

    /// A whole chain of ORs, or of ANDs.
    fn logic(&mut self, left: Node, level: Level) -> Result<Node, SqlError> {
        let (operator, operands) = match level {
            Level::Or => (Kind::Or, Level::And),
            _ => (Kind::And, Level::Equality),
        };
        let left = self.boolean(left)?;
        let (start, mut depth) = (left.start, left.depth);
        let mut terms = vec![left.expression];
        while self.token.kind == operator {
            self.take()?;
            let right = self.binary(operands)?;
            let right = self.boolean(right)?;
            depth = depth.max(right.depth);
            terms.push(right.expression);
        }
        let terms = terms.into_boxed_slice();
        let expression = match level {
            Level::Or => Expression::Any(terms),
            _ => Expression::All(terms),
        };
        self.node(start, expression, depth)
    }

    fn equality(&mut self, left: Node) -> Result<Node, SqlError> {
        let operator = self.take()?;
        let (start, mut depth) = (left.start, left.depth);
        let (operands, not) = if operator.kind == Kind::Is {
            let not = self.token.kind == Kind::Not;
            if not {
                self.take()?;
            }
            self.expect(Kind::Null, "NULL")?;
            let null = Expression::Constant(Value::Null);
            ([left.expression, null], not)
        } else {
            let right = self.binary(Level::Comparison)?;
            self.check_equal(&left, &right)?;
            depth = depth.max(right.depth);
            let operands = [left.expression, right.expression];
            (operands, operator.kind == Kind::NotEqual)
        };
        let equal = self.node(start, Expression::Equal(Box::new(operands)), depth)?;
        match not {
            true => self.not(start, equal),
            false => Ok(equal),
        }
    }

    fn check_equal(&self, left: &Node, right: &Node) -> Result<(), SqlError> {
        let constants = (left.expression.constant(), right.expression.constant());
        let null = match constants {
            (Some(Value::Null), _) => left,
            (_, Some(Value::Null)) => right,
            (Some(Value::Bool(_)), Some(Value::Bool(_))) => return Ok(()),
            (Some(Value::Bool(_)), Some(_)) => {
                let cause = Cause::KindsNotCompared(self.source(left), self.source(right));
                return Err(self.error(left.start, cause));
            }
            _ => return Ok(()),
        };
        Err(self.error(null.start, Cause::NotCompared(self.source(null))))
    }

    fn not(&self, start: usize, node: Node) -> Result<Node, SqlError> {
        let not = Expression::Not(Box::new(node.expression));
        self.node(start, not, node.depth)
    }

    fn comparison(&mut self, left: Node) -> Result<Node, SqlError> {
        let mut operator = self.take()?;
        let not = operator.kind == Kind::Not;
        if not {
            if !matches!(
                self.token.kind,
                Kind::Contains | Kind::StartsWith | Kind::EndsWith | Kind::Between | Kind::In
            ) {
                let found = self.lexer.text(operator.at, operator.end);
                let wanted = "CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN behind it";
                return Err(self.error(operator.at, Cause::Unexpected { found, wanted }));
            }
            operator = self.take()?;
        }
        match operator.kind {
            Kind::Contains => self.test(left, TextTest::Contains, not),
            Kind::StartsWith => self.test(left, TextTest::StartsWith, not),
            Kind::EndsWith => self.test(left, TextTest::EndsWith, not),
            Kind::Between => self.between(left, not),
            Kind::In => self.listed(left, not),
            Kind::Greater => self.order(left, Compared::Greater),
            Kind::GreaterEqual => self.order(left, Compared::GreaterEqual),
            Kind::Less => self.order(left, Compared::Less),
            _ => self.order(left, Compared::LessEqual),
        }
    }

    fn order(&mut self, left: Node, wanted: Compared) -> Result<Node, SqlError> {
        let right = self.unary()?;
        let (start, depth) = (left.start, left.depth.max(right.depth));
        let operands = Box::new([self.ordered(left)?, self.ordered(right)?]);
        self.node(start, Expression::Order(wanted, operands), depth)
    }

    fn between(&mut self, value: Node, not: bool) -> Result<Node, SqlError> {
        let low = self.unary()?;
        self.expect(Kind::And, "AND")?;
        let high = self.unary()?;
        if !not {
            self.check_between(&low, &high)?;
        }
        let start = value.start;
        let depth = value.depth.max(low.depth).max(high.depth);
        let of = Box::new([
            self.ordered(value)?,
            self.ordered(low)?,
            self.ordered(high)?,
        ]);
        self.node(start, Expression::Between { of, not }, depth)
    }

    fn check_between(&self, low: &Node, high: &Node) -> Result<(), SqlError> {
        let cause = match (low.expression.constant(), high.expression.constant()) {
            (Some(Value::Null), Some(_)) | (Some(_), Some(Value::Null)) => Cause::BetweenNull,
            (Some(from), Some(to)) if compare(&to, &from).is_ok_and(Ordering::is_lt) => {
                Cause::BetweenEmpty(self.source(low), self.source(high))
            }
            _ => return Ok(()),
        };
        Err(self.error(low.start, cause))
    }

    fn listed(&mut self, left: Node, not: bool) -> Result<Node, SqlError> {
        self.expect(Kind::Open, "(")?;
        let mut texts = vec![self.text()?];
        while self.token.kind == Kind::Comma {
            self.take()?;
            texts.push(self.text()?);
        }
        self.expect(Kind::Close, ", or )")?;
        texts.sort_unstable();
        texts.dedup();
        let Expression::Property(property) = left.expression else {
            let cause = Cause::InOfProperty(self.source(&left));
            return Err(self.error(left.start, cause));
        };
        let texts = texts.into_boxed_slice();
        let expression = Expression::In {
            property,
            texts,
            not,
        };
        self.node(left.start, expression, 0)
    }

    fn test(&mut self, left: Node, test: TextTest, not: bool) -> Result<Node, SqlError> {
        let search = self.text()?;
        let expression = Expression::Test {
            test,
            of: Box::new(left.expression),
            search,
            not,
        };
        self.node(left.start, expression, left.depth)
    }

    /// A value behind any number of signs and NOTs, which count from the inside.
    fn unary(&mut self) -> Result<Node, SqlError> {
        let mut signs = Vec::new();
        while matches!(self.token.kind, Kind::Plus | Kind::Minus | Kind::Not) {
            signs.push(self.take()?);
        }
        let mut node = self.primary()?;
        for sign in signs.into_iter().rev() {
            node = match sign.kind {
                Kind::Minus => {
                    let negative = Expression::Negate(Box::new(node.expression));
                    self.node(sign.at, negative, node.depth)?
                }
                Kind::Not => {
                    let node = self.boolean(node)?;
                    self.not(sign.at, node)?
                }
                _ => node,
            };
        }
        Ok(node)
    }

    fn primary(&mut self) -> Result<Node, SqlError> {
        let at = self.token.at;
        let value = match self.token.kind {
            Kind::Open => return self.parenthesis(),
            Kind::Name(name) => {
                self.take()?;
                let next = self.names.len();
                let property = *self.names.entry(name).or_insert(next);
                return self.node(at, Expression::Property(property), 0);
            }
            Kind::Text(_) => Value::Text(self.text()?),
            Kind::Whole(digits) => {
                let digits = digits.trim_end_matches(['l', 'L']);
                let number: Result<i64, _> = digits.parse();
                let number = number.map_err(|_| {
                    self.error(
                        at,
                        Cause::WholeRange(self.lexer.text(at, at + digits.len())),
                    )
                })?;
                self.take()?;
                i32::try_from(number).map_or(Value::Long(number), Value::Int)
            }
            Kind::Decimal(digits) => {
                let number = self.decimal(at, digits)?;
                self.take()?;
                Value::Double(number)
            }
            Kind::True | Kind::False => Value::Bool(self.take()?.kind == Kind::True),
            Kind::Null => {
                self.take()?;
                Value::Null
            }
            _ => return self.unexpected("a property or a value"),
        };
        self.node(at, Expression::Constant(value), 0)
    }

    /// A number with a point or an exponent, neither 0 nor infinite.
    fn decimal(&self, at: usize, digits: &str) -> Result<f64, SqlError> {
        let number = double(digits).unwrap_or(0.0);
        let text = || self.lexer.text(at, at + digits.len());
        if number.is_infinite() {
            return Err(self.error(at, Cause::DecimalAbove(text())));
        }
        if number <= 0.0 {
            return Err(self.error(at, Cause::DecimalBelow(text())));
        }
        Ok(number)
    }

    fn parenthesis(&mut self) -> Result<Node, SqlError> {
        let start = self.token.at;
        self.open += 1;
        if self.open > limits::EXPRESSION_DEPTH_MAX {
            return Err(self.error(start, Cause::TooDeep));
        }
        self.take()?;
        let node = self.binary(Level::Or)?;
        self.expect(Kind::Close, ")")?;
        self.open -= 1;
        let end = self.end;
        Ok(Node { start, end, ..node })
    }

    /// A text in quotes, without them.
    fn text(&mut self) -> Result<Box<str>, SqlError> {
        let Kind::Text(quoted) = self.token.kind else {
            return self.unexpected("a text in single quotes");
        };
        self.take()?;
        let inner = &quoted[1..quoted.len() - 1];
        Ok(inner.replace("''", "'").into_boxed_str())
    }

    /// What can be true or false: a property alone counts as a boolean, though one of a message never is.
    fn boolean(&self, node: Node) -> Result<Node, SqlError> {
        match node.expression {
            Expression::Property(property) => {
                let expression = Expression::Truth(property);
                Ok(Node { expression, ..node })
            }
            Expression::Constant(Value::Bool(_) | Value::Null) => Ok(node),
            Expression::Negate(_) | Expression::Constant(_) => {
                let cause = Cause::NotBoolean(self.source(&node));
                Err(self.error(node.start, cause))
            }
            _ => Ok(node),
        }
    }

    /// What can be greater or less: numbers, and properties that may turn out to be numbers.
    fn ordered(&self, node: Node) -> Result<Expression, SqlError> {
        match node.expression {
            Expression::Property(_)
            | Expression::Negate(_)
            | Expression::Constant(Value::Int(_) | Value::Long(_) | Value::Double(_)) => {
                Ok(node.expression)
            }
            _ => Err(self.error(node.start, Cause::NotCompared(self.source(&node)))),
        }
    }

    /// One level above `depth`, from `start` to the last word that was taken.
    fn node(&self, start: usize, expression: Expression, depth: usize) -> Result<Node, SqlError> {
        let depth = depth + 1;
        if depth > limits::EXPRESSION_DEPTH_MAX {
            return Err(self.error(start, Cause::TooDeep));
        }
        let end = self.end;
        Ok(Node {
            expression,
            depth,
            start,
            end,
        })
    }
}

fn level(kind: Kind<'_>) -> Option<Level> {
    match kind {
        Kind::Or => Some(Level::Or),
        Kind::And => Some(Level::And),
        Kind::Equal | Kind::NotEqual | Kind::Is => Some(Level::Equality),
        Kind::Greater
        | Kind::GreaterEqual
        | Kind::Less
        | Kind::LessEqual
        | Kind::Not
        | Kind::Contains
        | Kind::StartsWith
        | Kind::EndsWith
        | Kind::Between
        | Kind::In => Some(Level::Comparison),
        _ => None,
    }
}
