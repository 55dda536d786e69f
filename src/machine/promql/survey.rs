//! What can be said of an expression without evaluating it, for those who check rules: which windows its functions look
//! at, where it looks at a fixed time, and whether one partition holds all that it needs.
//!
//! The partition of a series is that of its service. So what an expression needs is in one partition if each of its
//! elements comes of the series of one service, and the expression goes on telling services apart as long as it combines
//! elements; or if all its series are of one service that it names.
//!
//! ```text
//!  selector ──▶ Own ──sum by (service)──▶ Own ──a / on (service) b──▶ Own
//!            └─▶ Pinned, with service="x"         └──sum by (host)──▶ Spans
//! ```

use super::Settings;
use super::fault::PlanFault;
use super::syntax::{Aggregate, At, Binary, Expr, Grouping, Kind, SelectorExpr, Type, parse, quoted};
use crate::wire::labels::METRIC_NAME;
use std::collections::BTreeMap;

/// Functions that need two samples at least to say anything.
const OF_TWO: [&str; 7] = ["rate", "increase", "irate", "delta", "idelta", "deriv", "predict_linear"];

/// A function that needs two samples, over the range of a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its name.
    pub function: &'static str,
    /// Length of the range, milliseconds.
    pub range_ms: i64,
    /// Where it stands, characters from the start of the expression.
    pub offset: usize,
}

/// What one partition has to hold so that an expression can be evaluated there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Nothing: it looks at no series.
    Nothing,
    /// Each element comes of the series of one service, which its label names.
    Own,
    /// The same, but the label that should name the service says something else.
    Moved,
    /// The series of one service that the expression names.
    Pinned(String),
    /// Series of several services.
    Spans {
        /// What combines them.
        why: String,
        /// Where it stands, characters from the start of the expression.
        offset: usize,
    },
}

/// What a walk over an expression found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Windows of functions that need two samples.
    pub windows: Vec<Window>,
    /// Where it looks at a fixed time (`@ 1700000000`), characters from the start of the expression.
    pub fixed: Vec<usize>,
    /// What a partition has to hold.
    pub reach: Reach,
}

impl Survey {
    /// Looks at an expression. `recorded` says what rules need that record series, by the series' name.
    pub fn of(
        text: &str,
        service_label: &str,
        recorded: &BTreeMap<String, Reach>,
    ) -> Result<Self, PlanFault> {
        let tree = parse(text, Settings::default())?;
        let mut walk = Walk { text, service_label, recorded, windows: Vec::new(), fixed: Vec::new() };
        let reach = walk.reach(&tree);
        Ok(Self { windows: walk.windows, fixed: walk.fixed, reach })
    }
}

struct Walk<'a> {
    text: &'a str,
    service_label: &'a str,
    recorded: &'a BTreeMap<String, Reach>,
    windows: Vec<Window>,
    fixed: Vec<usize>,
}

