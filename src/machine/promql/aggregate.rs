//! Aggregations: the elements of a vector, group by group: each group to one element, or to some of its own.

use super::binary::Labelling;
use super::fault::EvalFault;
use super::functions::Aggregation;
use super::number::{self, Mean, Sum};
use super::ratio;
use super::syntax::quoted;
use super::vector::{Item, Lookup, Projection, distinct};
use crate::machine::template::general;

/// What stands before the vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Parameter<'a> {
    Nothing,
    Number(f64),
    Label(&'a str),
}

/// What a group has come to so far.
#[derive(Debug)]
enum State {
    Mean(Mean),
    Count(f64),
    Group,
    Max(f64),
    Min(f64),
    Sum(Sum),
    /// Welford's count, mean and sum of squares; true for the deviation, which is the variance's root.
    Spread {
        count: f64,
        mean: f64,
        squares: f64,
        deviation: bool,
    },
    /// The quantile and the values.
    Quantile(f64, Vec<f64>),
}

impl State {
    fn new(aggregation: Aggregation, parameter: Parameter<'_>) -> Option<Self> {
        let spread = |deviation| Self::Spread { count: 0.0, mean: 0.0, squares: 0.0, deviation };
        Some(match (aggregation, parameter) {
            (Aggregation::Avg, _) => Self::Mean(Mean::default()),
            (Aggregation::Count, _) => Self::Count(0.0),
            (Aggregation::Group, _) => Self::Group,
            (Aggregation::Max, _) => Self::Max(f64::NAN),
            (Aggregation::Min, _) => Self::Min(f64::NAN),
            (Aggregation::Sum, _) => Self::Sum(Sum::default()),
            (Aggregation::Stddev, _) => spread(true),
            (Aggregation::Stdvar, _) => spread(false),
            (Aggregation::Quantile, Parameter::Number(q)) => Self::Quantile(q, Vec::new()),
            _ => return None,
        })
    }

    /// A NaN is neither least nor greatest, unless there is nothing else.
    fn add(&mut self, value: f64) {
        match self {
            Self::Mean(mean) => mean.add(value),
            Self::Count(count) => *count += 1.0,
            Self::Max(most) if *most < value || most.is_nan() => *most = value,
            Self::Min(least) if *least > value || least.is_nan() => *least = value,
            Self::Max(_) | Self::Min(_) | Self::Group => {}
            Self::Sum(sum) => sum.add(value),
            Self::Spread { count, mean, squares, .. } => {
                *count += 1.0;
                let delta = value - *mean;
                *mean += delta / *count;
                *squares += delta * (value - *mean);
            }
            Self::Quantile(_, values) => values.push(value),
        }
    }

    fn value(self) -> f64 {
        match self {
            Self::Mean(mean) => mean.value(),
            Self::Group => 1.0,
            Self::Count(value) | Self::Max(value) | Self::Min(value) => value,
            Self::Sum(sum) => sum.value(),
            Self::Spread { count, squares, deviation: false, .. } => squares / count,
            Self::Spread { count, squares, deviation: true, .. } => (squares / count).sqrt(),
            Self::Quantile(q, values) => number::quantile(q, values),
        }
    }
}

/// Groups `items` by the labels that `grouping` takes, in the order in which the groups appear. The elements of a group
/// are taken in their order.
pub(super) fn aggregate<'a>(
    labelling: Labelling<'_>,
    aggregation: Aggregation,
    parameter: Parameter<'_>,
    grouping: &Projection,
    items: Vec<Item<'a>>,
) -> Result<Vec<Item<'a>>, EvalFault> {
    match (aggregation, parameter) {
        (Aggregation::CountValues, Parameter::Label(label)) => {
            count_values(labelling, label, grouping, &items)
        }
        (Aggregation::TopK | Aggregation::BottomK | Aggregation::LimitK, Parameter::Number(k)) => {
            let most = count(k)?;
            let keep = |group: Vec<Item<'a>>| some(aggregation, most, group);
            Ok(grouped(labelling, grouping, ordered(items)).into_iter().flat_map(keep).collect())
        }
        (Aggregation::LimitRatio, Parameter::Number(ratio)) => {
            let ratio = checked_ratio(ratio)?;
            Ok(items.into_iter().filter(|item| ratio::keeps(ratio, item)).collect())
        }
        _ => Ok(to_one(labelling, aggregation, parameter, grouping, &items)),
    }
}

