//! Whether the parts of an expression are of the types that its operators and functions take. The texts are
//! Prometheus's.

use super::super::functions::{Aggregation, Operator};
use super::tree::*;

/// Where, and what.
type Fault = (Place, String);

/// Checks one node; what is below it was checked before.
pub(super) fn check(expr: &Expr) -> Result<(), Fault> {
    match &expr.kind {
        Kind::Number(_) | Kind::Text(_) | Kind::Paren(_) | Kind::Selector(_) | Kind::Negate(_) => Ok(()),
        Kind::Subquery(subquery) => {
            let got = subquery.inner.of_type();
            if got == Type::Vector {
                return Ok(());
            }
            let detail = format!("subquery is only allowed on instant vector, got {} instead", got.name());
            Err((subquery.inner.place, detail))
        }
        Kind::Call(function, arguments) => {
            let (least, most) = function.arity();
            let count = arguments.len();
            if count < least || count > most {
                let bound = match (least == most, count < least) {
                    (true, _) => format!("{least}"),
                    (false, true) => format!("at least {least}"),
                    (false, false) => format!("at most {most}"),
                };
                let name = function.name;
                let detail = format!("expected {bound} argument(s) in call to \"{name}\", got {count}");
                return Err((expr.place, detail));
            }
            for (at, argument) in arguments.iter().enumerate() {
                expect(argument, function.argument(at), &format!("call to function \"{}\"", function.name))?;
            }
            Ok(())
        }
        Kind::Aggregate(aggregate) => {
            expect(&aggregate.vector, Type::Vector, "aggregation expression")?;
            let text = aggregate.aggregation == Aggregation::CountValues;
            let wanted = if text { Type::Text } else { Type::Scalar };
            match &aggregate.parameter {
                Some(parameter) => expect(parameter, wanted, "aggregation parameter"),
                None => Ok(()),
            }
        }
        Kind::Binary(binary) => check_binary(binary),
    }
}

fn expect(expr: &Expr, wanted: Type, context: &str) -> Result<(), Fault> {
    let got = expr.of_type();
    if got == wanted {
        return Ok(());
    }
    Err((expr.place, format!("expected type {} in {context}, got {}", wanted.name(), got.name())))
}

fn check_binary(binary: &Binary) -> Result<(), Fault> {
    let Modifiers { returns_bool, matching, group, fill_left, fill_right, place } = &binary.modifiers;
    let (left, right) = (binary.left.of_type(), binary.right.of_type());
    let fault = |detail: &str| Err((*place, detail.to_owned()));
    let compares = matches!(binary.operator, Operator::Comparison(_));
    let is_set = matches!(binary.operator, Operator::And | Operator::Or | Operator::Unless);
    for side in [&binary.left, &binary.right] {
        if !matches!(side.of_type(), Type::Scalar | Type::Vector) {
            let detail = "binary expression must contain only scalar and instant vector types";
            return Err((side.place, detail.to_owned()));
        }
    }
    if *returns_bool && !compares {
        return fault("bool modifier can only be used on comparison operators");
    }
    if compares && left == Type::Scalar && right == Type::Scalar && !returns_bool {
        return Err((binary.right.place, "comparisons between scalars must use BOOL modifier".to_owned()));
    }
    if is_set && (left == Type::Scalar || right == Type::Scalar) {
        let detail = format!("set operator {:?} not allowed in binary scalar expression", binary.symbol);
        return Err((binary.left.place, detail));
    }
    if is_set && group.is_some() {
        return fault(&format!("no grouping allowed for {:?} operation", binary.symbol));
    }
    if is_set && (fill_left.is_some() || fill_right.is_some()) {
        return fault("filling in missing series not allowed for set operators");
    }
    let between_vectors = left == Type::Vector && right == Type::Vector;
    let matches_some =
        matching.as_ref().is_some_and(|(Grouping::By(names) | Grouping::Without(names))| !names.is_empty());
    if !between_vectors && matches_some {
        return fault("vector matching only allowed between instant vectors");
    }
    if !between_vectors && (fill_left.is_some() || fill_right.is_some()) {
        return fault("filling in missing series only allowed between instant vectors");
    }
    if let (Some(Grouping::By(on)), Some(Group::Left(included) | Group::Right(included))) = (matching, group)
        && let Some(both) = included.iter().find(|name| on.contains(name))
    {
        return fault(&format!("label {both:?} must not occur in ON and GROUP clause at once"));
    }
    Ok(())
}
