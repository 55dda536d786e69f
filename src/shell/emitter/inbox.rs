//! What waits for the emission thread: bounded where the machine fills it, unbounded where nothing may ever block
//! (the lock's and the follower's threads serve all partitions; what they send is little).

use super::FromMachine;
use crate::replica::Input;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// Messages of the machine that wait before its thread is held up.
const MACHINE_MAX: usize = 256;

/// The emission thread takes nothing more of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Closed {
    /// It has ended: nothing is emitted any more.
    #[error("the emission thread of this partition has ended")]
    Ended,
    /// It has forgotten transitions that are not out: the partition is to be rebuilt from a snapshot whose `seq` is at most
    /// the marker's, with a new machine and a new emission thread.
    #[error("alerts that are not out were forgotten, and are to be derived again from a snapshot")]
    Rederive,
}

#[derive(Debug, Default)]
struct State {
    machine: VecDeque<FromMachine>,
    others: VecDeque<Input>,
    /// The place in the alerts partition was lost.
    tail_lost: bool,
    killed: bool,
    closed: Option<Closed>,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    filled: Condvar,
    drained: Condvar,
}

/// What one look into the inbox found.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub(super) machine: VecDeque<FromMachine>,
    pub(super) others: VecDeque<Input>,
    pub(super) tail_lost: bool,
    pub(super) killed: bool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, input: Input) {
        self.lock().others.push_back(input);
        self.filled.notify_one();
    }

    pub(super) fn put_tail_lost(&self) {
        self.lock().tail_lost = true;
        self.filled.notify_one();
    }

    pub(super) fn kill(&self) {
        self.lock().killed = true;
        self.close();
    }

    /// A planned stop that waits here, out of its turn: whoever answers one failure after the other looks for it in between.
    pub(super) fn take_stop(&self) -> Option<Input> {
        let mut state = self.lock();
        let at = state.others.iter().position(|input| *input == Input::Stop)?;
        state.others.remove(at)
    }

    pub(super) fn is_killed(&self) -> bool {
        self.lock().killed
    }

    /// The machine is told to begin anew, as soon as it sends or while it waits to.
    pub(super) fn put_rederive(&self) {
        self.lock().closed.get_or_insert(Closed::Rederive);
        self.drained.notify_all();
    }

    /// Nothing is taken any more: whoever waits to send is told.
    pub(super) fn close(&self) {
        self.lock().closed.get_or_insert(Closed::Ended);
        self.filled.notify_one();
        self.drained.notify_all();
    }

    /// Waits for something, at most `timeout`. The machine's messages stay where they are unless `take_machine`.
    pub(super) fn take(&self, timeout: Duration, take_machine: bool) -> Mail {
        let nothing = |state: &mut State| {
            state.others.is_empty()
                && !state.killed
                && !state.tail_lost
                && (state.machine.is_empty() || !take_machine)
        };
        let waited = self.filled.wait_timeout_while(self.lock(), timeout, nothing);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let machine = if take_machine { std::mem::take(&mut state.machine) } else { VecDeque::new() };
        let mail = Mail {
            machine,
            others: std::mem::take(&mut state.others),
            tail_lost: std::mem::take(&mut state.tail_lost),
            killed: state.killed,
        };
        drop(state);
        self.drained.notify_all();
        mail
    }
}

/// Hands the machine's results to the emission thread. Clones share it.
#[derive(Debug, Clone)]
pub struct Sender(pub(super) Arc<Inbox>);

impl Sender {
    /// Waits while the emission thread is behind: Kafka may be away, and memory is bounded.
    pub fn send(&self, message: FromMachine) -> Result<(), Closed> {
        let full = |state: &mut State| state.machine.len() >= MACHINE_MAX && state.closed.is_none();
        let waited = self.0.drained.wait_while(self.0.lock(), full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(closed) = state.closed {
            return Err(closed);
        }
        state.machine.push_back(message);
        drop(state);
        self.0.filled.notify_one();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_found_behind_what_else_waits_and_found_once() {
        let inbox = Inbox::default();
        assert_eq!(inbox.take_stop(), None);
        [Input::Tick, Input::Stop, Input::TailReached].into_iter().for_each(|input| inbox.put(input));
        assert_eq!(inbox.take_stop(), Some(Input::Stop));
        assert_eq!(inbox.take_stop(), None);
        assert_eq!(inbox.take(Duration::ZERO, true).others, [Input::Tick, Input::TailReached]);
    }
}
