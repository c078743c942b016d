//! An expression's value for a message, in SQL's logic of true, false and unknown, with Java's conversions between numbers and texts.

use std::cmp::Ordering;

use super::number::double;

pub(super) enum Expression {
    Constant(Value<Box<str>>),
    /// By its number in the expression.
    Property(usize),
    /// A property where a boolean belongs: unknown if the message does not have it, or else false.
    Truth(usize),
    Negate(Box<Expression>),
    Not(Box<Expression>),
    All(Box<[Expression]>),
    Any(Box<[Expression]>),
    Equal(Box<[Expression; 2]>),
    Order(Compared, Box<[Expression; 2]>),
    /// A value and its bounds.
    Between {
        of: Box<[Expression; 3]>,
        not: bool,
    },
    /// Texts in order.
    In {
        property: usize,
        texts: Box<[Box<str>]>,
        not: bool,
    },
    Test {
        test: TextTest,
        of: Box<Expression>,
        search: Box<str>,
        not: bool,
    },
}

/// `>`, `>=`, `<`, `<=`.
#[derive(Clone, Copy)]
pub(super) enum Compared {
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
}

#[derive(Clone, Copy)]
pub(super) enum TextTest {
    Contains,
    StartsWith,
    EndsWith,
}

/// Unknown, or a value. Whole numbers that fit are `Int`: a text they are compared with must fit too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<T> {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(T),
}

/// Where Apache throws, and leaves the message out: values that can't be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Incomparable;

type Evaluated<'a> = Result<Value<&'a str>, Incomparable>;

/// True, false, or unknown.
type Truth = Result<Option<bool>, Incomparable>;

impl Expression {
    /// The value of a constant.
    pub(super) fn constant(&self) -> Option<Value<&str>> {
        match self {
            Expression::Constant(value) => Some(value.borrowed()),
            _ => None,
        }
    }