impl Walk<'_> {
    fn offset(&self, expr: &Expr) -> usize {
        self.text[..expr.place.start].chars().count()
    }

    fn spans(&self, expr: &Expr, why: impl Into<String>) -> Reach {
        Reach::Spans { why: why.into(), offset: self.offset(expr) }
    }

    fn reach(&mut self, expr: &Expr) -> Reach {
        match &expr.kind {
            Kind::Number(_) | Kind::Text(_) => Reach::Nothing,
            Kind::Paren(inner) | Kind::Negate(inner) => self.reach(inner),
            Kind::Subquery(subquery) => {
                self.note_fixed(expr, subquery.when.at);
                self.reach(&subquery.inner)
            }
            Kind::Selector(selector) => self.selector(expr, selector),
            Kind::Call(function, arguments) => self.call(expr, function.name, arguments),
            Kind::Aggregate(aggregate) => self.aggregate(expr, aggregate),
            Kind::Binary(binary) => self.binary(expr, binary),
        }
    }

    fn note_fixed(&mut self, expr: &Expr, at: Option<At>) {
        if let Some(At::Time(_)) = at {
            self.fixed.push(self.offset(expr));
        }
    }

    fn selector(&mut self, expr: &Expr, selector: &SelectorExpr) -> Reach {
        self.note_fixed(expr, selector.when.at);
        let equal = |name: &str| {
            let found = selector.matchers.iter().find(|m| m.name == name && m.operator == "=");
            found.map(|matcher| matcher.value.as_str()).filter(|value| !value.is_empty())
        };
        if let Some(service) = equal(self.service_label) {
            return Reach::Pinned(service.to_owned());
        }
        match equal(METRIC_NAME).and_then(|name| Some((name, self.recorded.get(name)?))) {
            Some((name, Reach::Spans { .. })) => {
                self.spans(expr, format!("{name} is recorded over several services"))
            }
            Some((_, reach)) => reach.clone(),
            None => Reach::Own,
        }
    }

    fn call(&mut self, expr: &Expr, function: &'static str, arguments: &[Expr]) -> Reach {
        for selector in arguments.iter().filter_map(Expr::selector).filter(|_| OF_TWO.contains(&function)) {
            let offset = self.offset(expr);
            self.windows.extend(selector.range_ms.map(|range_ms| Window { function, range_ms, offset }));
        }
        let mut reach = Reach::Nothing;
        for argument in arguments {
            let other = self.reach(argument);
            reach = self.beside(expr, reach, other);
        }
        let writes_service = |argument: &Expr| matches!(&argument.inner().kind, Kind::Text(bytes) if bytes == self.service_label.as_bytes());
        match (function, reach) {
            (_, reach @ (Reach::Spans { .. } | Reach::Nothing)) => reach,
            ("absent" | "absent_over_time", _) => {
                self.spans(expr, format!("{function}() holds in every partition that has no such series"))
            }
            ("scalar", Reach::Own | Reach::Moved) => {
                self.spans(expr, "scalar() looks for the one series among those of all services")
            }
            ("label_replace" | "label_join", Reach::Own) if arguments.get(1).is_some_and(writes_service) => {
                Reach::Moved
            }
            (_, reach) => reach,
        }
    }

    fn aggregate(&mut self, expr: &Expr, aggregate: &Aggregate) -> Reach {
        let parameter =
            aggregate.parameter.as_ref().map_or(Reach::Nothing, |parameter| self.reach(parameter));
        let vector = self.reach(&aggregate.vector);
        match self.beside(expr, parameter, vector) {
            Reach::Own if self.tells_apart(&aggregate.grouping) => Reach::Own,
            Reach::Own => {
                let grouping = words("by", "without", &aggregate.grouping);
                self.spans(expr, format!("an aggregation {grouping} combines series of several services"))
            }
            Reach::Moved => {
                self.spans(expr, format!("it groups by a label {} that was written anew", self.service_label))
            }
            reach @ (Reach::Nothing | Reach::Pinned(_) | Reach::Spans { .. }) => reach,
        }
    }

    fn binary(&mut self, expr: &Expr, binary: &Binary) -> Reach {
        let (left, right) = (self.reach(&binary.left), self.reach(&binary.right));
        let are_vectors = [&binary.left, &binary.right].iter().all(|side| side.of_type() == Type::Vector);
        let matching = binary.modifiers.matching.as_ref();
        if !are_vectors || !matching.is_none_or(|matching| self.tells_apart(matching)) {
            let joins = are_vectors && (&left, &right) == (&Reach::Own, &Reach::Own);
            return match matching.filter(|_| joins) {
                Some(matching) => {
                    let matching = words("on", "ignoring", matching);
                    self.spans(
                        expr,
                        format!("{} {matching} joins series of different services", binary.symbol),
                    )
                }
                None => self.beside(expr, left, right),
            };
        }
        match (left, right) {
            // Only what is of that service can match.
            (Reach::Own, Reach::Pinned(_)) | (Reach::Pinned(_), Reach::Own) => Reach::Own,
            (left, right) => self.beside(expr, left, right),
        }
    }

    /// What two parts need together that stand beside each other, whatever their labels.
    fn beside(&self, expr: &Expr, left: Reach, right: Reach) -> Reach {
        match (left, right) {
            (spans @ Reach::Spans { .. }, _) | (_, spans @ Reach::Spans { .. }) => spans,
            (Reach::Nothing, other) | (other, Reach::Nothing) => other,
            (Reach::Own, Reach::Own) => Reach::Own,
            (Reach::Pinned(a), Reach::Pinned(b)) if a == b => Reach::Pinned(a),
            (Reach::Pinned(a), Reach::Pinned(b)) => {
                let (a, b) = (quoted(a.as_bytes()), quoted(b.as_bytes()));
                self.spans(expr, format!("the services {a} and {b} may be in different partitions"))
            }
            (Reach::Pinned(one), Reach::Own | Reach::Moved)
            | (Reach::Own | Reach::Moved, Reach::Pinned(one)) => {
                let one = quoted(one.as_bytes());
                self.spans(expr, format!("it looks at series of every service beside those of {one}"))
            }
            (Reach::Moved, Reach::Own | Reach::Moved) | (Reach::Own, Reach::Moved) => {
                self.spans(expr, format!("it joins by a label {} that was written anew", self.service_label))
            }
        }
    }

    fn tells_apart(&self, grouping: &Grouping) -> bool {
        match grouping {
            Grouping::By(names) => names.iter().any(|name| name == self.service_label),
            Grouping::Without(names) => names.iter().all(|name| name != self.service_label),
        }
    }
}