/// Each group to one element.
fn to_one<'a>(
    labelling: Labelling<'_>,
    aggregation: Aggregation,
    parameter: Parameter<'_>,
    grouping: &Projection,
    items: &[Item<'_>],
) -> Vec<Item<'a>> {
    let mut lookup = Lookup::new(labelling, grouping);
    let mut groups: Vec<(&Item<'_>, State)> = Vec::new();
    for item in items {
        let group = lookup.find_or_enter(item, groups.len(), |number| groups[number].0);
        let group = match (group, State::new(aggregation, parameter)) {
            (Ok(group), _) => group,
            (Err(()), Some(state)) => {
                groups.push((item, state));
                groups.len() - 1
            }
            (Err(()), None) => unreachable!("the parser has checked what stands before the vector"),
        };
        groups[group].1.add(item.value);
    }
    groups.into_iter().map(|(first, state)| lookup.projected(first, state.value())).collect()
}

/// The groups, in the order in which they appear.
fn grouped<'a>(labelling: Labelling<'_>, grouping: &Projection, items: Vec<Item<'a>>) -> Vec<Vec<Item<'a>>> {
    let mut lookup = Lookup::new(labelling, grouping);
    let mut groups: Vec<Vec<Item<'a>>> = Vec::new();
    for item in items {
        match lookup.find_or_enter(&item, groups.len(), |number| &groups[number][0]) {
            Ok(group) => groups[group].push(item),
            Err(()) => groups.push(vec![item]),
        }
    }
    groups
}

/// In order of labels, so that of equals the same ones are taken whoever came first.
fn ordered<'a>(mut items: Vec<Item<'a>>) -> Vec<Item<'a>> {
    items.sort_by(|a, b| a.labels().cmp(b.labels()));
    items
}

/// The elements of a group that stay: the greatest first, the least first, or just the first. NaN comes last.
fn some<'a>(aggregation: Aggregation, most: usize, mut group: Vec<Item<'a>>) -> Vec<Item<'a>> {
    let nan_last = |a: f64, b: f64| a.is_nan().cmp(&b.is_nan());
    if aggregation == Aggregation::TopK {
        group.sort_by(|a, b| nan_last(a.value, b.value).then(number::nan_first(b.value, a.value)));
    }
    if aggregation == Aggregation::BottomK {
        group.sort_by(|a, b| nan_last(a.value, b.value).then(number::nan_first(a.value, b.value)));
    }
    group.truncate(most);
    group
}

/// A number of elements. The texts are Prometheus's.
fn count(k: f64) -> Result<usize, EvalFault> {
    let fault = |message: String| Err(EvalFault::Parameter { message });
    if k.is_nan() {
        return fault("Parameter value is NaN".to_owned());
    }
    if k <= i64::MIN as f64 {
        return fault(format!("Scalar value {} underflows int64", general(k, None)));
    }
    if k >= i64::MAX as f64 {
        return fault(format!("Scalar value {} overflows int64", general(k, None)));
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates at none and at all"
    )]
    Ok(k as usize)
}

fn checked_ratio(ratio: f64) -> Result<f64, EvalFault> {
    if ratio.is_nan() {
        return Err(EvalFault::Parameter { message: "Ratio value is NaN".to_owned() });
    }
    Ok(ratio.clamp(-1.0, 1.0))
}

/// How often each value stands in each group; the value becomes a label.
fn count_values<'a>(
    labelling: Labelling<'_>,
    label: &str,
    grouping: &Projection,
    items: &[Item<'_>],
) -> Result<Vec<Item<'a>>, EvalFault> {
    if label.is_empty() {
        return Err(EvalFault::Parameter {
            message: format!("invalid label name {}", quoted(label.as_bytes())),
        });
    }
    let labelled: Vec<Item<'_>> = items
        .iter()
        .map(|item| {
            let leaves = item.loses_name();
            let mut labels = grouping.labels(item);
            labels.set(label, &digits(item.value));
            let item = Item::new(labels, 1.0);
            if leaves { item.without_name(true) } else { item }
        })
        .collect();
    let counted = grouped(labelling, &Projection::All, labelled).into_iter().filter_map(|group| {
        let count = group.len() as f64;
        let first = group.into_iter().next()?;
        let leaves = first.loses_name();
        let item = Item::new(first.into_labels(), count);
        Some(if leaves { item.without_name(true) } else { item })
    });
    distinct(labelling, counted.collect())
}

/// All digits and no exponent: Go's `FormatFloat(value, 'f', -1, 64)`.
pub(super) fn digits(value: f64) -> String {
    if value.is_finite() { format!("{value}") } else { general(value, None) }
}
