//! What the reviver can't do right now, so that the log says when it begins and when it is over, and not each time.

use std::collections::HashMap;

use super::{AGAIN_MS, ReviveError};

/// What may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Task {
    /// Reading the revive topic.
    Follow,
    /// Putting old check points again into this queue of it.
    PutAgain(i32),
    /// Bringing back messages.
    Revive,
}

/// What fails, and when it last did.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<Task, i64>);

impl Failures {
    /// How a task ended: logged if it is the first that fails. One that fails for some check points works again when none of
    /// them failed for as long as they are tried again after.
    pub(super) fn note(&mut self, task: Task, done: Result<(), &ReviveError>, now_ms: i64) {
        match done {
            Err(error) => {
                if self.0.is_empty() {
                    tracing::error!(%error, "popped messages can't come back; will keep trying");
                }
                self.0.insert(task, now_ms);
            }
            Ok(()) => {
                let is_over = |failed_ms: &i64| now_ms.saturating_sub(*failed_ms) > 2 * AGAIN_MS;
                if self.0.get(&task).is_some_and(is_over) {
                    self.0.remove(&task);
                    if self.0.is_empty() {
                        tracing::info!("popped messages come back again");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AGAIN_MS, Failures, ReviveError, Task};

    #[test]
    fn one_that_works_does_not_end_the_failure_of_another() {
        let mut failures = Failures::default();
        failures.note(Task::Revive, Err(&ReviveError::Unsaved), 0);
        failures.note(Task::Revive, Ok(()), AGAIN_MS);
        failures.note(Task::Follow, Ok(()), 10 * AGAIN_MS);
        assert_eq!(failures.0.len(), 1);
        failures.note(Task::Revive, Ok(()), 10 * AGAIN_MS);
        assert!(failures.0.is_empty());
    }
}
