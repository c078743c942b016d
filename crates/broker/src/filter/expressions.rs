//! The SQL92 expressions that groups subscribe with by their heartbeats, kept in consumerFilter.json: a group that is gone may come
//! back within a day and goes on with what it had. Rules are those of Apache's `ConsumerFilterManager`.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::bodies::{ConsumerFilter, ConsumerFilters, SubscriptionData};

use super::bloom::Bloom;
use super::compiled::Compiled;
use super::sql92::Sql;
use super::{FilterError, compile, is_tag};
use crate::limits;

#[cfg(test)]
mod tests;

/// A group's expression for a topic.
pub(crate) struct Expression {
    pub(crate) kind: String,
    pub(crate) text: String,
    /// Of the subscription that it came with, ms since the epoch.
    pub(crate) version: i64,
    /// `None` if a file had it and it does not compile: everything is wanted.
    pub(crate) sql: Option<Arc<Sql>>,
    born_ms: i64,
    /// Nobody has used it since; before `born_ms` if it is in use.
    dead_ms: i64,
}

impl Expression {
    fn is_dead(&self) -> bool {
        self.dead_ms >= self.born_ms
    }
}

/// By group and topic.
pub(crate) struct Expressions {
    groups: HashMap<String, HashMap<String, Expression>>,
    bloom: Bloom,
    /// How long the dead are kept (filterDataCleanTimeSpan).
    dead_ms_max: i64,
    /// The first of the dead goes then.
    clean_at_ms: i64,
    bytes: usize,
    /// Changes since the start.
    changes: u64,
}

/// What an expression takes besides its texts, and those of its file.
const EXPRESSION_BYTES: usize = 400;

fn bytes_of(group: &str, topic: &str, kind: &str, text: &str) -> usize {
    EXPRESSION_BYTES + group.len() + topic.len() + kind.len() + text.len()
}

/// The expressions of a heartbeat that are not known yet, compiled: that takes time, and is not done while anybody waits for the rest.
pub(crate) struct News<'a>(Vec<(&'a SubscriptionData, Option<Arc<Sql>>)>);

impl Expressions {
    pub(crate) fn new(bloom: Bloom, dead_ms_max: i64) -> Expressions {
        Expressions {
            groups: HashMap::new(),
            bloom,
            dead_ms_max,
            clean_at_ms: i64::MAX,
            bytes: 0,
            changes: 0,
        }
    }

    /// Takes over the file. Whoever used an expression is gone now.
    pub(crate) fn load(&mut self, file: ConsumerFilters, compiled: &Compiled, now_ms: i64) {
        /// Apache takes a start to be that long after the end.
        const STOPPED_MS: i64 = 30_000;
        let by_topic = file.filter_data_by_topic.into_iter();
        let filters = by_topic.flat_map(|(topic, filters)| {
            let by_group = filters.group_filter_data.into_iter();
            by_group.map(move |(group, filter)| (topic.clone(), group, filter))
        });
        let mut left_out = 0;
        for (topic, group, filter) in filters {
            let sql = compile(compiled, &filter.expression_type, &filter.expression);
            if let Err(error) = &sql {
                tracing::warn!(group, topic, %error, "consumerFilter.json has an expression that is wrong: it filters nothing");
            }
            let dead_ms = match filter.dead_time {
                0 => filter.born_time.max(now_ms - STOPPED_MS),
                dead_ms => dead_ms,
            };
            let expression = Expression {
                kind: filter.expression_type,
                text: filter.expression,
                version: filter.client_version,
                sql: sql.ok(),
                born_ms: filter.born_time,
                dead_ms,
            };
            self.dies(expression.dead_ms);
            left_out += usize::from(!self.put(&group, &topic, expression));
        }
        if left_out > 0 {
            tracing::error!(
                left_out,
                "no room for all expressions of consumerFilter.json"
            );
        }
    }

    pub(crate) fn find(&self, group: &str, topic: &str) -> Option<&Expression> {
        self.groups.get(group)?.get(topic)
    }

