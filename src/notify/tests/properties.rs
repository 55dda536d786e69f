//! Whatever fails, whenever the process dies: nothing acknowledged is said twice, no old state follows a newer one, and
//! once receivers are well each of them knows the truth.

use super::world::{MINUTE, SECOND, World, failure, settings};
use crate::notify::{Event, Notification, Style};
use crate::wire::{AlertId, NotifyEntry};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Copy)]
enum Op {
    /// The alert changes: it fires if it did not, else it is resolved.
    Toggle(u8),
    /// Time passes, milliseconds.
    Pass(i64),
    /// The oldest notification under way is answered.
    Answer(Answer),
    /// The process dies.
    Die,
    /// It dies while it does what the next answer brings: only so many actions are done.
    DieInAnswer(usize),
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Ok,
    LostBefore,
    LostAfter,
    Refused,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (0_u8..4).prop_map(Op::Toggle),
        4 => (1..400_i64).prop_map(|seconds| Op::Pass(seconds * SECOND)),
        1 => Just(Op::Pass(61 * MINUTE)),
        4 => Just(Op::Answer(Answer::Ok)),
        1 => Just(Op::Answer(Answer::LostBefore)),
        1 => Just(Op::Answer(Answer::LostAfter)),
        1 => Just(Op::Answer(Answer::Refused)),
        1 => Just(Op::Die),
        1 => (0_usize..4).prop_map(Op::DieInAnswer),
    ]
}

/// What the world outside has seen.
#[derive(Default)]
struct Outside {
    /// Receiver and alert to whether it fires, as it was last told.
    knows: BTreeMap<(String, AlertId), bool>,
    /// Receiver and group to the highest seq told.
    newest: BTreeMap<(String, String), i64>,
    /// Receiver and idempotency key of what was acknowledged and recorded.
    acknowledged: BTreeSet<(String, String)>,
}

impl Outside {
    fn hears(&mut self, said: &Notification) {
        let receiver = said.receiver.to_string();
        let key = (receiver.clone(), said.idempotency_key.clone());
        assert!(!self.acknowledged.contains(&key), "said again after it was acknowledged: {key:?}");
        let newest = self.newest.entry((receiver.clone(), said.ticket.group.to_string())).or_default();
        assert!(said.seq >= *newest, "seq {} after {newest}", said.seq);
        *newest = said.seq;
        for alert in &said.alerts {
            self.knows.insert((receiver.clone(), alert.alert), alert.is_firing());
        }
    }

    fn recorded(&mut self, world: &World) {
        for entry in world.store.values() {
            if let NotifyEntry::Delivery(d) = entry
                && d.attempted.is_empty()
                && d.failure.is_empty()
            {
                self.acknowledged.insert((d.receiver.clone(), d.idempotency_key.clone()));
            }
        }
    }
}

struct Run {
    world: World,
    outside: Outside,
    firing: [bool; 4],
}

impl Run {
    fn toggle(&mut self, alert: u8) {
        let (rule, instance) =
            (["Disk", "Load"][usize::from(alert % 2)], ["a", "b", "c", "d"][usize::from(alert)]);
        let fires = &mut self.firing[usize::from(alert)];
        *fires = !*fires;
        if *fires {
            self.world.fires(rule, instance);
        } else {
            self.world.resolves(rule, instance);
        }
    }

    /// Answers the oldest notification under way; of what follows only `actions_max` actions are done.
    fn answer(&mut self, answer: Answer, actions_max: usize) {
        if self.world.under_way.is_empty() {
            return;
        }
        let said = self.world.under_way.remove(0);
        if matches!(answer, Answer::Ok | Answer::LostAfter) {
            self.outside.hears(&said);
        }
        let event = match answer {
            Answer::Ok => Event::Delivered(said.ticket),
            Answer::LostBefore | Answer::LostAfter => failure(said.ticket, "timeout", None),
            Answer::Refused => failure(said.ticket, "status_400", None),
        };
        let actions = self.world.decide(event);
        for action in actions.into_iter().take(actions_max) {
            self.world.act(action);
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Toggle(alert) => self.toggle(alert),
            Op::Pass(ms) => self.world.at(self.world.now_ms + ms),
            Op::Answer(answer) => self.answer(answer, usize::MAX),
            Op::Die => self.world.restart(),
            Op::DieInAnswer(actions) => {
                self.answer(Answer::Ok, actions);
                self.world.restart();
            }
        }
        self.outside.recorded(&self.world);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn receivers_end_up_with_the_truth_and_hear_nothing_twice(ops in prop::collection::vec(op(), 1..80)) {
        let world = World::new(settings(&[("pager", Style::Grouped), ("chat", Style::Grouped)]));
        let mut run = Run { world, outside: Outside::default(), firing: [false; 4] };
        for op in ops {
            run.apply(op);
        }
        // Receivers are well again: two intervals of the group and one back-off are enough.
        for _ in 0..12 {
            while !run.world.under_way.is_empty() {
                run.apply(Op::Answer(Answer::Ok));
            }
            run.apply(Op::Pass(MINUTE));
        }
        let believed: Vec<(&(String, AlertId), &bool)> = run.outside.knows.iter().collect();
        for ((receiver, alert), fires) in believed {
            let at = usize::from(alert.0[0] - b'a');
            prop_assert_eq!(*fires, run.firing[at], "{} about {}", receiver, alert);
        }
        for (at, _) in run.firing.iter().enumerate().filter(|(_, fires)| **fires) {
            for receiver in ["pager", "chat"] {
                let alert = super::world::alert_id(["a", "b", "c", "d"][at]);
                prop_assert_eq!(run.outside.knows.get(&(receiver.to_owned(), alert)), Some(&true));
            }
        }
        if run.firing == [false; 4] {
            prop_assert!(run.world.store.keys().all(|key| key == "position"), "kept: {:?}", run.world.store);
        }
    }
}
