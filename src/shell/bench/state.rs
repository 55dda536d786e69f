//! A machine with many series, made in memory from the bench's own records: what `bench snapshot` measures, and what any
//! other measurement of a large state can start from.

use super::load::{self, ROUND_MS, SERVICE_SERIES, START_MS, Shape};
use crate::machine::{Action, Event, Machine, Options, Position};
use crate::shell::clock;
use std::time::Duration;

/// A machine and the point of the bench's log that it is at.
pub struct State {
    /// The machine.
    pub machine: Machine,
    services: usize,
    round: usize,
    offset: i64,
    actions: Vec<Action>,
}

/// What a round's steps took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Round {
    /// The first record of a round moves the clock and evaluates ten rules over all series.
    pub evaluation: Duration,
    /// The longest of the other records: a hundred samples each.
    pub longest: Duration,
    /// All of the others.
    pub total: Duration,
}

impl State {
    /// A machine with ten rules over `series` series, after `rounds` rounds of samples. `scattered` spreads the series
    /// of a service over as many pages as there are: each record then touches a hundred pages, the worst there is.
    #[must_use]
    pub fn new(options: Options, series: usize, rounds: usize, scattered: bool) -> Self {
        let machine = Machine::new(options);
        let services = series.div_ceil(SERVICE_SERIES);
        let mut state = Self { machine, services, round: 0, offset: 0, actions: Vec::new() };
        state.step(&load::rules(), START_MS);
        if scattered {
            state.first_round_by_host();
        }
        for _ in state.round..rounds {
            state.round();
        }
        state
    }

    /// Steps one round: every series gets a sample.
    pub fn round(&mut self) -> Round {
        let time_ms = self.time_ms();
        let mut took = Round::default();
        for service in 0..self.services {
            for value in load::records(Shape::Batches, service, self.round, time_ms).unwrap_or_default() {
                let record = self.step(&value, time_ms);
                if service == 0 {
                    took.evaluation = record;
                } else {
                    took.longest = took.longest.max(record);
                    took.total += record;
                }
            }
        }
        self.round += 1;
        took
    }

    /// The first round with the first series of every service in front, then the second of every service, and so on.
    fn first_round_by_host(&mut self) {
        let time_ms = self.time_ms();
        let singles: Vec<Vec<Vec<u8>>> = (0..self.services)
            .map(|service| load::records(Shape::Singles, service, self.round, time_ms).unwrap_or_default())
            .collect();
        for series in 0..SERVICE_SERIES {
            for value in singles.iter().filter_map(|service| service.get(series)) {
                self.step(value, time_ms);
            }
        }
        self.round += 1;
    }

    fn time_ms(&self) -> i64 {
        START_MS + 1 + i64::try_from(self.round).unwrap_or(i64::MAX / ROUND_MS) * ROUND_MS
    }

    fn step(&mut self, value: &[u8], time_ms: i64) -> Duration {
        let position = Position { offset: self.offset, append_ms: time_ms, log_append: true };
        self.offset += 1;
        let began = clock::monotonic();
        self.machine.step(Event::read(position, Some(value)), &mut self.actions);
        let took = clock::monotonic().saturating_sub(began);
        self.actions.clear();
        took
    }
}
