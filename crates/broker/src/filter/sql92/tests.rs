//! What expressions mean, and what is refused, as Apache's parser and evaluator have it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::fastjson;

use super::*;
use crate::limits;

/// The stored form.
fn properties(of: &[(&str, &str)]) -> Vec<u8> {
    let pairs = of
        .iter()
        .map(|(name, value)| format!("{name}\u{1}{value}\u{2}"));
    pairs.collect::<String>().into_bytes()
}

fn matches(expression: &str, of: &[(&str, &str)]) -> bool {
    Sql::compile(expression)
        .unwrap_or_else(|error| panic!("{expression}: {error}"))
        .matches(&properties(of))
}

fn error(expression: &str) -> String {
    match Sql::compile(expression) {
        Ok(_) => panic!("{expression} compiles"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_expression_is_what_apache_makes_of_it() {
    let golden = include_str!("golden.txt");
    let messages: Vec<BTreeMap<String, String>> = golden
        .lines()
        .take_while(|line| line.starts_with('{'))
        .map(|line| fastjson::from_slice(line.as_bytes()).unwrap())
        .collect();
    let mut pairs = 0;
    for line in golden.lines().skip(messages.len()) {
        let pair: Vec<String> = fastjson::from_slice(line.as_bytes()).unwrap();
        let [expression, expected] = &pair[..] else {
            panic!("{line}");
        };
        let found = match Sql::compile(expression) {
            Err(_) => "!".to_owned(),
            Ok(sql) => messages
                .iter()
                .map(|message| letter(&sql, message))
                .collect(),
        };
        assert_eq!(found, *expected, "{expression}");
        pairs += expected.len();
    }
    assert!(pairs > 30_000, "{pairs}");
}

fn letter(sql: &Sql, message: &BTreeMap<String, String>) -> char {
    let pairs: Vec<(&str, &str)> = message
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let stored = properties(&pairs);
    let mut values = vec![None; sql.names.len()];
    for (name, number) in &sql.names {
        values[*number] = message.get(&**name).map(String::as_str);
    }
    let truth = sql.expression.truth(&values);
    assert_eq!(sql.matches(&stored), truth == Ok(Some(true)));
    match truth {
        Ok(Some(true)) => 'T',
        Ok(Some(false)) => 'F',
        Ok(None) => 'N',
        Err(_) => 'X',
    }
}

#[test]
fn errors_name_the_place() {
    for (expression, expected) in [
        (
            "",
            "Encountered the end at line 1, column 1. Was expecting a property or a value",
        ),
        (
            "a = 1 AND",
            "Encountered the end at line 1, column 9. Was expecting a property or a value",
        ),
        (
            "a = 1 AND\n b >> 2",
            "Encountered \">\" at line 2, column 5. Was expecting a property or a value",
        ),
        (
            "a IN (1)",
            "Encountered \"1\" at line 1, column 7. Was expecting a text in single quotes",
        ),
        (
            "a NOT LIKE 'x'",
            "Encountered \"NOT\" at line 1, column 3. Was expecting CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN behind it",
        ),
        (
            "(a = 1",
            "Encountered the end at line 1, column 6. Was expecting )",
        ),
        (
            "é = 1",
            "Lexical error at line 1, column 1. Encountered: 'é'",
        ),
        (
            "a = '世' AND !",
            "Lexical error at line 1, column 13. Encountered: '!'",
        ),
        (
            "a = 'x",
            "Lexical error at line 1, column 7. The text from column 5 on has no end",
        ),
        (
            "a = 1 /* *",
            "Lexical error at line 1, column 11. The comment from column 7 on has no end",
        ),
        (
            "a > 'x'",
            "Value ''x'' cannot be compared. (line 1, column 5)",
        ),
        (
            "(a = 1) > b",
            "Value '(a = 1)' cannot be compared. (line 1, column 1)",
        ),
        (
            "a BETWEEN 5 AND 2",
            "Illegal values of between, left value(5) must less than or equal to right value(2) (line 1, column 11)",
        ),
        (
            "a BETWEEN 5 AND null",
            "Illegal values of between, values can not be null! (line 1, column 11)",
        ),
        ("a = 0.0", "0.0 is less than 4.9E-324 (line 1, column 5)"),
        (
            "a = 1E999",
            "1E999 is greater than 1.7976931348623157E308 (line 1, column 5)",
        ),
        (
            "a = 9223372036854775808L",
            "For input string: \"9223372036854775808\", which is greater than 9223372036854775807 (line 1, column 5)",
        ),
        (
            "a = NULL",
            "Value 'NULL' cannot be compared. (line 1, column 5)",
        ),
        (
            "TRUE = 1",
            "'TRUE' cannot be compared with '1' (line 1, column 1)",
        ),
        (
            "5 IN ('5')",
            "Expected a property for In expression, got: 5 (line 1, column 1)",
        ),
        (
            "b = 1 OR - 5",
            "Expression will not result in a boolean value: - 5 (line 1, column 10)",
        ),
    ] {
        assert_eq!(error(expression), expected, "{expression}");
    }
    // A word may be as long as the expression; the message is not.
    let long = format!("a IN ('x' '{}')", "y".repeat(1_000));
    assert!(error(&long).len() < 150);
}

#[test]
fn more_properties_than_fit_the_stack() {
    let names: Vec<String> = (0..40).map(|number| format!("p{number}")).collect();
    let terms: Vec<String> = names
        .iter()
        .map(|name| format!("{name} = '{name}'"))
        .collect();
    let mut pairs: Vec<(&str, &str)> = names.iter().map(|name| (&**name, &**name)).collect();
    assert!(matches(&terms.join(" AND "), &pairs));
    pairs.pop();
    assert!(!matches(&terms.join(" AND "), &pairs));
    assert!(matches(&terms.join(" OR "), &pairs));
}

#[test]
fn the_last_of_two_values_counts() {
    assert!(matches("a = 'y'", &[("a", "x"), ("a", "y")]));
}

/// Everything that can nest, up to the limit and far beyond, on a stack as small as a thread's of the runtime.
#[test]
fn depth_is_bounded() {
    let max = limits::EXPRESSION_DEPTH_MAX;
    for (open, inner, close) in [
        ("(", "a = 1", ")"),
        ("a = 1 OR b = 1 AND c = (", "a = 1", ")"),
        ("NOT ", "TRUE", ""),
        ("NOT (", "TRUE", ")"),
        ("- ", "a", " = 1"),
        ("-(", "TRUE", ") BETWEEN 1 AND 2"),
        ("", "a", " = 1"),
        ("", "a", " IS NULL"),
        ("", "a", " IS NOT NULL"),
        ("", "a", " CONTAINS 'x'"),
        ("", "a", " NOT ENDSWITH 'x'"),
    ] {
        let nested = |count: usize| format!("{}{inner}{}", open.repeat(count), close.repeat(count));
        let most = Sql::compile(&nested(max / 3 - 2));
        most.unwrap_or_else(|error| panic!("{open}{inner}{close}: {error}"))
            .matches(b"a\x011\x02");
        let deep = limits::EXPRESSION_BYTES_MAX / (open.len() + close.len()) - 10;
        assert!(
            error(&nested(deep)).contains("nested more than"),
            "{open}{inner}{close}"
        );
    }
    // Chains do not nest.
    for chain in ["a = 1 OR ", "a = 1 AND ", "+"] {
        let long = format!("{}a = 1", chain.repeat(10_000));
        assert!(matches(&long, &[("a", "1")]), "{chain}");
    }
}

#[test]
fn length_is_bounded() {
    let long = format!("a = '{}'", "x".repeat(limits::EXPRESSION_BYTES_MAX));
    assert!(error(&long).contains("more than"));
}

/// What nests BETWEEN takes Apache twice the time for each level.
#[test]
fn operands_are_evaluated_once() {
    let depth = 45;
    let nested = format!(
        "{}a{} IS NULL",
        "-(".repeat(depth),
        " BETWEEN 1 AND 2)".repeat(depth)
    );
    assert!(matches(&nested, &[("a", "1")]));
}

/// Words of the language, put together without sense.
fn soup() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "a",
        "b",
        "NOT",
        "AND",
        "OR",
        "BETWEEN",
        "IN",
        "IS",
        "NULL",
        "TRUE",
        "FALSE",
        "CONTAINS",
        "STARTSWITH",
        "ENDSWITH",
        "=",
        "<>",
        ">",
        ">=",
        "<",
        "<=",
        "(",
        ")",
        ",",
        "+",
        "-",
        "--",
        "/*",
        "*/",
        "'",
        "'x'",
        "1",
        "1.5",
        "1e9",
        ".",
        "0",
        "\n",
        "é",
    ]);
    prop::collection::vec(word, 0..40).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(source in ".{0,200}", stored in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(sql) = Sql::compile(&source) {
            sql.matches(&stored);
        }
    }

    #[test]
    fn no_words_make_it_panic(source in soup(), stored in "[ab\u{1}\u{2}0-9.]{0,40}") {
        match Sql::compile(&source) {
            Ok(sql) => drop(sql.matches(stored.as_bytes())),
            Err(error) => prop_assert!(error.to_string().contains("line ")),
        }
    }

    #[test]
    fn doubles_are_read_as_written(number in any::<f64>()) {
        prop_assert_eq!(number::double(&number.to_string().replace("inf", "Infinity")).map(f64::to_bits), Some(number.to_bits()).map(|bits| if number.is_nan() { f64::NAN.to_bits() } else { bits }));
    }
}
