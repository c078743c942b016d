//! Turns of connections that keep more coming than one turn takes. They stand in line, and only a few are at work at a
//! time: so whoever asks little never waits behind more than these few, however many the others are.

use std::collections::VecDeque;
use std::task::Waker;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::peer::wake;

#[cfg(test)]
mod tests;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// It asks little.
    #[default]
    None,
    InLine,
    /// It has one of the turns.
    AtWork,
}

/// The line.
#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Turns that nobody has.
    free: usize,
    line: VecDeque<u64>,
    /// The tasks of those in line; who left is only missing here.
    tasks: FxHashMap<u64, Waker>,
    /// Called out of the line, and not there yet.
    called: Vec<u64>,
}

impl Turns {
    /// So many at a time.
    pub(crate) fn new(count: usize) -> Turns {
        Turns {
            state: Mutex::new(State {
                free: count,
                line: VecDeque::new(),
                tasks: FxHashMap::default(),
                called: Vec::new(),
            }),
        }
    }

    /// Ends the turn, if there is one, and goes to the end of the line; `task` is woken when the next turn has come, at the
    /// earliest when it has been asleep.
    pub(crate) fn queue_up(&self, id: u64, place: &mut Place, task: &Waker) {
        let mut state = self.state.lock();
        if *place == Place::AtWork {
            state.free += 1;
        }
        if *place != Place::InLine {
            state.line.push_back(id);
        }
        *place = Place::InLine;
        state.tasks.insert(id, task.clone());
        let called = state.call();
        drop(state);
        wake(called);
    }

    /// Whether the turn of one in line has come; it is at work then.
    pub(crate) fn has_come(&self, id: u64, place: &mut Place) -> bool {
        let mut state = self.state.lock();
        let Some(at) = state.called.iter().position(|called| *called == id) else {
            return false;
        };
        state.called.swap_remove(at);
        *place = Place::AtWork;
        true
    }

    /// Gives up the turn, or the place in line.
    pub(crate) fn leave(&self, id: u64, place: &mut Place) {
        if *place == Place::None {
            return;
        }
        let mut state = self.state.lock();
        state.tasks.remove(&id);
        let at = state.called.iter().position(|called| *called == id);
        if let Some(at) = at {
            state.called.swap_remove(at);
        }
        if at.is_some() || *place == Place::AtWork {
            state.free += 1;
        }
        *place = Place::None;
        let called = state.call();
        drop(state);
        wake(called);
    }
}

impl State {
    /// Gives a free turn to the first in line. At most one is ever free while somebody waits.
    fn call(&mut self) -> Option<Waker> {
        while self.free > 0 {
            let id = self.line.pop_front()?;
            if let Some(task) = self.tasks.remove(&id) {
                self.free -= 1;
                self.called.push(id);
                return Some(task);
            }
        }
        None
    }
}