    /// `properties` has one place for each number.
    pub(super) fn truth<'a>(&'a self, properties: &[Option<&'a str>]) -> Truth {
        match self {
            Expression::Truth(property) => Ok(properties[*property].map(|_| false)),
            Expression::Not(of) => Ok(of.truth(properties)?.map(|truth| !truth)),
            Expression::All(terms) => first(terms, properties, false),
            Expression::Any(terms) => first(terms, properties, true),
            Expression::Equal(of) => {
                let [left, right] = &**of;
                equal(&left.value(properties)?, &right.value(properties)?)
            }
            Expression::Order(wanted, of) => {
                let [left, right] = &**of;
                let left = left.value(properties)?;
                ordered(&left, *wanted, right, properties)
            }
            Expression::Between { of, not: false } => {
                let [value, low, high] = &**of;
                let value = value.value(properties)?;
                let above = ordered(&value, Compared::GreaterEqual, low, properties)?;
                if above == Some(false) {
                    return Ok(above);
                }
                let below = ordered(&value, Compared::LessEqual, high, properties)?;
                Ok(match (above, below) {
                    (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                })
            }
            Expression::Between { of, not: true } => {
                let [value, low, high] = &**of;
                let value = value.value(properties)?;
                let below = ordered(&value, Compared::Less, low, properties)?;
                if below == Some(true) {
                    return Ok(below);
                }
                let above = ordered(&value, Compared::Greater, high, properties)?;
                Ok(match (below, above) {
                    (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                })
            }
            Expression::In {
                property,
                texts,
                not,
            } => Ok(properties[*property].map(|value| {
                let listed = texts.binary_search_by(|text| (**text).cmp(value));
                listed.is_ok() != *not
            })),
            Expression::Test {
                test,
                of,
                search,
                not,
            } => {
                let search = &**search;
                if search.is_empty() {
                    return Ok(Some(false));
                }
                let Value::Text(text) = of.value(properties)? else {
                    return Ok(Some(false));
                };
                let found = match test {
                    TextTest::Contains => text.contains(search),
                    TextTest::StartsWith => text.starts_with(search),
                    TextTest::EndsWith => text.ends_with(search),
                };
                Ok(Some(found != *not))
            }
            // What is left is no boolean, but for constants.
            Expression::Constant(Value::Bool(truth)) => Ok(Some(*truth)),
            Expression::Constant(_) | Expression::Property(_) | Expression::Negate(_) => Ok(None),
        }
    }

    fn value<'a>(&'a self, properties: &[Option<&'a str>]) -> Evaluated<'a> {
        match self {
            Expression::Constant(value) => Ok(value.borrowed()),
            Expression::Property(property) => Ok(match properties[*property] {
                Some(text) => Value::Text(text),
                None => Value::Null,
            }),
            Expression::Negate(of) => Ok(match of.value(properties)? {
                Value::Int(number) => Value::Int(number.wrapping_neg()),
                Value::Long(number) => Value::Long(number.wrapping_neg()),
                Value::Double(number) => Value::Double(-number),
                _ => Value::Null,
            }),
            boolean => Ok(boolean.truth(properties)?.map_or(Value::Null, Value::Bool)),
        }
    }
}

impl Value<Box<str>> {
    fn borrowed(&self) -> Value<&str> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(truth) => Value::Bool(*truth),
            Value::Int(number) => Value::Int(*number),
            Value::Long(number) => Value::Long(*number),
            Value::Double(number) => Value::Double(*number),
            Value::Text(text) => Value::Text(text),
        }
    }
}

/// AND and OR: the terms from the left until one decides.
fn first<'a>(terms: &'a [Expression], properties: &[Option<&'a str>], decides: bool) -> Truth {
    let mut known = true;
    for term in terms {
        match term.truth(properties)? {
            Some(truth) if truth == decides => return Ok(Some(decides)),
            Some(_) => {}
            None => known = false,
        }
    }
    Ok(known.then_some(!decides))
}

/// Two unknowns are equal, and something is not equal to what is unknown on its right: so IS NULL can be an equality.
fn equal(left: &Value<&str>, right: &Value<&str>) -> Truth {
    match (left, right) {
        (Value::Null, Value::Null) => Ok(Some(true)),
        (Value::Null, _) => Ok(None),
        (_, Value::Null) => Ok(Some(false)),
        (left, right) => Ok(Some(compare(left, right)?.is_eq())),
    }
}

fn ordered<'a>(
    left: &Value<&str>,
    wanted: Compared,
    right: &'a Expression,
    properties: &[Option<&'a str>],
) -> Truth {
    if *left == Value::Null {
        return Ok(None);
    }
    let right = right.value(properties)?;
    let order = match (left, &right) {
        (_, Value::Null) => return Ok(None),
        (Value::Text(left), Value::Text(right)) => {
            let left = double(left).ok_or(Incomparable)?;
            compare_doubles(left, double(right).ok_or(Incomparable)?)
        }
        (left, right) => compare(left, right)?,
    };
    Ok(Some(match wanted {
        Compared::Greater => order.is_gt(),
        Compared::GreaterEqual => order.is_ge(),
        Compared::Less => order.is_lt(),
        Compared::LessEqual => order.is_le(),
    }))
}

/// A text becomes what the other value is, if it can. A boolean is less than what is none, and the other way round.
pub(super) fn compare(left: &Value<&str>, right: &Value<&str>) -> Result<Ordering, Incomparable> {
    use Value::{Bool, Double, Int, Long, Null, Text};
    let int = |text: &str| text.parse::<i32>().map_err(|_| Incomparable);
    let long = |text: &str| text.parse::<i64>().map_err(|_| Incomparable);
    let double = |text: &str| double(text).ok_or(Incomparable);
    let truth = |text: &str| text.eq_ignore_ascii_case("true");
    Ok(match (*left, *right) {
        (Bool(left), Bool(right)) => left.cmp(&right),
        (Bool(_), Text(_)) => return Err(Incomparable),
        (Text(left), Bool(right)) => truth(left).cmp(&right),

        (Int(left), Int(right)) => left.cmp(&right),
        (Int(left), Long(right)) => i64::from(left).cmp(&right),
        (Int(left), Double(right)) => compare_doubles(f64::from(left), right),
        (Int(left), Text(right)) => left.cmp(&int(right)?),

        (Long(left), Int(right)) => left.cmp(&i64::from(right)),
        (Long(left), Long(right)) => left.cmp(&right),
        (Long(left), Double(right)) => compare_doubles(left as f64, right),
        (Long(left), Text(right)) => left.cmp(&long(right)?),

        (Double(left), Int(right)) => compare_doubles(left, f64::from(right)),
        (Double(left), Long(right)) => compare_doubles(left, right as f64),
        (Double(left), Double(right)) => compare_doubles(left, right),
        (Double(left), Text(right)) => compare_doubles(left, double(right)?),

        (Text(left), Int(right)) => int(left)?.cmp(&right),
        (Text(left), Long(right)) => long(left)?.cmp(&right),
        (Text(left), Double(right)) => compare_doubles(double(left)?, right),
        (Text(left), Text(right)) => left.cmp(right),

        (Bool(_), _) | (_, Bool(_)) | (Null, _) | (_, Null) => Ordering::Less,
    })
}

/// `Double.compareTo`: no number is greater than NaN, and 0.0 is greater than -0.0.
fn compare_doubles(left: f64, right: f64) -> Ordering {
    left.total_cmp(&right)
}
