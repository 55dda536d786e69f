//! The way of one partition from the polling thread to its machine: an open batch, an aside, a bounded channel.

use super::{Batch, BrokenLog, Delivery};
use rdkafka::message::{BorrowedMessage, Message};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, TrySendError};

/// Deliveries that wait aside, for want of room in the channel, before the lane counts as full.
const ASIDE_MAX: usize = 8;

/// One partition's lane.
pub(super) struct Lane {
    /// Offset after the last record taken, or where reading began.
    pub(super) next: i64,
    /// Whether the consumer has been told to fetch no more of it for now.
    pub(super) paused: Cell<bool>,
    open: Batch,
    aside: VecDeque<Delivery>,
    sender: SyncSender<Delivery>,
    closed: bool,
    broken: bool,
}

impl Lane {
    pub(super) fn new(next: i64, sender: SyncSender<Delivery>) -> Self {
        Self {
            next,
            paused: Cell::new(false),
            open: Batch::default(),
            aside: VecDeque::new(),
            sender,
            closed: false,
            broken: false,
        }
    }

    /// Copies a message in.
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        self.open.push(message);
        self.next = message.offset() + 1;
        if self.open.is_full() {
            self.seal();
            self.drain();
        }
    }

    /// The end of the log was reached behind what is in the lane.
    pub(super) fn end(&mut self) {
        self.seal();
        self.aside.push_back(Delivery::End);
    }

    /// Closes the open batch.
    pub(super) fn seal(&mut self) {
        if !self.open.is_empty() {
            self.aside.push_back(Delivery::Batch(std::mem::take(&mut self.open)));
        }
    }

    /// Hands on what the channel has room for.
    pub(super) fn drain(&mut self) {
        while let Some(delivery) = self.aside.pop_front() {
            match self.sender.try_send(delivery) {
                Ok(()) => {}
                Err(TrySendError::Full(delivery)) => return self.aside.push_front(delivery),
                Err(TrySendError::Disconnected(_)) => {
                    self.closed = true;
                    self.aside.clear();
                }
            }
        }
    }

    /// Says the last word, behind everything that was read.
    pub(super) fn break_off(&mut self, why: BrokenLog) {
        self.seal();
        self.aside.push_back(Delivery::Broken(why));
        self.drain();
        self.broken = true;
    }

    /// Whether the last word was said.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the machine is so far behind that no more should be taken.
    pub(super) fn is_full(&self) -> bool {
        self.aside.len() >= ASIDE_MAX && !self.broken
    }

    /// Whether nothing waits aside.
    pub(super) fn is_drained(&self) -> bool {
        self.aside.is_empty()
    }

    /// Whether the machine has gone, or has been given the last word.
    pub(super) fn is_done(&self) -> bool {
        self.closed || (self.broken && self.aside.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    #[test]
    fn a_full_channel_keeps_order_aside_and_counts_as_full_at_the_bound() {
        let (sender, receiver) = sync_channel(1);
        let mut lane = Lane::new(0, sender);
        for _ in 0..ASIDE_MAX {
            lane.end();
            lane.drain();
        }
        assert!(!lane.is_full(), "one went into the channel");
        lane.end();
        assert!(lane.is_full());
        assert!(matches!(receiver.recv(), Ok(Delivery::End)));
        lane.drain();
        assert!(!lane.is_full());
        drop(receiver);
        lane.drain();
        assert!(lane.is_done());
    }

    #[test]
    fn the_last_word_comes_behind_what_was_read() {
        let (sender, receiver) = sync_channel(4);
        let mut lane = Lane::new(5, sender);
        lane.end();
        let why = BrokenLog::OutOfRange { next: 5, low: 9, high: 12 };
        lane.break_off(why.clone());
        assert!(lane.is_done());
        drop(lane);
        assert!(matches!(receiver.recv(), Ok(Delivery::End)));
        assert!(matches!(receiver.recv(), Ok(Delivery::Broken(heard)) if heard == why));
        assert!(receiver.recv().is_err());
    }
}
