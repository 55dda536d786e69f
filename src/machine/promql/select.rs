//! What selectors and subqueries give at one time, and the functions over ranges.

use super::blocks::{self, Fold, MANY};
use super::edges;
use super::evaluate::Evaluation;
use super::fault::EvalFault;
use super::node::{Check, OverTimeNode, Ranged, SubqueryNode};
use super::number;
use super::range::{OF_ENDS, Range};
use super::syntax::{At, Edges};
use super::vector::{Item, Lookup, Projection};
use super::{LOOKBACK_MS, Leaf};
use crate::machine::series::{Point, SeriesId};
use crate::wire::labels::METRIC_NAME;

/// Series, each with samples.
pub(super) type Samples<'a> = Vec<(Item<'a>, Vec<Point>)>;

/// A span of time, open on the left, milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
}

impl<'a> Evaluation<'a> {
    /// When a selector or a subquery looks, its offset not counted.
    fn base_ms(&self, at: Option<At>) -> i64 {
        match at {
            None => self.times.at_ms,
            Some(At::Time(ms)) => ms,
            Some(At::Start) => self.times.start_ms,
            Some(At::End) => self.times.end_ms,
        }
    }

    fn span(&self, leaf: &Leaf) -> Span {
        let end_ms = self.base_ms(leaf.at) - leaf.offset_ms;
        Span { start_ms: end_ms - leaf.window_ms, end_ms }
    }