fn words(only: &str, except: &str, grouping: &Grouping) -> String {
    match grouping {
        Grouping::By(names) => format!("{only} ({})", names.join(", ")),
        Grouping::Without(names) => format!("{except} ({})", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(text: &str) -> Survey {
        let spans = Reach::Spans { why: String::new(), offset: 0 };
        let pinned = Reach::Pinned("a".to_owned());
        let recorded = BTreeMap::from([("wide".to_owned(), spans), ("of_a".to_owned(), pinned)]);
        Survey::of(text, "service", &recorded).expect(text)
    }

    #[test]
    fn what_keeps_or_pins_the_service_needs_one_partition() {
        for text in [
            "up",
            "sum by (service, host) (rate(x[5m])) > 3",
            "sum without (host) (x) / ignoring (code) group_left () y",
            "a / on (service) group_left (owner) b",
            "a and b unless c or d",
            "topk by (service) (3, x) * 2 + time()",
            "max_over_time(sum by (service) (x)[1h:1m])",
            "histogram_quantile(0.9, sum by (service, le) (x))",
            "x and on () (hour() > 8)",
            "x / on (service) y{service=\"a\"}",
            "clamp_max(x, 3) or vector(0)",
        ] {
            assert_eq!(survey(text).reach, Reach::Own, "{text}");
        }
        for text in [
            "sum(x{service=\"a\"})",
            "x{service=\"a\"} > scalar(max(y{service=\"a\"}))",
            "sum(of_a) + on () group_left () of_a",
        ] {
            assert_eq!(survey(text).reach, Reach::Pinned("a".to_owned()), "{text}");
        }
        assert_eq!(survey("vector(1) + time()").reach, Reach::Nothing);
        assert_eq!(survey("label_replace(x, \"service\", \"$1\", \"host\", \"(.*)\")").reach, Reach::Moved);
        assert_eq!(survey("label_replace(x, \"zone\", \"$1\", \"service\", \"(.*)\")").reach, Reach::Own);
    }

    #[test]
    fn what_combines_services_says_what_does_and_where() {
        for (text, offset, why) in [
            ("1 + sum(x)", 4, "an aggregation by () combines"),
            ("{\"é\"} or count without (service, y) (x)", 9, "an aggregation without (service, y) combines"),
            ("a / on (host) b", 0, "/ on (host) joins series of different services"),
            ("a and ignoring (service) b", 0, "and ignoring (service) joins"),
            ("scalar(x)", 0, "scalar() looks for the one series"),
            ("absent(up{service=\"a\"})", 0, "absent() holds in every partition"),
            ("x > scalar(y{service=\"a\"})", 0, "it looks at series of every service beside those of \"a\""),
            ("sum(x{service=\"a\"}) + sum(x{service=\"b\"})", 0, "the services \"a\" and \"b\" may"),
            ("rate(wide[5m]) > 1", 5, "wide is recorded over several services"),
            (
                "sum by (service) (label_join(x, \"service\", \"-\", \"a\"))",
                0,
                "it groups by a label service that was",
            ),
            ("x + label_join(x, \"service\", \"-\", \"a\")", 0, "it joins by a label service that was"),
            ("quantile by (service) (scalar(sum(y)), x)", 30, "an aggregation by () combines"),
        ] {
            let Reach::Spans { why: found, offset: at } = survey(text).reach else { panic!("{text}") };
            assert!(found.starts_with(why), "{text}: {found}");
            assert_eq!(at, offset, "{text}");
        }
    }

    #[test]
    fn windows_and_fixed_times_are_found_wherever_they_are() {
        let found = survey(
            "{\"é\"} + rate(x[1m]) > max_over_time(deriv(y[30s])[5m:1m] @ 1700000000) and z @ 10 and w @ end()",
        );
        let names: Vec<_> = found.windows.iter().map(|w| (w.function, w.range_ms, w.offset)).collect();
        assert_eq!(names, [("rate", 60_000, 8), ("deriv", 30_000, 36)]);
        assert_eq!(found.fixed.len(), 2);
        assert_eq!(survey("rate((x[1m])) + sum_over_time(x[1m])").windows.len(), 1);
    }
}
