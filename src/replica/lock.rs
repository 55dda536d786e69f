//! The lock's side of a replica: what follows from its news. It only avoids duels: the fence decides, not ZooKeeper.

use super::state::{Holder, Lock, Replica};
use super::{Action, LockEvent, Reason, Role};

impl Replica {
    pub(super) fn lock_changed(&mut self, event: LockEvent, actions: &mut Vec<Action>) {
        self.overrode_lock &= matches!(event, LockEvent::Held { .. });
        if event == LockEvent::Free && self.lock != Lock::Free {
            let overridden = self.holder.as_ref().is_some_and(|holder| !self.is_primary(&holder.worker));
            self.free = (self.now_ms, overridden);
        }
        if !matches!(event, LockEvent::Held { .. }) {
            self.holder = None;
        }
        match event {
            // Losing the lock stops nobody: the fence decides, not ZooKeeper.
            LockEvent::Lost => {
                self.lock = Lock::Unknown;
                self.lose_lock(actions);
            }
            LockEvent::Free => {
                self.lock = Lock::Free;
                self.lose_lock(actions);
            }
            LockEvent::Held { worker } => {
                self.lock = Lock::Theirs;
                let known = self.holder.as_ref().is_some_and(|holder| holder.worker == worker);
                if !known {
                    self.holder = Some(Holder { worker, epoch: self.epoch_seen });
                }
                if self.role == Role::Locking {
                    self.go(Role::Standby, Reason::LockHeld, actions);
                }
                self.lose_lock(actions);
            }
            LockEvent::Acquired { czxid } => {
                self.lock = Lock::Mine(czxid);
                match self.role {
                    Role::Locking if self.is_claimed() => {
                        self.release(actions);
                        self.go(Role::Standby, Reason::Claimed, actions);
                    }
                    Role::Locking => self.rise(Reason::LockAcquired, actions),
                    Role::Initialising => self.verified(actions),
                    Role::ReadingBack | Role::Primary => {}
                    Role::Standby | Role::Fenced | Role::Stopping => self.release(actions),
                }
            }
        }
    }

    /// It asked whether the lock is still its own, and it is not.
    fn lose_lock(&mut self, actions: &mut Vec<Action>) {
        if self.verify_until_ms.is_some() {
            self.fence(Reason::LockLost, actions);
        }
    }

    pub(super) fn acquire(&mut self, actions: &mut Vec<Action>) {
        self.lock = Lock::Asked;
        actions.push(Action::Acquire);
    }

    pub(super) fn release(&mut self, actions: &mut Vec<Action>) {
        if matches!(self.lock, Lock::Asked | Lock::Mine(_)) {
            self.lock = Lock::Unknown;
            actions.push(Action::Release);
        }
    }
}
