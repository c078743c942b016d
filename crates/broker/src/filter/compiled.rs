//! Expressions compiled lately, for requests that carry theirs: each pull of a lite pull consumer does.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::sql92::{Sql, SqlError};
use crate::limits;

/// Those used since the last turn, and those used before it, which go at the next one.
#[derive(Default)]
pub(crate) struct Compiled {
    generations: Mutex<[Generation; 2]>,
}

#[derive(Default)]
struct Generation {
    by_source: HashMap<Box<str>, Arc<Sql>>,
    bytes: usize,
}

impl Compiled {
    /// Compiles an expression, or finds it.
    pub(crate) fn compile(&self, source: &str) -> Result<Arc<Sql>, SqlError> {
        {
            let mut generations = self.generations.lock();
            let [new, old] = &mut *generations;
            if let Some(known) = new.by_source.get(source) {
                return Ok(known.clone());
            }
            if let Some(known) = old.by_source.get(source).cloned() {
                keep(&mut generations, source, known.clone());
                return Ok(known);
            }
        }
        let compiled = Arc::new(Sql::compile(source)?);
        keep(&mut self.generations.lock(), source, compiled.clone());
        Ok(compiled)
    }
}

fn keep(generations: &mut [Generation; 2], source: &str, compiled: Arc<Sql>) {
    let [new, old] = generations;
    if new.bytes + source.len() > limits::COMPILED_BYTES_MAX
        || new.by_source.len() >= limits::COMPILED_MAX
    {
        *old = std::mem::take(new);
    }
    if new.by_source.insert(source.into(), compiled).is_none() {
        new.bytes += source.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_compiled_and_the_rest_goes() {
        let compiled = Compiled::default();
        let first = compiled.compile("a = 1").unwrap();
        let mut count = 0;
        for number in 0..3 * limits::COMPILED_MAX {
            compiled.compile(&format!("b = {number}")).unwrap();
            assert!(Arc::ptr_eq(&compiled.compile("a = 1").unwrap(), &first));
            let generations = compiled.generations.lock();
            count = generations
                .iter()
                .map(|generation| generation.by_source.len())
                .sum();
        }
        assert!(count <= 2 * limits::COMPILED_MAX, "{count}");
        assert!(compiled.compile("a >").is_err());
    }

    #[test]
    fn long_expressions_take_the_room_of_many() {
        let compiled = Compiled::default();
        let text = "x".repeat(limits::EXPRESSION_BYTES_MAX - 100);
        for number in 0..200 {
            compiled.compile(&format!("a = '{number}{text}'")).unwrap();
        }
        let generations = compiled.generations.lock();
        let bytes: usize = generations.iter().map(|generation| generation.bytes).sum();
        assert!(bytes <= 2 * limits::COMPILED_BYTES_MAX, "{bytes}");
    }
}
