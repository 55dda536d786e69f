//! The functions of classic histograms: groups of elements that differ by `le` alone, each to what is asked about it.

use super::aggregate::digits;
use super::evaluate::Evaluation;
use super::fault::EvalFault;
use super::histogram::{Bucket, LE, bound, fraction, quantile};
use super::node::{HistogramNode, Question};
use super::note::Mark;
use super::number;
use super::vector::{Item, Lookup, Projection, distinct};
use crate::wire::labels::METRIC_NAME;

/// A histogram: one of its elements, and its buckets.
type Histogram<'a> = (Item<'a>, Vec<Bucket>);

/// What is asked, the scalars known.
enum Asked<'n> {
    Quantiles(Option<&'n str>, Vec<f64>),
    Fraction(f64, f64),
}

impl<'a> Evaluation<'a> {
    pub(super) fn histogram(&mut self, node: &'a HistogramNode) -> Result<Vec<Item<'a>>, EvalFault> {
        let asked = match &node.question {
            Question::Quantile(q, mark) => {
                let q = self.scalar(q)?;
                self.note_quantile(q, *mark);
                Asked::Quantiles(None, vec![q])
            }
            Question::Quantiles(label, nodes) => {
                let mut quantiles = Vec::new();
                for (q, mark) in nodes {
                    let q = self.scalar(q)?;
                    self.note_quantile(q, *mark);
                    quantiles.push(q);
                }
                Asked::Quantiles(Some(label), quantiles)
            }
            Question::Fraction(lower, upper) => Asked::Fraction(self.scalar(lower)?, self.scalar(upper)?),
        };
        let items = self.vector(&node.vector)?;
        let mut result = Vec::new();
        for (first, buckets) in self.histograms(items, node.mark) {
            match &asked {
                Asked::Fraction(lower, upper) => {
                    result.push(first.with_value(fraction(*lower, *upper, buckets)))
                }
                Asked::Quantiles(label, quantiles) => {
                    for q in quantiles {
                        let found = quantile(*q, buckets.clone());
                        if found.forced {
                            let name = first.get(METRIC_NAME).to_owned();
                            self.note(|| node.mark.not_monotonic(&name));
                        }
                        result.push(labelled(first.clone(), *label, *q).with_value(found.value));
                    }
                }
            }
        }
        let result = self.nameless(result)?;
        distinct(self.labelling, result)
    }

    fn note_quantile(&mut self, q: f64, mark: Mark) {
        if !number::is_quantile(q) {
            self.note(|| mark.quantile(q));
        }
    }

    /// Elements with the same labels but `le`, in the order in which they appear. An element whose `le` is no number is
    /// left out.
    fn histograms(&mut self, items: Vec<Item<'a>>, mark: Mark) -> Vec<Histogram<'a>> {
        let mut histograms: Vec<Histogram<'a>> = Vec::new();
        let mut lookup = Lookup::new(self.labelling, &Projection::All);
        for item in items {
            let Some(upper) = bound(item.get(LE)) else {
                let (le, name) = (item.get(LE).to_owned(), item.get(METRIC_NAME).to_owned());
                self.note(|| mark.bucket(&le, &name));
                continue;
            };
            let bucket = Bucket { upper, count: item.value };
            let item = without_le(item);
            match lookup.find_or_enter(&item, histograms.len(), |number| &histograms[number].0) {
                Ok(number) => histograms[number].1.push(bucket),
                Err(()) => histograms.push((item, vec![bucket])),
            }
        }
        histograms
    }
}

fn without_le<'a>(item: Item<'a>) -> Item<'a> {
    let (leaves, value) = (item.loses_name(), item.value);
    let mut labels = item.into_labels();
    labels.set(LE, "");
    let item = Item::new(labels, value);
    if leaves { item.without_name(true) } else { item }
}

/// The element with the quantile as a label, where one is asked for.
fn labelled<'a>(item: Item<'a>, label: Option<&str>, q: f64) -> Item<'a> {
    let Some(label) = label else { return item };
    let mut labels = item.into_labels();
    labels.set(label, &digits(q));
    Item::new(labels, 0.0)
}
