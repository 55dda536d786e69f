//! The samples of one series, newest last.

use std::collections::VecDeque;

/// Most samples one series keeps, whatever its rules look back; then the oldest leaves early. A year of one sample each
/// half minute: a bound on memory, not a setting.
pub const SAMPLES_MAX: usize = 1 << 20;
/// Prometheus's mark for "this series ended here". A NaN like no arithmetic makes it.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Event time, milliseconds since the epoch.
    pub time_ms: i64,
    /// Its value; NaN is canonical, or Prometheus's stale marker.
    pub value: f64,
}

impl Point {
    /// Whether it says that the series ended, rather than carrying a value.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.value.to_bits() == STALE_NAN_BITS
    }
}

/// The samples in a span of time, oldest first, in the ring's two pieces.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    head: &'a [Point],
    tail: &'a [Point],
    rises: bool,
}

impl<'a> Window<'a> {
    /// Every sample, oldest first, stale markers among them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Point> + use<'a> {
        self.head.iter().chain(self.tail).copied()
    }

    /// The newest sample.
    #[must_use]
    pub fn last(&self) -> Option<Point> {
        self.tail.last().or(self.head.last()).copied()
    }

    /// How many samples there are, stale markers counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first sample and the last two, if it is known without a look at the others that none of them is NaN, a stale
    /// marker, or below the one before: a counter that was not reset.
    #[must_use]
    pub fn rising_ends(&self) -> Option<[Point; 3]> {
        let count = self.len();
        let at = |at: usize| self.head.get(at).or_else(|| self.tail.get(at - self.head.len())).copied();
        if !self.rises || count < 3 {
            return None;
        }
        Some([at(0)?, at(count - 2)?, at(count - 1)?])
    }
}

/// What the hot path touches of one series.
#[derive(Debug)]
pub(in crate::machine) struct Ring {
    points: VecDeque<Point>,
    /// Time of the newest sample that does not carry a rising counter on: see [`carries_on`]. Follows from the samples.
    broke_ms: i64,
}

impl Default for Ring {
    fn default() -> Self {
        Self { points: VecDeque::new(), broke_ms: i64::MIN }
    }
}

/// Whether a sample is a number, and not below the one before.
fn carries_on(before: Option<&Point>, point: Point) -> bool {
    let floor = before.map_or(f64::NEG_INFINITY, |before| before.value);
    point.value >= floor
}

impl Ring {
    /// Adds the newest sample and drops those at or before `cut_ms`, which no evaluation to come can see.
    pub(super) fn push(&mut self, point: Point, cut_ms: i64) {
        while self.points.front().is_some_and(|oldest| oldest.time_ms <= cut_ms)
            || self.points.len() >= SAMPLES_MAX
        {
            self.points.pop_front();
        }
        if point.time_ms > cut_ms {
            if !carries_on(self.points.back(), point) {
                self.broke_ms = point.time_ms;
            }
            self.points.push_back(point);
        }
    }

    /// The newest sample in `(after_ms, to_ms]`.
    pub(super) fn latest(&self, after_ms: i64, to_ms: i64) -> Option<Point> {
        match self.points.back() {
            // Nearly always: the newest of all.
            Some(newest) if newest.time_ms <= to_ms => (newest.time_ms > after_ms).then_some(*newest),
            Some(_) | None => self.window(after_ms, to_ms).last(),
        }
    }

    /// The samples in `(after_ms, to_ms]`.
    pub(super) fn window(&self, after_ms: i64, to_ms: i64) -> Window<'_> {
        let (head, tail) = self.points.as_slices();
        let rises = self.broke_ms <= after_ms;
        Window { head: between(head, after_ms, to_ms), tail: between(tail, after_ms, to_ms), rises }
    }

    /// Every sample, oldest first.
    pub(in crate::machine) fn iter(&self) -> impl ExactSizeIterator<Item = Point> {
        self.points.iter().copied()
    }

    /// Bytes taken on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.points.capacity() * size_of::<Point>()
    }
}

/// Keeps the room that the ring has: it is about to take the next sample.
impl Clone for Ring {
    fn clone(&self) -> Self {
        let mut points = VecDeque::with_capacity(self.points.capacity());
        let (head, tail) = self.points.as_slices();
        points.extend(head);
        points.extend(tail);
        Self { points, broke_ms: self.broke_ms }
    }
}

/// Samples in ascending order of their times, as they were kept.
impl From<Vec<Point>> for Ring {
    fn from(points: Vec<Point>) -> Self {
        let breaks = (0..points.len()).rev().find(|at| {
            let before = at.checked_sub(1).map(|before| &points[before]);
            !carries_on(before, points[*at])
        });
        let broke_ms = breaks.map_or(i64::MIN, |at| points[at].time_ms);
        Self { points: points.into(), broke_ms }
    }
}

fn between(points: &[Point], after_ms: i64, to_ms: i64) -> &[Point] {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return points };
    // Mostly a window holds all that is kept, and a look at both ends is enough.
    let from = match first.time_ms > after_ms {
        true => 0,
        false => points.partition_point(|point| point.time_ms <= after_ms),
    };
    let to = match last.time_ms <= to_ms {
        true => points.len(),
        false => points.partition_point(|point| point.time_ms <= to_ms),
    };
    &points[from..to.max(from)]
}