    /// The series of a leaf, in the order in which they were first seen.
    fn series(&self, number: usize) -> impl Iterator<Item = SeriesId> + use<'a> {
        let (store, leaf) = (self.store, &self.plan.leaves[number]);
        let ids = store.selected(self.plan.selections[number]).iter().copied();
        ids.filter(move |id| !leaf.filters || leaf.selector.matches(store.labels(*id)))
    }

    /// Each series with its newest sample, unless that says that the series ended.
    pub(super) fn instant(&self, number: usize, of: fn(Point) -> f64) -> Vec<Item<'a>> {
        let leaf = &self.plan.leaves[number];
        let mut items = Vec::with_capacity(self.store.selected(self.plan.selections[number]).len());
        let Span { start_ms, end_ms } = self.span(leaf);
        let newest = |id| match leaf.edges {
            Edges::Plain | Edges::Anchored => {
                self.store.latest(id, start_ms, end_ms).filter(|point| !point.is_stale())
            }
            Edges::Smoothed => {
                let window = self.store.window(id, start_ms, end_ms + LOOKBACK_MS);
                let points: Vec<Point> = window.iter().filter(|point| !point.is_stale()).collect();
                edges::instant(&points, end_ms).map(|value| Point { time_ms: end_ms, value })
            }
        };
        let item = |id| Some(Item::of_series(id, self.store.labels(id), of(newest(id)?)));
        items.extend(self.series(number).filter_map(item));
        items
    }

    /// Each series with its samples in a range; none without any.
    pub(super) fn ranges(&mut self, ranged: &'a Ranged) -> Result<Samples<'a>, EvalFault> {
        match ranged {
            Ranged::Subquery(subquery) => self.subquery(subquery).map(|(_, series)| series),
            Ranged::Leaf(number) => {
                let leaf = &self.plan.leaves[*number];
                let Span { start_ms, end_ms } = self.span(leaf);
                let (from_ms, to_ms) = reach_ms(leaf, start_ms, end_ms);
                let series = self.series(*number).map(|id| {
                    let window = self.store.window(id, from_ms, to_ms);
                    let mut points: Vec<Point> = window.iter().filter(|point| !point.is_stale()).collect();
                    if leaf.edges != Edges::Plain {
                        let (count, at_ms) = (points.len(), self.times.at_ms);
                        let range = Range { points: &points, count, start_ms, end_ms, at_ms };
                        points = edges::extended(&range, leaf.edges);
                    }
                    (Item::of_series(id, self.store.labels(id), 0.0), points)
                });
                Ok(series.filter(|(_, points)| !points.is_empty()).collect())
            }
        }
    }

    /// Evaluates an expression at each step of a range: the multiples of the step in it.
    fn subquery(&mut self, node: &'a SubqueryNode) -> Result<(Span, Samples<'a>), EvalFault> {
        let end_ms = self.base_ms(node.at) - node.offset_ms;
        let span = Span { start_ms: end_ms - node.range_ms, end_ms };
        let outer_ms = self.times.at_ms;
        let step_ms = node.step_ms.unwrap_or(self.plan.subquery_step_ms);
        let mut lookup = Lookup::plain(self.labelling.key, &Projection::All);
        let mut series: Samples<'a> = Vec::new();
        let mut time_ms = span.start_ms.div_euclid(step_ms) * step_ms + step_ms;
        while time_ms <= end_ms {
            self.times.at_ms = time_ms;
            for item in self.vector(&node.inner)? {
                let point = Point { time_ms, value: item.value };
                match lookup.find_or_enter(&item, series.len(), |number| &series[number].0) {
                    Ok(number) => series[number].1.push(point),
                    Err(()) => series.push((item, vec![point])),
                }
            }
            time_ms += step_ms;
        }
        self.times.at_ms = outer_ms;
        Ok((span, series))
    }

    /// Each series with what a function makes of its samples in a range.
    pub(super) fn over_time(&mut self, node: &'a OverTimeNode) -> Result<Vec<Item<'a>>, EvalFault> {
        let items = self.of_ranges(node)?;
        if node.keeps_name { Ok(items) } else { self.nameless(items) }
    }

    fn of_ranges(&mut self, node: &'a OverTimeNode) -> Result<Vec<Item<'a>>, EvalFault> {
        let scalars = self.scalars(&node.scalars)?;
        let mut items = Vec::new();
        match &node.range {
            Ranged::Leaf(number) => {
                let plan = self.plan;
                let leaf = &plan.leaves[*number];
                let span = self.span(leaf);
                let (from_ms, to_ms) = reach_ms(leaf, span.start_ms, span.end_ms);
                let mut points: Vec<Point> = Vec::new();
                let quick = leaf.edges == Edges::Plain && !self.plainly();
                let of_ends = quick && OF_ENDS.contains(&node.name);
                let fold = Fold::of(node.name).filter(|_| quick);
                for id in self.series(*number) {
                    points.clear();
                    let window = self.store.window(id, from_ms, to_ms);
                    let item = Item::of_series(id, self.store.labels(id), 0.0);
                    if let Some(fold) = fold.filter(|_| window.len() > MANY)
                        && let Some(value) = self.in_blocks(leaf, id, fold, span)
                    {
                        items.push(item.with_value(value));
                        continue;
                    }
                    let ends = if of_ends { window.rising_ends() } else { None };
                    let count = match ends {
                        Some(ends) => {
                            points.extend(ends);
                            window.len()
                        }
                        None => {
                            points.extend(window.iter().filter(|point| !point.is_stale()));
                            points.len()
                        }
                    };
                    items.extend(self.of_range(node, &scalars, item, (&points, count), span)?);
                }
            }
            Ranged::Subquery(subquery) => {
                let (span, series) = self.subquery(subquery)?;
                for (item, points) in series {
                    items.extend(self.of_range(node, &scalars, item, (&points, points.len()), span)?);
                }
            }
        }
        if node.check == Check::Quantile && !number::is_quantile(scalars[0]) && !items.is_empty() {
            self.note(|| node.mark.quantile(scalars[0]));
        }
        Ok(items)
    }

    /// What the samples of a long window come to. Blocks are remembered for the time of the rule alone.
    fn in_blocks(&self, leaf: &Leaf, id: SeriesId, fold: Fold, span: Span) -> Option<f64> {
        if leaf.at.is_some() || self.times.at_ms != self.times.end_ms {
            return blocks::fold(self.store, id, fold, span, None);
        }
        let mut remembered = self.store.blocks().borrow_mut();
        blocks::fold(self.store, id, fold, span, Some((&mut remembered, leaf.offset_ms)))
    }

    fn of_range(
        &mut self,
        node: &OverTimeNode,
        scalars: &[f64],
        item: Item<'a>,
        (points, count): (&[Point], usize),
        Span { start_ms, end_ms }: Span,
    ) -> Result<Option<Item<'a>>, EvalFault> {
        if points.is_empty() {
            return Ok(None);
        }
        if node.check == Check::Factors {
            check_factors(scalars)?;
        }
        let range = Range { points, count, start_ms, end_ms, at_ms: self.times.at_ms };
        let Some(value) = (node.function)(&range, scalars) else { return Ok(None) };
        if node.check == Check::Counter {
            self.check_counter(node, &item);
        }
        Ok(Some(item.with_value(value)))
    }

    fn check_counter(&mut self, node: &OverTimeNode, item: &Item<'_>) {
        let name = item.get(METRIC_NAME);
        let is_counter = ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix));
        if !name.is_empty() && !is_counter {
            self.note(|| node.mark.no_counter(name));
        }
    }
}

/// From when to when samples are needed: where the edges are taken from samples outside, those are needed, too.
fn reach_ms(leaf: &Leaf, start_ms: i64, end_ms: i64) -> (i64, i64) {
    match leaf.edges {
        Edges::Plain => (start_ms, end_ms),
        Edges::Anchored => (start_ms - LOOKBACK_MS, end_ms),
        Edges::Smoothed => (start_ms - LOOKBACK_MS, end_ms + LOOKBACK_MS),
    }
}

/// The factors of a smoothing lie between 0 and 1. The texts are Prometheus's.
fn check_factors(factors: &[f64]) -> Result<(), EvalFault> {
    for (kind, short, factor) in [("smoothing", "sf", factors[0]), ("trend", "tf", factors[1])] {
        if factor <= 0.0 || factor >= 1.0 {
            let message = format!("invalid {kind} factor. Expected: 0 < {short} < 1, got: {factor:.6}");
            return Err(EvalFault::Parameter { message });
        }
    }
    Ok(())
}
