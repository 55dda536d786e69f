//! The tree of an expression to nodes over numbered selectors. What is refused for what it means, and not for how it is
//! written, is refused here.

use super::binary::{Cardinality, Matching};
use super::fault::PlanFault;
use super::functions::Aggregation;
use super::node::{AggregateNode, BinaryNode, Node, ParameterNode, Ranged, SubqueryNode};
use super::note::Mark;
use super::shared::Part;
use super::sigma::Sigma;
use super::syntax::{
    Aggregate, At, Binary, Edges, Expr, Group, Grouping, Kind, MatcherExpr, Place, SelectorExpr, Subquery,
    Type, When, parse, quoted, words,
};
use super::vector::Projection;
use super::{LOOKBACK_MS, Leaf, Plan, SUBQUERY_STEP_MS, Settings};
use crate::machine::series::{Matcher, Selector};

/// Most evaluations of one expression by the subqueries around it: bounds what one rule can cost.
const STEPS_MAX: i64 = 1 << 20;
/// How far a selector looks back that looks at a fixed time: beyond all samples, and far from where times overflow.
const UNBOUNDED_MS: i64 = i64::MAX / 4;

/// Text to plan. A rule's must be a scalar or an instant vector.
pub(super) fn compile(expr: &str, settings: Settings, rule: bool) -> Result<Plan, PlanFault> {
    let tree = parse(expr, settings)?;
    let mut compiler = Compiler {
        text: expr,
        words: words(expr)?,
        leaves: Vec::new(),
        sigmas: Vec::new(),
        parts: Vec::new(),
        reach: Reach::Back(0),
        steps: 1,
        now: true,
    };
    let root = compiler.node(&tree)?;
    if rule && matches!(tree.of_type(), Type::Range | Type::Text) {
        let got = if tree.of_type() == Type::Range { "a range vector" } else { "a string" };
        return Err(PlanFault::NotAValue { got });
    }
    let Compiler { leaves, sigmas, parts, .. } = compiler;
    Ok(Plan {
        root,
        leaves,
        sigmas,
        late_names: settings.late_names,
        subquery_step_ms: SUBQUERY_STEP_MS,
        selections: Vec::new(),
        parts,
        slots: Vec::new(),
    })
}

/// When the part of the expression that is being compiled is evaluated, seen from the time of the whole.
#[derive(Debug, Clone, Copy)]
enum Reach {
    /// Up to so many milliseconds before it; negative is after.
    Back(i64),
    /// At a fixed time.
    Fixed,
}

impl Reach {
    /// What a selector or a subquery makes of it.
    fn further(self, when: When, window_ms: i64) -> Self {
        let back_ms = when.offset_ms.unwrap_or(0) + window_ms;
        match (when.at, self) {
            (Some(At::Time(_)), _) | (None, Self::Fixed) => Self::Fixed,
            (Some(At::Start | At::End), _) => Self::Back(back_ms),
            (None, Self::Back(ms)) => Self::Back(ms.saturating_add(back_ms)),
        }
    }

    fn lookback_ms(self) -> i64 {
        match self {
            Self::Back(ms) => ms.clamp(0, UNBOUNDED_MS),
            Self::Fixed => UNBOUNDED_MS,
        }
    }
}

/// The state of a walk over a tree.
pub(super) struct Compiler<'t> {
    text: &'t str,
    words: Vec<Place>,
    leaves: Vec<Leaf>,
    sigmas: Vec<Sigma>,
    parts: Vec<Part>,
    reach: Reach,
    /// How often the subqueries around evaluate what is being compiled.
    steps: i64,
    /// Whether no subquery is around it.
    now: bool,
}

