//! What it costs to ask whether a consumer wants a message, and to understand what it said it wants.
#![expect(clippy::expect_used, reason = "a bench")]

use broker::Sql;
use divan::{Bencher, black_box};
use protocol::properties;
use protocol::tags::{TagFilter, tags_code};

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

const SUBSCRIPTIONS: [&str; 3] = ["*", "TagA", "TagA || TagB || TagC || TagD"];
const EXPRESSIONS: [&str; 3] = [
    "price > 100",
    "region = 'EU' AND price BETWEEN 10 AND 100",
    "(region IN ('EU', 'US') OR vip = TRUE) AND price >= 99.5 AND note IS NOT NULL",
];

fn main() {
    divan::main();
}

/// A message by the tags code of its queue entry.
#[divan::bench(args = SUBSCRIPTIONS)]
fn tags(bencher: Bencher<'_, '_>, subscription: &str) {
    let filter = TagFilter::parse(subscription).expect("a subscription");
    let code = tags_code("TagB");
    bencher.bench_local(|| filter.matches(black_box(code)));
}

#[divan::bench(args = SUBSCRIPTIONS)]
fn tags_parse(subscription: &str) -> TagFilter {
    TagFilter::parse(black_box(subscription)).expect("a subscription")
}

/// A message by its properties.
#[divan::bench(args = EXPRESSIONS)]
fn sql92(bencher: Bencher<'_, '_>, expression: &str) {
    let sql = Sql::compile(expression).expect("an expression");
    let mut stored = Vec::new();
    for (name, value) in [
        ("UNIQ_KEY", "7F00000153C05E4B2D8A5C1D0A9B3F7E"),
        ("WAIT", "true"),
        ("TAGS", "TagA"),
        ("region", "EU"),
        ("price", "99.5"),
        ("note", "fragile"),
    ] {
        properties::append(&mut stored, name, value);
    }
    bencher.bench_local(|| sql.matches(black_box(&stored)));
}

/// Once for each expression: what is compiled is kept.
#[divan::bench(args = EXPRESSIONS)]
fn sql92_compile(expression: &str) -> Sql {
    Sql::compile(black_box(expression)).expect("an expression")
}
