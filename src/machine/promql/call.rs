//! Calls of functions to nodes.

use super::binary::Matching;
use super::compile::Compiler;
use super::edges;
use super::fault::PlanFault;
use super::functions::{Body, Function, OverTime, Whole};
use super::node::{BinaryNode, Check, HistogramNode, Node, OverTimeNode, Question, SortNode};
use super::relabel::{Join, Replace};
use super::sigma::Sigma;
use super::syntax::{Edges, Expr, Kind, MatcherExpr, Type};
use crate::wire::Labels;
use crate::wire::labels::METRIC_NAME;

impl Compiler<'_> {
    pub(super) fn call(
        &mut self,
        expr: &Expr,
        function: &'static Function,
        arguments: &[Expr],
    ) -> Result<Node, PlanFault> {
        let over = |name, check| (name, check);
        let (run, (keeps_name, check)) = match function.body {
            Body::Time => return Ok(Node::Time),
            Body::Constant(value) => return Ok(Node::Number(value)),
            Body::Refused(why) => {
                let offset = self.characters(expr.place);
                let what = format!("function {}()", function.name);
                return Err(PlanFault::Unsupported { what, why, offset });
            }
            Body::Calendar(function) => {
                let Some(vector) = arguments.first() else { return Ok(Node::Now(function)) };
                let vector = self.boxed(vector)?;
                return Ok(Node::Calendar { function, vector });
            }
            Body::PerElement(function) => {
                let vector = self.boxed(&arguments[0])?;
                let scalars = arguments[1..].iter().map(|argument| self.node(argument));
                let scalars = scalars.collect::<Result<_, _>>()?;
                return Ok(Node::PerElement { function, vector, scalars });
            }
            Body::Whole(whole) => return self.whole(expr, whole, arguments),
            Body::AgainstBaseline(run) => return self.against_baseline(function, run, arguments),
            Body::OverTime(run) => (run, over(false, Check::Nothing)),
            Body::OverTimeNamed(run) => (run, over(true, Check::Nothing)),
            Body::OverCounter(run) => (run, over(false, Check::Counter)),
            Body::OverTimeQuantile(run) => (run, over(false, Check::Quantile)),
            Body::OverTimeSmoothing(run) => (run, over(false, Check::Factors)),
        };
        let is_range = |argument: &&Expr| argument.of_type() == Type::Range;
        let Some(range) = arguments.iter().find(is_range) else {
            unreachable!("a range stands among the arguments: the parser checks types")
        };
        let (name, function) = (function.name, self.with_edges(function, run, range)?);
        let mark = self.mark(&arguments[0]);
        let mut scalars = Vec::new();
        for argument in arguments.iter().filter(|argument| !is_range(argument)) {
            scalars.push(self.node(argument)?);
        }
        let range = self.ranged(range)?;
        Ok(Node::OverTime(Box::new(OverTimeNode { name, function, keeps_name, check, range, scalars, mark })))
    }

    /// A function of a range over the deviation of a baseline: `speed(v[5m]) / logins:deviation`.
    fn against_baseline(
        &mut self,
        function: &'static Function,
        run: OverTime,
        arguments: &[Expr],
    ) -> Result<Node, PlanFault> {
        let mark = self.mark(&arguments[0]);
        let run = self.with_edges(function, run, &arguments[0])?;
        let range = self.ranged(&arguments[0])?;
        let name = arguments.get(1).map(|name| self.utf8(name)).transpose()?;
        let metric = arguments[0].selector().and_then(|selector| {
            let named = |matcher: &&MatcherExpr| matcher.name == METRIC_NAME && matcher.operator == "=";
            selector.matchers.iter().find(named).map(|matcher| matcher.value.clone())
        });
        let (keeps_name, check, scalars) = (false, Check::Nothing, Vec::new());
        let function = function.name;
        let left = OverTimeNode { name: function, function: run, keeps_name, check, range, scalars, mark };
        let right = self.deviation(Sigma { function, leaf: 0, name, metric });
        let matching = Matching::division();
        Ok(Node::Binary(Box::new(BinaryNode { matching, left: Node::OverTime(Box::new(left)), right })))
    }

    /// The function, or what it is over a range that is anchored or smoothed.
    fn with_edges(&self, function: &Function, run: OverTime, range: &Expr) -> Result<OverTime, PlanFault> {
        let Some(selector) = range.selector() else { return Ok(run) };
        let kind = match selector.edges {
            Edges::Plain => return Ok(run),
            Edges::Anchored => "anchored",
            Edges::Smoothed => "smoothed",
        };
        edges::function(function.name, selector.edges).ok_or_else(|| {
            let allowed = edges::allowed(selector.edges);
            let name = function.name;
            let detail = format!("{kind} modifier can only be used with: {allowed} - not with {name}");
            self.syntax(range, detail)
        })
    }

    fn whole(&mut self, expr: &Expr, whole: Whole, arguments: &[Expr]) -> Result<Node, PlanFault> {
        let mark = self.mark(expr);
        let first = arguments.first().unwrap_or(expr);
        Ok(match whole {
            Whole::Absent => Node::Absent { vector: self.boxed(first)?, labels: pinned(first) },
            Whole::AbsentOverTime => {
                Node::AbsentOverTime { range: self.ranged(first)?, labels: pinned(first) }
            }
            Whole::Scalar => Node::ToScalar(self.boxed(first)?),
            Whole::Vector => Node::ToVector(self.boxed(first)?),
            Whole::Timestamp => match first.selector() {
                Some(selector) => Node::SampleTimes(self.leaf(first.inner(), selector)?),
                None => Node::Times(self.boxed(first)?),
            },
            Whole::Sort { descending } => {
                Node::Sort(Box::new(SortNode { vector: self.node(first)?, by: None, descending, mark }))
            }
            Whole::SortByLabel { descending } => {
                let names = arguments[1..]
                    .iter()
                    .map(|name| self.label_name(name, "invalid label name in sort_by_label():"));
                let names = names.collect::<Result<_, _>>()?;
                Node::Sort(Box::new(SortNode {
                    vector: self.node(first)?,
                    by: Some(names),
                    descending,
                    mark,
                }))
            }
            Whole::LabelReplace => {
                Node::Replace { replace: Box::new(self.replace(arguments)?), vector: self.boxed(first)? }
            }
            Whole::LabelJoin => {
                Node::Join { join: Box::new(self.join(arguments)?), vector: self.boxed(first)? }
            }
            Whole::HistogramQuantile => {
                let question = Question::Quantile(self.node(first)?, self.mark(first));
                self.histogram(question, &arguments[1])?
            }
            Whole::HistogramFraction => {
                let question = Question::Fraction(self.node(first)?, self.node(&arguments[1])?);
                self.histogram(question, &arguments[2])?
            }
            Whole::HistogramQuantiles => {
                let label = self.label_name(&arguments[1], "invalid label name")?;
                let mut quantiles = Vec::new();
                for quantile in &arguments[2..] {
                    quantiles.push((self.node(quantile)?, self.mark(quantile)));
                }
                self.histogram(Question::Quantiles(label, quantiles), first)?
            }
        })
    }

    fn histogram(&mut self, question: Question, vector: &Expr) -> Result<Node, PlanFault> {
        let mark = self.mark(vector);
        Ok(Node::Histogram(Box::new(HistogramNode { question, vector: self.node(vector)?, mark })))
    }

    fn replace(&self, arguments: &[Expr]) -> Result<Replace, PlanFault> {
        let source = self.utf8(&arguments[3])?;
        let pattern = self.utf8(&arguments[4])?;
        let compiled = Replace::pattern(&pattern).map_err(|fault| PlanFault::Regex {
            label: source.clone(),
            pattern,
            detail: fault.to_string(),
            offset: self.characters(arguments[4].place),
        });
        Ok(Replace {
            destination: self
                .label_name(&arguments[1], "invalid destination label name in label_replace():")?,
            replacement: self.utf8(&arguments[2])?,
            source,
            pattern: compiled?,
        })
    }

    fn join(&self, arguments: &[Expr]) -> Result<Join, PlanFault> {
        let sources = arguments[3..]
            .iter()
            .map(|name| self.label_name(name, "invalid source label name in label_join():"));
        Ok(Join {
            destination: self.label_name(&arguments[1], "invalid destination label name in label_join():")?,
            separator: self.utf8(&arguments[2])?,
            sources: sources.collect::<Result<_, _>>()?,
        })
    }
}

/// The labels of what `absent` gives: those that its selector pins with `=`, each once. Prometheus drops a label that
/// another matcher names again.
fn pinned(expr: &Expr) -> Labels {
    let mut labels = Labels::default();
    let Kind::Selector(selector) = &expr.kind else { return labels };
    let mut seen: Vec<&str> = Vec::new();
    for MatcherExpr { name, operator, value, .. } in
        selector.matchers.iter().filter(|m| m.name != METRIC_NAME)
    {
        if *operator == "=" && !seen.contains(&name.as_str()) {
            labels.set(name, value);
            seen.push(name);
        } else {
            labels.set(name, "");
        }
    }
    labels
}
