//! Words to an expression. What Apache refuses while it parses is refused here, with the place of the word it is about.

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
    /// Parentheses that are open.
    open: usize,
    names: HashMap<&'a str, usize>,
}

/// An expression and how deep it is nested.
struct Node {
    expression: Expression,
    depth: usize,
}

/// The expression, and the properties that the numbers in it stand for.
pub(super) fn parse(source: &str) -> Result<(Expression, HashMap<&str, usize>), SqlError> {
    let mut lexer = Lexer::new(source);
    if source.len() > limits::EXPRESSION_BYTES_MAX {
        return Err(lexer.error(0, Cause::TooLong));
    }
    let token = lexer.next()?;
    let at = token.at;
    let mut parser = Parser {
        lexer,
        token,
        open: 0,
        names: HashMap::new(),
    };
    let whole = parser.binary(Level::Or)?;
    let whole = parser.boolean(whole, at)?;
    Ok((whole.expression, parser.names))
}

impl<'a> Parser<'a> {
    fn error(&self, at: usize, cause: Cause) -> SqlError {
        self.lexer.error(at, cause)
    }

    fn unexpected<T>(&self, wanted: &'static str) -> Result<T, SqlError> {
        let found = match self.token.kind {
            Kind::End => None,
            _ => Some(self.lexer.word(self.token.at)),
        };
        Err(self.error(self.token.at, Cause::Unexpected { found, wanted }))
    }

