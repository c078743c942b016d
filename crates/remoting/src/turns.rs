//! Turns of connections that keep more coming than one turn takes. They stand in line, and only a few are at work at a
//! time: so whoever asks little never waits behind more than these few, however many the others are.

use std::collections::BTreeMap;
use std::task::Waker;

use parking_lot::Mutex;

use crate::peer::wake;

#[cfg(test)]
mod tests;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// It asks little.
    #[default]
    None,
    /// With this number, which nobody had before.
    InLine(u64),
    /// It has one of the turns.
    AtWork,
}

impl Place {
    pub(crate) fn is_in_line(self) -> bool {
        matches!(self, Place::InLine(_))
    }
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
    /// Numbers given out.
    numbers: u64,
    /// The tasks of those in line. No more than there are connections.
    line: BTreeMap<u64, Waker>,
    /// Called out of the line, and not there yet.
    called: Vec<Place>,
}

impl Turns {
    /// So many at a time.
    pub(crate) fn new(count: usize) -> Turns {
        Turns {
            state: Mutex::new(State {
                free: count,
                numbers: 0,
                line: BTreeMap::new(),
                called: Vec::new(),
            }),
        }
    }

    /// Ends the turn, if there is one, and goes to the end of the line. `task` is woken when the next turn has come: at
    /// once, if one is free.
    pub(crate) fn queue_up(&self, place: &mut Place, task: &Waker) {
        self.leave(place);
        let mut state = self.state.lock();
        let number = state.numbers;
        state.numbers += 1;
        state.line.insert(number, task.clone());
        *place = Place::InLine(number);
        let called = state.call();
        drop(state);
        wake(called);
    }

    /// Whether the turn of one in line has come; it is at work then.
    pub(crate) fn has_come(&self, place: &mut Place) -> bool {
        let has_come = self.state.lock().was_called(*place);
        if has_come {
            *place = Place::AtWork;
        }
        has_come
    }

    /// Gives up the turn, or the place in line.
    pub(crate) fn leave(&self, place: &mut Place) {
        let place = std::mem::take(place);
        if place == Place::None {
            return;
        }
        let mut state = self.state.lock();
        if let Place::InLine(number) = place {
            state.line.remove(&number);
        }
        if place == Place::AtWork || state.was_called(place) {
            state.free += 1;
        }
        let called = state.call();
        drop(state);
        wake(called);
    }
}

impl State {
    /// Gives a free turn to the first in line. At most one is ever free while somebody waits.
    fn call(&mut self) -> Option<Waker> {
        if self.free == 0 {
            return None;
        }
        let (number, task) = self.line.pop_first()?;
        self.free -= 1;
        self.called.push(Place::InLine(number));
        Some(task)
    }

    /// Whether who has this place was called, and has not been asked for before.
    fn was_called(&mut self, place: Place) -> bool {
        let at = self.called.iter().position(|called| *called == place);
        at.map(|at| self.called.swap_remove(at)).is_some()
    }
}