    /// What is new in a group's subscriptions, to be compiled without holding the lock; `None` if there is nothing to register.
    pub(crate) fn unknown<'a>(
        &self,
        group: &str,
        subscriptions: &'a [SubscriptionData],
    ) -> Option<Vec<&'a SubscriptionData>> {
        let known = self.groups.get(group);
        let of_expressions = || subscriptions.iter().filter(|data| has_expression(data));
        if known.is_none() && of_expressions().next().is_none() {
            return None;
        }
        let is_new = |data: &&SubscriptionData| {
            let known = known.and_then(|topics| topics.get(&data.topic));
            known.is_none_or(|known| data.sub_version > known.version && !is_same(known, data))
        };
        Some(of_expressions().filter(is_new).collect())
    }

    /// Takes over the subscriptions of a heartbeat: newer ones replace older ones, and what is not subscribed to any more dies.
    /// Returns false if there was no room for all.
    pub(crate) fn register(
        &mut self,
        group: &str,
        subscriptions: &[SubscriptionData],
        news: &News<'_>,
        now_ms: i64,
    ) -> bool {
        let mut had_room = true;
        for data in subscriptions.iter().filter(|data| has_expression(data)) {
            had_room &= self.register_one(group, data, news, now_ms);
        }
        let Some(topics) = self.groups.get_mut(group) else {
            return had_room;
        };
        let gone = topics.iter_mut().filter(|(topic, expression)| {
            !expression.is_dead() && subscriptions.iter().all(|data| data.topic != **topic)
        });
        let mut died = false;
        for (topic, expression) in gone {
            tracing::info!(group, topic, "an expression is not used any more");
            expression.dead_ms = now_ms;
            died = true;
        }
        if died {
            self.changes += 1;
            self.dies(now_ms);
        }
        had_room
    }

    /// Returns false if there was no room.
    fn register_one(
        &mut self,
        group: &str,
        data: &SubscriptionData,
        news: &News<'_>,
        now_ms: i64,
    ) -> bool {
        let topics = self.groups.get_mut(group);
        let known = topics.and_then(|topics| topics.get_mut(&data.topic));
        if let Some(known) = known {
            if data.sub_version < known.version {
                return true;
            }
            if data.sub_version == known.version || is_same(known, data) {
                if known.version != data.sub_version || known.is_dead() {
                    known.version = data.sub_version;
                    known.dead_ms = 0;
                    self.changes += 1;
                }
                return true;
            }
        }
        // One that was known a moment ago is registered with the next heartbeat.
        let Some((_, sql)) = news.0.iter().find(|(new, _)| std::ptr::eq(*new, data)) else {
            return true;
        };
        match sql.clone() {
            Some(sql) => {
                let (topic, expression) = (&data.topic, &data.sub_string);
                tracing::info!(group, topic, expression, "a group filters by an expression");
                let expression = Expression {
                    kind: data.expression_type.clone(),
                    text: expression.clone(),
                    version: data.sub_version,
                    sql: Some(sql),
                    born_ms: now_ms,
                    dead_ms: 0,
                };
                self.changes += 1;
                self.put(group, topic, expression)
            }
            // The old one goes: pulls are refused, which is how the client learns of it.
            None => {
                self.changes += u64::from(self.remove(group, &data.topic));
                true
            }
        }
    }

    /// The group's last member is gone.
    pub(crate) fn unregister(&mut self, group: &str, now_ms: i64) {
        let topics = self.groups.get_mut(group).into_iter().flatten();
        let mut died = false;
        for (_, expression) in topics.filter(|(_, expression)| !expression.is_dead()) {
            expression.dead_ms = now_ms;
            died = true;
        }
        if died {
            self.changes += 1;
            self.dies(now_ms);
        }
    }

    fn dies(&mut self, dead_ms: i64) {
        let clean_at_ms = dead_ms.saturating_add(self.dead_ms_max);
        self.clean_at_ms = self.clean_at_ms.min(clean_at_ms);
    }

    /// Forgets what has been dead for long enough.
    pub(crate) fn clean(&mut self, now_ms: i64) {
        if now_ms < self.clean_at_ms {
            return;
        }
        let dead_ms_max = self.dead_ms_max;
        self.clean_at_ms = i64::MAX;
        let kept = |expression: &Expression| now_ms - expression.dead_ms < dead_ms_max;
        for dead_ms in self.retain(kept) {
            self.dies(dead_ms);
        }
    }

    /// Forgets the dead that are not `kept`; returns when the others died.
    fn retain(&mut self, kept: impl Fn(&Expression) -> bool) -> Vec<i64> {
        let mut left = Vec::new();
        let mut bytes = 0;
        let mut forgotten = 0;
        self.groups.retain(|group, topics| {
            topics.retain(|topic, expression| {
                if expression.is_dead() && !kept(expression) {
                    forgotten += 1;
                    return false;
                }
                if expression.is_dead() {
                    left.push(expression.dead_ms);
                }
                bytes += bytes_of(group, topic, &expression.kind, &expression.text);
                true
            });
            !topics.is_empty()
        });
        self.bytes = bytes;
        self.changes += forgotten;
        left
    }

    /// Keeps an expression if there is room, the dead making some; returns whether there was.
    fn put(&mut self, group: &str, topic: &str, expression: Expression) -> bool {
        self.remove(group, topic);
        let bytes = bytes_of(group, topic, &expression.kind, &expression.text);
        if self.bytes + bytes > limits::EXPRESSIONS_BYTES_MAX {
            self.retain(|_| false);
        }
        if self.bytes + bytes > limits::EXPRESSIONS_BYTES_MAX {
            return false;
        }
        self.bytes += bytes;
        let topics = self.groups.entry(group.to_owned()).or_default();
        topics.insert(topic.to_owned(), expression);
        true
    }

    /// Whether it was there.
    fn remove(&mut self, group: &str, topic: &str) -> bool {
        let Some(topics) = self.groups.get_mut(group) else {
            return false;
        };
        let removed = topics.remove(topic);
        if topics.is_empty() {
            self.groups.remove(group);
        }
        if let Some(removed) = &removed {
            self.bytes -= bytes_of(group, topic, &removed.kind, &removed.text);
        }
        removed.is_some()
    }

    /// Changes since the start.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// What consumerFilter.json holds.
    pub(crate) fn to_table(&self) -> ConsumerFilters {
        let mut table = ConsumerFilters::default();
        for (group, topics) in &self.groups {
            for (topic, expression) in topics {
                let filters = table.filter_data_by_topic.entry(topic.clone()).or_default();
                filters.topic.clone_from(topic);
                let filter = ConsumerFilter {
                    bloom_filter_data: Some(self.bloom.of(group, topic)),
                    born_time: expression.born_ms,
                    client_version: expression.version,
                    consumer_group: group.clone(),
                    dead: expression.is_dead(),
                    dead_time: expression.dead_ms,
                    expression: expression.text.clone(),
                    expression_type: expression.kind.clone(),
                    topic: topic.clone(),
                };
                filters.group_filter_data.insert(group.clone(), filter);
            }
        }
        table
    }
}

impl<'a> News<'a> {
    /// Compiles them; what is wrong goes to `report`.
    pub(crate) fn compile(
        unknown: Vec<&'a SubscriptionData>,
        compiled: &Compiled,
        mut report: impl FnMut(&SubscriptionData, FilterError),
    ) -> News<'a> {
        let compile = |data: &'a SubscriptionData| {
            let sql = compile(compiled, &data.expression_type, &data.sub_string);
            (data, sql.map_err(|error| report(data, error)).ok())
        };
        News(unknown.into_iter().map(compile).collect())
    }
}

fn has_expression(data: &SubscriptionData) -> bool {
    !is_tag(&data.expression_type) && !data.sub_string.is_empty()
}

fn is_same(known: &Expression, data: &SubscriptionData) -> bool {
    known.kind == data.expression_type && known.text == data.sub_string
}
