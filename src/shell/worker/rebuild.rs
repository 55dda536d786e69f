//! Why a partition's thread could not go on, and how soon it is built anew.

use super::Shared;
use super::partition::condition;
use crate::shell::emitter::Closed;
use crate::shell::kafka::consumer::BrokenLog;
use crate::shell::meta::Kind;
use std::time::Duration;

/// Pause before the first rebuild; it doubles with each further one that follows soon.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A partition that has run so long begins with short pauses again.
const SOUND: Duration = Duration::from_secs(600);

/// Why one life of a partition ended.
#[derive(Debug)]
pub(super) enum Cause {
    /// Told to.
    Asked,
    /// The log cannot be read on.
    Broken(BrokenLog),
    /// The emission thread has ended, and nobody asked it to.
    Mute(Closed),
    /// The observations topic is another one now.
    OtherTopic {
        /// Its id now.
        now: String,
    },
    /// The system has no thread left.
    NoThread(String),
    /// The machine panicked.
    Panicked,
}

impl Cause {
    /// Whether nothing follows.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Asked => true,
            Self::Broken(_)
            | Self::Mute(_)
            | Self::OtherTopic { .. }
            | Self::NoThread(_)
            | Self::Panicked => false,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Broken(why) => why.code(),
            Self::Mute(Closed::Ended) => "emission_ended",
            Self::Mute(Closed::Rederive) => "rederive",
            Self::OtherTopic { .. } => "other_topic",
            Self::NoThread(_) => "no_thread",
            Self::Panicked => "panicked",
        }
    }

    /// Says it in the log and in `/-/ready`.
    pub(super) fn report(&self, shared: &Shared, partition: i32, at: i64, pause: Duration) {
        let why = match self {
            Self::Asked => {
                tracing::info!(partition, "partition {partition}: handing over");
                return;
            }
            Self::Broken(why) => why.to_string(),
            Self::Mute(closed) => closed.to_string(),
            Self::OtherTopic { now } => {
                format!("the observations topic has id {now:?} now: it was deleted and made again")
            }
            Self::NoThread(why) => format!("no thread left to emit with: {why}"),
            Self::Panicked => format!(
                "the machine panicked at offset {at}: a fault of Bellwether. Please report it with that record"
            ),
        };
        let code = self.code();
        tracing::error!(
            partition,
            code,
            offset = at,
            "partition {partition} cannot go on and is built anew in {pause:?}: {why}"
        );
        shared.doors.meta.raise(Kind::PartitionStopped, partition, why.as_str());
        shared.readiness.not_ready(&condition(partition), format!("built anew in {pause:?}: {why}"));
    }
}

/// How soon the next life begins.
#[derive(Debug, Default)]
pub(super) struct Pace {
    rebuilds: u32,
}

impl Pace {
    /// The pause after a life that lasted `ran`.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= SOUND {
            self.rebuilds = 0;
        }
        let pause = PAUSE_MAX.min(PAUSE * (1 << self.rebuilds.min(6)));
        self.rebuilds = self.rebuilds.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_a_sound_life_makes_them_short_again() {
        let mut pace = Pace::default();
        let pauses: Vec<u64> = (0..8).map(|_| pace.after(Duration::from_secs(5)).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pace.after(SOUND).as_secs(), 1);
    }
}
