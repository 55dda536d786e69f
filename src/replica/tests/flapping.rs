//! Locks that come and go, deaths that were none: while somebody emits all the same, epochs do not churn.
//!
//! Two replicas, one log that never fails, ten transitions a second. A list of bytes says what the lock service and the
//! peers tell each replica, several times a second, for minutes; the lock is never told truly for long.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

const STEP_MS: i64 = 100;
const MINUTE_MS: i64 = 60_000;

struct World {
    replicas: [Replica; 2],
    now_ms: i64,
    seq: i64,
    marker: Option<Box<Marker>>,
    /// Which replica was initialised last: the other's commits are refused.
    fence: usize,
    /// When each replica was promoted out of standby.
    promoted: [Vec<i64>; 2],
    /// Highest number of transitions that waited with both at the end of a step.
    waiting: usize,
}

impl World {
    fn new() -> Self {
        let replicas = ["a", "b"].map(|worker| Story::of(worker).replica);
        let promoted = [Vec::new(), Vec::new()];
        let mut world = Self { replicas, now_ms: 0, seq: 0, marker: None, fence: 0, promoted, waiting: 0 };
        for at in [0, 1] {
            world.tell(at, Input::TailReached);
            world.tell(at, Input::CaughtUp);
        }
        world
    }

    /// One input, and everything that follows, at once.
    fn tell(&mut self, at: usize, input: Input) {
        let mut inputs = VecDeque::from([(at, input)]);
        while let Some((at, input)) = inputs.pop_front() {
            let mut actions = Vec::new();
            self.replicas[at].step(Event { now_ms: self.now_ms, input }, &mut actions);
            for action in actions {
                match action {
                    Action::Initialise => {
                        self.fence = at;
                        inputs.push_back((at, Input::Initialised));
                    }
                    Action::ReadBack => inputs.push_back((at, Input::ReadBack(self.marker.clone()))),
                    Action::Commit { .. } if self.fence != at => {
                        inputs.push_back((at, Input::CommitFailed(Failure::Fenced)));
                    }
                    Action::Commit { marker, .. } => {
                        self.marker = Some(marker.clone());
                        inputs.push_back((at, Input::Committed { took_ms: 5 }));
                        inputs.push_back((1 - at, Input::Seen(marker)));
                    }
                    Action::RoleChanged {
                        from: Role::Standby | Role::Locking,
                        to: Role::Initialising,
                        ..
                    } => {
                        self.promoted[at].push(self.now_ms);
                    }
                    Action::RoleChanged { .. }
                    | Action::Acquire
                    | Action::Release
                    | Action::RenewProducer => {}
                    Action::Diverged { .. } | Action::Rederive { .. } | Action::PartitionsChanged { .. } => {
                        panic!("{action:?}")
                    }
                    Action::Stopped => unreachable!("nobody stops them"),
                }
            }
        }
    }

    fn step(&mut self, noise: u8, deaths: bool) {
        self.now_ms += STEP_MS;
        self.seq += 1;
        let at = usize::from(noise % 2);
        let other = || ["b", "a"][at].to_owned();
        match noise / 2 % 8 {
            0 => self.tell(at, Input::Lock(LockEvent::Free)),
            1 => self.tell(at, Input::Lock(LockEvent::Acquired { czxid: self.now_ms })),
            2 => self.tell(at, Input::Lock(LockEvent::Lost)),
            3 => self.tell(at, Input::Lock(LockEvent::Held { worker: other() })),
            4 if deaths => self.tell(at, Input::PrimaryDead { worker: other() }),
            _ => {}
        }
        for at in [0, 1] {
            self.tell(at, Input::Derived(vec![derived(self.seq, self.now_ms)]));
            self.tell(at, Input::Progress { clock_ms: self.now_ms, offset: self.seq * 10 + 1 });
        }
        self.waiting = self.waiting.max(self.replicas.iter().map(Replica::waiting).min().unwrap_or(0));
    }

    /// Most promotions of any minute, of the replicas in `of`.
    fn worst(&self, of: &[usize]) -> usize {
        let mut times: Vec<i64> = of.iter().flat_map(|at| self.promoted[*at].iter().copied()).collect();
        times.sort_unstable();
        let within = |from: i64| times.iter().filter(|at| (from..from + MINUTE_MS).contains(at)).count();
        times.iter().map(|from| within(*from)).max().unwrap_or(0)
    }
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 2_400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_lock_that_flaps_moves_the_primary_at_most_twice_a_minute(noise in noise()) {
        let mut world = World::new();
        noise.iter().for_each(|noise| world.step(*noise, false));
        prop_assert!(world.worst(&[0, 1]) <= 2, "{:?}", world.promoted);
        prop_assert!(world.marker.is_some_and(|marker| marker.seq > 2_300), "and alerts go out");
    }

    #[test]
    fn with_deaths_that_were_none_each_replica_rises_at_most_twice_a_minute(noise in noise()) {
        let mut world = World::new();
        noise.iter().for_each(|noise| world.step(*noise, true));
        prop_assert!(world.worst(&[0]) <= 2 && world.worst(&[1]) <= 2, "{:?}", world.promoted);
        prop_assert!(world.marker.is_some_and(|marker| marker.seq > 2_300), "and alerts go out");
    }
}
