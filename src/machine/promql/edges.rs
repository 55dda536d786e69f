//! Ranges with other edges: `anchored` and `smoothed` (Prometheus 3's extended range selectors). The samples given
//! reach a lookback beyond the range, before it and, when smoothed, behind it; nothing is extrapolated.

use super::functions::OverTime;
use super::range::{self, Range};
use super::syntax::Edges;
use crate::machine::series::Point;

/// What a function does over such a range; `None` if it has no meaning there.
pub(super) fn function(name: &str, edges: Edges) -> Option<OverTime> {
    Some(match (name, edges) {
        ("rate", Edges::Anchored) => {
            |range, _| change(range, false, true).map(|change| change / range.seconds())
        }
        ("rate", Edges::Smoothed) => {
            |range, _| change(range, true, true).map(|change| change / range.seconds())
        }
        ("increase", Edges::Anchored) => |range, _| change(range, false, true),
        ("increase", Edges::Smoothed) => |range, _| change(range, true, true),
        ("delta", Edges::Anchored) => |range, _| change(range, false, false),
        ("delta", Edges::Smoothed) => |range, _| change(range, true, false),
        ("changes", Edges::Anchored) => |range, _| range::changes(&anchored(range)?, &[]),
        ("resets", Edges::Anchored) => |range, _| range::resets(&anchored(range)?, &[]),
        _ => return None,
    })
}

/// The functions that [`function`] knows, for messages.
pub(super) fn allowed(edges: Edges) -> &'static str {
    if edges == Edges::Anchored { "changes, delta, increase, rate, resets" } else { "delta, increase, rate" }
}

/// Place of the last sample at or before the start of the range, or of the first at all.
fn first(range: &Range<'_>) -> usize {
    let before_last = &range.points[..range.points.len() - 1];
    before_last.partition_point(|point| point.time_ms <= range.start_ms).saturating_sub(1)
}

/// The samples from the one before the range on; none if all are before it.
fn anchored<'a>(range: &Range<'a>) -> Option<Range<'a>> {
    let last = range.points.last()?;
    let points = &range.points[first(range)..];
    (last.time_ms > range.start_ms).then_some(Range { points, count: points.len(), ..*range })
}

/// The values at the edges of a range, and the samples between.
struct Ends<'a> {
    left: f64,
    right: f64,
    inside: &'a [Point],
}

/// `None` if all samples are before the range.
fn ends<'a>(range: &Range<'a>, smoothed: bool, counter: bool) -> Option<Ends<'a>> {
    let points = range.points;
    let mut last = points.len().checked_sub(1)?;
    let mut first = first(range);
    if smoothed {
        last = points[..last].partition_point(|point| point.time_ms < range.end_ms);
    }
    if points[last].time_ms <= range.start_ms {
        return None;
    }
    let left = match points[first..] {
        [a, b, ..] if smoothed && a.time_ms < range.start_ms => between(a, b, range.start_ms, counter, true),
        _ => points[first].value,
    };
    let right = if smoothed && last > 0 && points[last].time_ms > range.end_ms {
        between(points[last - 1], points[last], range.end_ms, counter, false)
    } else {
        points[last].value
    };
    first += usize::from(points[first].time_ms <= range.start_ms);
    let end = if points[last].time_ms >= range.end_ms { last } else { last + 1 };
    Some(Ends { left, right, inside: points.get(first..end).unwrap_or_default() })
}

/// How much the series changed between the two edges. A counter's resets count as what it had.
fn change(range: &Range<'_>, smoothed: bool, counter: bool) -> Option<f64> {
    let Ends { left, right, inside } = ends(range, smoothed, counter)?;
    let lost = if counter { lost_at_resets(left, right, inside) } else { 0.0 };
    Some(right - left + lost)
}

/// The samples of a range with one at each edge; none if all are before it.
pub(super) fn extended(range: &Range<'_>, edges: Edges) -> Vec<Point> {
    let smoothed = edges == Edges::Smoothed;
    let Some(ends) = ends(range, smoothed, false) else { return Vec::new() };
    let edge = |time_ms, value| Point { time_ms, value };
    let inside = ends.inside.iter().copied();
    let from = [edge(range.start_ms, ends.left)].into_iter();
    from.chain(inside).chain([edge(range.end_ms, ends.right)]).collect()
}

fn lost_at_resets(left: f64, right: f64, inside: &[Point]) -> f64 {
    let mut lost = 0.0;
    let mut before = left;
    for value in inside.iter().map(|point| point.value).chain([right]) {
        if value < before {
            lost += before;
        }
        before = value;
    }
    lost
}

/// The value at a time between two samples. A counter that was reset between them was reset at the edge.
fn between(a: Point, b: Point, at_ms: i64, counter: bool, left_edge: bool) -> f64 {
    let (mut from, mut to) = (a.value, b.value);
    if counter && to < from {
        if left_edge {
            from = 0.0;
        } else {
            to += from;
        }
    }
    from + (to - from) * (at_ms - a.time_ms) as f64 / (b.time_ms - a.time_ms) as f64
}

/// `smoothed` on an instant selector: the value at a time, from the samples around it; that of the last one where none
/// follows.
pub(super) fn instant(points: &[Point], at_ms: i64) -> Option<f64> {
    let next = points.partition_point(|point| point.time_ms < at_ms);
    match (next.checked_sub(1).map(|before| points[before]), points.get(next)) {
        (_, Some(exact)) if exact.time_ms == at_ms => Some(exact.value),
        (Some(before), Some(after)) => Some(between(before, *after, at_ms, false, false)),
        (Some(before), None) => Some(before.value),
        (None, _) => None,
    }
}
