//! One partition while this process decides for it: its dispatcher, and the carrying out of what that decides.

use super::metrics::Metrics;
use super::store::Store;
use crate::notify::{Action, Dispatcher, Event, Gap, Owed, Sequence};
use crate::shell::receiver::{Answer, Job, Origin, Receivers};
use crate::wire::{AlertRecord, Fault};
use std::collections::VecDeque;

/// What a partition needs to act.
pub(super) struct Hands<'a> {
    pub(super) store: &'a Store,
    pub(super) receivers: &'a Receivers,
    pub(super) metrics: &'a Metrics,
}

/// One partition.
pub(super) struct Partition {
    pub(super) origin: Origin,
    /// Offset of the alerts partition to read next.
    pub(super) next: i64,
    dispatcher: Dispatcher,
    sequence: Sequence,
    wake_ms: Option<i64>,
    under_way: usize,
    /// Answers that were known at once.
    refused: VecDeque<Answer>,
}

impl Partition {
    /// `dispatcher` is restored; `sequence` begins after what it knows.
    pub(super) fn new(dispatcher: Dispatcher, sequence: Sequence, origin: Origin, next: i64) -> Self {
        Self { origin, next, dispatcher, sequence, wake_ms: None, under_way: 0, refused: VecDeque::new() }
    }

    /// Takes one record of the alerts partition.
    pub(super) fn record(
        &mut self,
        offset: i64,
        bytes: &[u8],
        now_ms: i64,
        hands: &Hands<'_>,
    ) -> Result<(), Fault> {
        self.next = offset + 1;
        match AlertRecord::read(bytes)? {
            AlertRecord::Transition(transition) => self.sequence.push(offset, transition, now_ms),
            AlertRecord::Marker(_) => {}
        }
        self.advance(hands);
        Ok(())
    }

    fn advance(&mut self, hands: &Hands<'_>) {
        while let Some((next_offset, transition)) = self.sequence.pop() {
            self.step(Event::Transition { transition, next_offset }, hands);
        }
    }

    /// The partition has been read to its end.
    pub(super) fn caught_up(&mut self, now_ms: i64, hands: &Hands<'_>) {
        self.step(Event::Time { now_ms }, hands);
        self.step(Event::CaughtUp, hands);
    }

    /// Time passes. Returns the gap that was given up, if one was.
    pub(super) fn tick(&mut self, now_ms: i64, hands: &Hands<'_>) -> Option<Gap> {
        let gap = self.sequence.give_up(now_ms);
        if gap.is_some() {
            self.advance(hands);
        }
        if self.wake_ms.is_some_and(|wake_ms| wake_ms <= now_ms) {
            self.wake_ms = None;
            self.step(Event::Time { now_ms }, hands);
        }
        while let Some(answer) = self.refused.pop_front() {
            self.answer(answer, now_ms, hands);
        }
        gap
    }

    /// What became of a notification.
    pub(super) fn answer(&mut self, answer: Answer, now_ms: i64, hands: &Hands<'_>) {
        self.under_way = self.under_way.saturating_sub(1);
        self.step(Event::Time { now_ms }, hands);
        let said = &answer.notification;
        let (receiver, key, reason) = (&*said.receiver, said.idempotency_key.as_str(), said.reason.word());
        match answer.outcome {
            Ok(()) => {
                hands.metrics.took(receiver);
                tracing::info!(
                    receiver,
                    key,
                    reason,
                    attempt = said.attempt,
                    alerts = said.alerts.len(),
                    "notified"
                );
                self.step(Event::Delivered(answer.ticket), hands);
            }
            Err(failure) => {
                hands.metrics.failed(receiver, &failure.reason);
                let (why, detail, attempt) = (&failure.reason, &failure.detail, said.attempt);
                if failure.retryable {
                    tracing::warn!(receiver, key, reason, why, detail, attempt, "not notified, tried again");
                } else {
                    tracing::error!(
                        receiver,
                        key,
                        reason,
                        why,
                        detail,
                        attempt,
                        "refused: tried again with the next flush"
                    );
                }
                let retry_after_ms =
                    failure.retry_after.and_then(|wait| i64::try_from(wait.as_millis()).ok());
                let (ticket, reason, retryable) = (answer.ticket, failure.reason, failure.retryable);
                self.step(Event::Failed { ticket, reason, retryable, retry_after_ms }, hands);
            }
        }
    }

    /// Notifications that the receivers have not answered.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// What each receiver is owed.
    pub(super) fn owed(&self) -> Vec<Owed> {
        self.dispatcher.owed()
    }

    /// Whether a transition is missing while later ones wait.
    pub(super) fn has_gap(&self) -> bool {
        self.sequence.is_waiting()
    }

    fn step(&mut self, event: Event, hands: &Hands<'_>) {
        let mut actions = Vec::new();
        self.dispatcher.step(event, &mut actions);
        self.act(actions, hands);
    }

    /// Does what the dispatcher decided, in its order.
    pub(super) fn act(&mut self, actions: Vec<Action>, hands: &Hands<'_>) {
        let partition = self.origin.partition;
        for action in actions {
            match action {
                Action::Send(notification) => {
                    self.under_way += 1;
                    let job = Job { origin: self.origin, notification };
                    if let Err(answer) = hands.receivers.send(job) {
                        self.refused.push_back(*answer);
                    }
                }
                Action::Record(entry) => hands.store.write(partition, &entry.key(), Some(&entry.encode())),
                Action::Forget(key) => hands.store.write(partition, &key, None),
                Action::Held { receiver, group, reason } => {
                    hands.metrics.held(&receiver, reason.word());
                    tracing::debug!(%receiver, %group, reason = reason.word(), "nothing said");
                }
                Action::WakeAt { ms } => self.wake_ms = Some(ms),
            }
        }
    }
}