impl Compiler<'_> {
    pub(super) fn mark(&self, expr: &Expr) -> Mark {
        Mark::new(self.text, expr.place)
    }

    /// Characters before a place.
    pub(super) fn characters(&self, place: Place) -> usize {
        self.text[..place.start].chars().count()
    }

    /// A fault of syntax at an expression.
    pub(super) fn syntax(&self, expr: &Expr, detail: impl Into<String>) -> PlanFault {
        PlanFault::syntax(self.text, expr.place.start, detail)
    }

    pub(super) fn boxed(&mut self, expr: &Expr) -> Result<Box<Node>, PlanFault> {
        self.node(expr).map(Box::new)
    }

    pub(super) fn node(&mut self, expr: &Expr) -> Result<Node, PlanFault> {
        let (expr, first) = (expr.inner(), self.parts.len());
        let node = self.step(expr)?;
        if !self.now || expr.of_type() != Type::Vector {
            return Ok(node);
        }
        self.parts.push(Part { words: self.digest(expr.place), first });
        Ok(Node::Part(self.parts.len() - 1, Box::new(node)))
    }

    /// Digest of the words at a place.
    fn digest(&self, place: Place) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let from = self.words.partition_point(|word| word.start < place.start);
        for word in self.words[from..].iter().take_while(|word| word.end <= place.end) {
            hasher.update(&self.text.as_bytes()[word.start..word.end]).update(b" ");
        }
        hasher.finalize().into()
    }

    fn step(&mut self, expr: &Expr) -> Result<Node, PlanFault> {
        Ok(match &expr.kind {
            Kind::Paren(inner) => return self.step(inner),
            Kind::Number(value) => Node::Number(*value),
            Kind::Text(bytes) => Node::Text(bytes.clone()),
            Kind::Negate(inner) => Node::Negate(self.boxed(inner)?),
            Kind::Selector(selector) if selector.range_ms.is_none() => {
                Node::Instant(self.leaf(expr, selector)?)
            }
            Kind::Selector(_) | Kind::Subquery(_) => Node::Ranges(self.ranged(expr)?),
            Kind::Call(function, arguments) => return self.call(expr, function, arguments),
            Kind::Aggregate(aggregate) => self.aggregate(expr, aggregate)?,
            Kind::Binary(binary) => self.binary(binary)?,
        })
    }

    /// A range selector or a subquery.
    pub(super) fn ranged(&mut self, expr: &Expr) -> Result<Ranged, PlanFault> {
        let expr = expr.inner();
        if let Kind::Subquery(subquery) = &expr.kind {
            return self.subquery(expr, subquery).map(Box::new).map(Ranged::Subquery);
        }
        let Some(selector) = expr.selector() else {
            unreachable!("a range stands here: the parser checks types")
        };
        self.leaf(expr, selector).map(Ranged::Leaf)
    }

    pub(super) fn leaf(&mut self, expr: &Expr, selector: &SelectorExpr) -> Result<usize, PlanFault> {
        let mut matchers = Vec::new();
        for matcher in &selector.matchers {
            matchers.push(self.matcher(matcher)?);
        }
        if matchers.iter().all(|matcher| matcher.matches("")) {
            let detail = "vector selector must contain at least one non-empty matcher";
            return Err(self.syntax(expr, detail));
        }
        let window_ms = selector.range_ms.unwrap_or(LOOKBACK_MS);
        let beyond_ms = if selector.edges == Edges::Plain { 0 } else { LOOKBACK_MS };
        self.leaves.push(Leaf {
            selector: Selector::new(matchers),
            at: selector.when.at,
            offset_ms: selector.when.offset_ms.unwrap_or(0),
            window_ms,
            edges: selector.edges,
            filters: false,
            lookback_ms: self.reach.further(selector.when, window_ms + beyond_ms).lookback_ms(),
        });
        Ok(self.leaves.len() - 1)
    }

    /// What one standard deviation of a baseline is now. Which baseline that is, is looked up when the rules load.
    pub(super) fn deviation(&mut self, sigma: Sigma) -> Node {
        let now = When { offset_ms: None, at: None };
        self.leaves.push(Leaf {
            selector: sigma.selector(sigma.name.as_deref().unwrap_or_default()),
            at: None,
            offset_ms: 0,
            window_ms: LOOKBACK_MS,
            edges: Edges::Plain,
            filters: false,
            lookback_ms: self.reach.further(now, LOOKBACK_MS).lookback_ms(),
        });
        let leaf = self.leaves.len() - 1;
        self.sigmas.push(Sigma { leaf, ..sigma });
        Node::Instant(leaf)
    }

    fn matcher(&self, matcher: &MatcherExpr) -> Result<Matcher, PlanFault> {
        let (label, value) = (matcher.name.as_str(), matcher.value.as_str());
        let compiled = match matcher.operator {
            "=" => Ok(Matcher::equal(label, value)),
            "!=" => Ok(Matcher::not_equal(label, value)),
            "=~" => Matcher::regex(label, value),
            _ => Matcher::not_regex(label, value),
        };
        compiled.map_err(|fault| PlanFault::Regex {
            label: label.to_owned(),
            pattern: value.to_owned(),
            detail: fault.to_string(),
            offset: self.characters(matcher.place),
        })
    }

    fn subquery(&mut self, expr: &Expr, subquery: &Subquery) -> Result<SubqueryNode, PlanFault> {
        let step_ms = subquery.step_ms;
        let (reach, steps) = (self.reach, self.steps);
        self.reach = reach.further(subquery.when, subquery.range_ms);
        self.steps = steps.saturating_mul(subquery.range_ms / step_ms.unwrap_or(SUBQUERY_STEP_MS) + 1);
        if self.steps > STEPS_MAX {
            let offset = self.characters(expr.place);
            return Err(PlanFault::TooManySteps { steps: self.steps, max: STEPS_MAX, offset });
        }
        let now = std::mem::replace(&mut self.now, false);
        let inner = self.node(&subquery.inner)?;
        (self.reach, self.steps, self.now) = (reach, steps, now);
        Ok(SubqueryNode {
            inner,
            range_ms: subquery.range_ms,
            step_ms,
            offset_ms: subquery.when.offset_ms.unwrap_or(0),
            at: subquery.when.at,
        })
    }

    fn aggregate(&mut self, expr: &Expr, aggregate: &Aggregate) -> Result<Node, PlanFault> {
        let parameter = match &aggregate.parameter {
            None => ParameterNode::Nothing,
            Some(label) if aggregate.aggregation == Aggregation::CountValues => {
                ParameterNode::Label(self.label_name(label, "invalid label name")?)
            }
            Some(number) => ParameterNode::Number(self.node(number)?),
        };
        Ok(Node::Aggregate(Box::new(AggregateNode {
            aggregation: aggregate.aggregation,
            grouping: projection(&aggregate.grouping),
            mark: self.mark(aggregate.parameter.as_ref().unwrap_or(expr)),
            parameter,
            vector: self.node(&aggregate.vector)?,
        })))
    }

    fn binary(&mut self, binary: &Binary) -> Result<Node, PlanFault> {
        let modifiers = &binary.modifiers;
        let matching = Matching {
            operator: binary.operator,
            returns_bool: modifiers.returns_bool,
            on: modifiers.matching.as_ref().map_or_else(|| Projection::except(&[]), projection),
            cardinality: match &modifiers.group {
                None => Cardinality::OneToOne,
                Some(Group::Left(names)) => Cardinality::ManyToOne(names.clone()),
                Some(Group::Right(names)) => Cardinality::OneToMany(names.clone()),
            },
            fill_left: modifiers.fill_left,
            fill_right: modifiers.fill_right,
        };
        let left = self.node(&binary.left)?;
        let right = self.node(&binary.right)?;
        Ok(Node::Binary(Box::new(BinaryNode { matching, left, right })))
    }

    /// The name of a label, given as a string.
    pub(super) fn label_name(&self, expr: &Expr, complaint: &str) -> Result<String, PlanFault> {
        let bytes = text(expr);
        match std::str::from_utf8(bytes) {
            Ok(name) if !name.is_empty() => Ok(name.to_owned()),
            Ok(_) | Err(_) => {
                // Prometheus quotes the one that is by itself, and prints the one behind a colon as it is.
                let behind_colon = complaint.ends_with(':');
                let shown =
                    if behind_colon { String::from_utf8_lossy(bytes).into_owned() } else { quoted(bytes) };
                let detail = format!("{complaint} {shown}");
                Err(PlanFault::LabelName { detail, offset: self.characters(expr.place) })
            }
        }
    }

    /// Text that becomes a part of a label's value.
    pub(super) fn utf8(&self, expr: &Expr) -> Result<String, PlanFault> {
        std::str::from_utf8(text(expr))
            .map(str::to_owned)
            .map_err(|_| self.syntax(expr, "the value of a label is UTF-8"))
    }
}

/// The bytes of a string.
fn text(expr: &Expr) -> &[u8] {
    let Kind::Text(bytes) = &expr.inner().kind else {
        unreachable!("a string stands here: the parser checks types")
    };
    bytes
}

fn projection(grouping: &Grouping) -> Projection {
    match grouping {
        Grouping::By(names) => Projection::only(names),
        Grouping::Without(names) => Projection::except(names),
    }
}