    /// The current word, which is done with.
    fn take(&mut self) -> Result<Token<'a>, SqlError> {
        let next = self.lexer.next()?;
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
        let at = self.token.at;
        let mut left = self.unary()?;
        let mut highest = Level::Comparison;
        while let Some(level) = level(self.token.kind)
            && lowest <= level
            && level <= highest
        {
            highest = level;
            left = match level {
                Level::Or | Level::And => self.logic(left, at, level)?,
                Level::Equality => self.equality(left)?,
                Level::Comparison => self.comparison(left)?,
            };
        }
        Ok(left)
    }

    /// A whole chain of ORs, or of ANDs.
    fn logic(&mut self, left: Node, at: usize, level: Level) -> Result<Node, SqlError> {
        let (operator, operands) = match level {
            Level::Or => (Kind::Or, Level::And),
            _ => (Kind::And, Level::Equality),
        };
        let left = self.boolean(left, at)?;
        let mut depth = left.depth;
        let mut terms = vec![left.expression];
        while self.token.kind == operator {
            self.take()?;
            let at = self.token.at;
            let right = self.binary(operands)?;
            let right = self.boolean(right, at)?;
            depth = depth.max(right.depth);
            terms.push(right.expression);
        }
        let terms = terms.into_boxed_slice();
        let expression = match level {
            Level::Or => Expression::Any(terms),
            _ => Expression::All(terms),
        };
        self.node(expression, depth)
    }

    fn equality(&mut self, left: Node) -> Result<Node, SqlError> {
        let operator = self.take()?;
        let is_not = |node: Node| Expression::Not(Box::new(node.expression));
        if operator.kind == Kind::Is {
            let not = self.token.kind == Kind::Not;
            if not {
                self.take()?;
            }
            self.expect(Kind::Null, "NULL")?;
            let depth = left.depth;
            let null = Expression::Constant(Value::Null);
            let equal = Expression::Equal(Box::new([left.expression, null]));
            let node = self.node(equal, depth)?;
            return match not {
                true => self.node(is_not(node), depth + 1),
                false => Ok(node),
            };
        }
        let right = self.binary(Level::Comparison)?;
        let depth = left.depth.max(right.depth);
        let (left, right) = (left.expression, right.expression);
        match (left.constant(), right.constant()) {
            (Some(Value::Null), _) | (_, Some(Value::Null)) => {
                return Err(self.error(operator.at, Cause::EqualNull));
            }
            (Some(Value::Bool(_)), Some(constant)) if !matches!(constant, Value::Bool(_)) => {
                return Err(self.error(operator.at, Cause::EqualKinds));
            }
            _ => {}
        }
        let node = self.node(Expression::Equal(Box::new([left, right])), depth)?;
        match operator.kind {
            Kind::NotEqual => self.node(is_not(node), depth + 1),
            _ => Ok(node),
        }
    }

    fn comparison(&mut self, left: Node) -> Result<Node, SqlError> {
        let mut operator = self.take()?;
        let not = operator.kind == Kind::Not;
        if not {
            if !matches!(
                self.token.kind,
                Kind::Contains | Kind::StartsWith | Kind::EndsWith | Kind::Between | Kind::In
            ) {
                return self.unexpected("CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN");
            }
            operator = self.take()?;
        }
        match operator.kind {
            Kind::Contains => self.test(left, TextTest::Contains, not),
            Kind::StartsWith => self.test(left, TextTest::StartsWith, not),
            Kind::EndsWith => self.test(left, TextTest::EndsWith, not),
            Kind::Between => self.between(left, operator.at, not),
            Kind::In => self.listed(left, operator.at, not),
            Kind::Greater => self.order(left, Compared::Greater, operator.at),
            Kind::GreaterEqual => self.order(left, Compared::GreaterEqual, operator.at),
            Kind::Less => self.order(left, Compared::Less, operator.at),
            _ => self.order(left, Compared::LessEqual, operator.at),
        }
    }

    fn order(&mut self, left: Node, wanted: Compared, at: usize) -> Result<Node, SqlError> {
        let right = self.unary()?;
        let depth = left.depth.max(right.depth);
        let operands = Box::new([
            self.ordered(left.expression, at)?,
            self.ordered(right.expression, at)?,
        ]);
        self.node(Expression::Order(wanted, operands), depth)
    }

    fn between(&mut self, value: Node, at: usize, not: bool) -> Result<Node, SqlError> {
        let low = self.unary()?;
        self.expect(Kind::And, "AND")?;
        let high = self.unary()?;
        let depth = value.depth.max(low.depth).max(high.depth);
        let of = Box::new([
            self.ordered(value.expression, at)?,
            self.ordered(low.expression, at)?,
            self.ordered(high.expression, at)?,
        ]);
        if let (Some(low), Some(high)) = (of[1].constant(), of[2].constant())
            && compare(&high, &low).is_ok_and(std::cmp::Ordering::is_lt)
            && !not
        {
            return Err(self.error(at, Cause::BetweenEmpty));
        }
        self.node(Expression::Between { of, not }, depth)
    }

    fn listed(&mut self, left: Node, at: usize, not: bool) -> Result<Node, SqlError> {
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
            return Err(self.error(at, Cause::InOfProperty));
        };
        let texts = texts.into_boxed_slice();
        let expression = Expression::In {
            property,
            texts,
            not,
        };
        self.node(expression, 0)
    }

    fn test(&mut self, left: Node, test: TextTest, not: bool) -> Result<Node, SqlError> {
        let search = self.text()?;
        let expression = Expression::Test {
            test,
            of: Box::new(left.expression),
            search,
            not,
        };
        self.node(expression, left.depth)
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
                    let depth = node.depth;
                    self.node(Expression::Negate(Box::new(node.expression)), depth)?
                }
                Kind::Not => {
                    let node = self.boolean(node, sign.at)?;
                    self.node(Expression::Not(Box::new(node.expression)), node.depth)?
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
                return self.node(Expression::Property(property), 0);
            }
            Kind::Text(_) => Value::Text(self.text()?),
            Kind::Whole(digits) => {
                let digits = digits.trim_end_matches(['l', 'L']);
                let number: i64 = digits
                    .parse()
                    .map_err(|_| self.error(at, Cause::WholeRange))?;
                self.take()?;
                i32::try_from(number).map_or(Value::Long(number), Value::Int)
            }
            Kind::Decimal(digits) => {
                let number = double(digits)
                    .filter(|number| number.is_finite() && *number > 0.0)
                    .ok_or_else(|| self.error(at, Cause::DecimalRange))?;
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
        self.node(Expression::Constant(value), 0)
    }

    fn parenthesis(&mut self) -> Result<Node, SqlError> {
        let at = self.token.at;
        self.open += 1;
        if self.open > limits::EXPRESSION_DEPTH_MAX {
            return Err(self.error(at, Cause::TooDeep));
        }
        self.take()?;
        let node = self.binary(Level::Or)?;
        self.expect(Kind::Close, ")")?;
        self.open -= 1;
        Ok(node)
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
    fn boolean(&self, node: Node, at: usize) -> Result<Node, SqlError> {
        match node.expression {
            Expression::Property(property) => self.node(Expression::Truth(property), 0),
            Expression::Negate(_) => Err(self.error(at, Cause::NotBoolean)),
            Expression::Constant(Value::Bool(_) | Value::Null) => Ok(node),
            Expression::Constant(_) => Err(self.error(at, Cause::NotBoolean)),
            _ => Ok(node),
        }
    }

    /// What can be greater or less: numbers, and properties that may turn out to be numbers.
    fn ordered(&self, operand: Expression, at: usize) -> Result<Expression, SqlError> {
        match &operand {
            Expression::Property(_) | Expression::Negate(_) => Ok(operand),
            Expression::Constant(Value::Int(_) | Value::Long(_) | Value::Double(_)) => Ok(operand),
            _ => Err(self.error(at, Cause::NotOrdered)),
        }
    }

    /// One level above `depth`.
    fn node(&self, expression: Expression, depth: usize) -> Result<Node, SqlError> {
        let depth = depth + 1;
        if depth > limits::EXPRESSION_DEPTH_MAX {
            return Err(self.error(self.token.at, Cause::TooDeep));
        }
        Ok(Node { expression, depth })
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
