//! The functions of templates: Go's own and Prometheus's, and the few that are refused.
//!
//! Sources: Go's package `text/template`; Prometheus's `template/template.go` and `util/strutil`.

use super::datum::Datum;
use super::format::{printf, quote, time};
use super::humanize::{humanize, humanize_duration, humanize1024};
use super::number::general;
use crate::machine::rules::duration;
use crate::machine::series::translate;
use crate::wire::Labels;
use regex::Regex;
use std::collections::BTreeMap;

/// What a function does with its arguments.
type Body = fn(&[Datum]) -> Result<Datum, String>;

/// A function that a template may call.
#[derive(Clone, Copy)]
pub(super) struct Function {
    pub(super) name: &'static str,
    least: usize,
    most: usize,
    pub(super) body: Body,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

const MANY: usize = usize::MAX;

const fn f(name: &'static str, least: usize, most: usize, body: Body) -> Function {
    Function { name, least, most, body }
}

/// Every function, in order of names.
pub(super) const FUNCTIONS: [Function; 44] = [
    f("and", 1, MANY, |a| {
        Ok(a.iter().find(|d| !d.is_true()).or(a.last()).cloned().unwrap_or(Datum::Nothing))
    }),
    f("args", 0, MANY, |a| Ok(Datum::Map(args(a)))),
    f("eq", 2, MANY, equal),
    f("externalURL", 0, 0, |_| Ok(Datum::Text(String::new()))),
    f("first", 1, 1, first),
    f("ge", 2, 2, |a| ordered(a, |order| order.is_ge())),
    f("graphLink", 1, 1, |a| link(a, 0)),
    f("gt", 2, 2, |a| ordered(a, |order| order.is_gt())),
    f("html", 1, MANY, |a| Ok(Datum::Text(html(&joined(a))))),
    f("humanize", 1, 1, |a| number(a, |value| Ok(humanize(value)))),
    f("humanize1024", 1, 1, |a| number(a, |value| Ok(humanize1024(value)))),
    f("humanizeDuration", 1, 1, |a| number(a, |value| Ok(humanize_duration(value)))),
    f("humanizePercentage", 1, 1, |a| number(a, |value| Ok(general(value * 100.0, Some(4)) + "%"))),
    f("humanizeTimestamp", 1, 1, |a| number(a, humanize_timestamp)),
    f("index", 1, MANY, |a| a[1..].iter().try_fold(a[0].clone(), |datum, key| datum.index(key))),
    f("label", 2, 2, |a| Ok(Datum::Text(labels_of(&a[1])?.get(a[0].text()?).to_owned()))),
    f("le", 2, 2, |a| ordered(a, |order| order.is_le())),
    f("len", 1, 1, |a| a[0].len().map(int)),
    f("lt", 2, 2, |a| ordered(a, |order| order.is_lt())),
    f("match", 2, 2, |a| Ok(Datum::Bool(regex(&a[0])?.is_match(a[1].text()?)))),
    f("ne", 2, 2, |a| a[0].equals(&a[1]).map(|equal| Datum::Bool(!equal))),
    f("not", 1, 1, |a| Ok(Datum::Bool(!a[0].is_true()))),
    f("or", 1, MANY, |a| Ok(a.iter().find(|d| d.is_true()).or(a.last()).cloned().unwrap_or(Datum::Nothing))),
    f("parseDuration", 1, 1, parse_duration),
    f("pathPrefix", 0, 0, |_| Ok(Datum::Text(String::new()))),
    f("print", 0, MANY, |a| Ok(Datum::Text(print(a)))),
    f("printf", 1, MANY, |a| Ok(Datum::Text(printf(a[0].text()?, &a[1..])))),
    f("println", 0, MANY, |a| Ok(Datum::Text(joined(a) + "\n"))),
    f("reReplaceAll", 3, 3, |a| {
        Ok(Datum::Text(regex(&a[0])?.replace_all(a[2].text()?, a[1].text()?).into_owned()))
    }),
    f("safeHtml", 1, 1, |a| Ok(Datum::Text(a[0].text()?.to_owned()))),
    f("slice", 1, 3, slice),
    f("sortByLabel", 2, 2, sort_by_label),
    f("stripDomain", 1, 1, |a| Ok(Datum::Text(strip_domain(a[0].text()?)))),
    f("stripPort", 1, 1, |a| {
        Ok(Datum::Text(host_and_port(a[0].text()?).map_or(a[0].text()?, |(host, _)| host).to_owned()))
    }),
    f("strvalue", 1, 1, |a| Ok(Datum::Text(labels_of(&a[0])?.get("__value__").to_owned()))),
    f("tableLink", 1, 1, |a| link(a, 1)),
    f("title", 1, 1, |a| Ok(Datum::Text(title(a[0].text()?)))),
    f("toDuration", 1, 1, |a| a[0].number().map(Datum::Duration)),
    f("toLower", 1, 1, |a| {
        Ok(Datum::Text(a[0].text()?.chars().map(|c| simple(c, c.to_lowercase())).collect()))
    }),
    f("toTime", 1, 1, |a| a[0].number().map(Datum::Time)),
    f("toUpper", 1, 1, |a| {
        Ok(Datum::Text(a[0].text()?.chars().map(|c| simple(c, c.to_uppercase())).collect()))
    }),
    f("urlQueryEscape", 1, 1, |a| Ok(Datum::Text(escaped(a[0].text()?)))),
    f("urlquery", 1, MANY, |a| Ok(Datum::Text(escaped(&print(a))))),
    f("value", 1, 1, |a| {
        if let Datum::Sample(_, value) = a[0] { Ok(Datum::Number(value)) } else { no_sample(&a[0]) }
    }),
];

/// Functions that Prometheus has and these templates have not, and why.
pub(super) const REFUSED: [(&str, &str); 3] = [
    ("now", "an annotation says the same whenever it is rendered; use $value of an expression with time()"),
    ("call", "there is no function to call"),
    ("js", "an annotation is no script"),
];

impl Function {
    /// By its name.
    pub(super) fn named(name: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|function| function.name == name).copied()
    }

    /// What is wrong with a number of arguments.
    pub(super) fn check_arity(&self, seen: usize) -> Result<(), String> {
        let Self { name, least, most, .. } = self;
        if (*least..=*most).contains(&seen) {
            return Ok(());
        }
        let wanted = match (least == most, *most == MANY) {
            (true, _) => format!("{least}"),
            (false, true) => format!("at least {least}"),
            (false, false) => format!("{least} to {most}"),
        };
        let plural = if *least == 1 && least == most { "" } else { "s" };
        Err(format!("{name} wants {wanted} argument{plural}, it has {seen}"))
    }
}

fn int(value: usize) -> Datum {
    Datum::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn number(arguments: &[Datum], print: impl Fn(f64) -> Result<String, String>) -> Result<Datum, String> {
    print(arguments[0].number()?).map(Datum::Text)
}

/// Whether the first is equal to one of the others.
fn equal(arguments: &[Datum]) -> Result<Datum, String> {
    for other in &arguments[1..] {
        if arguments[0].equals(other)? {
            return Ok(Datum::Bool(true));
        }
    }
    Ok(Datum::Bool(false))
}

fn ordered(arguments: &[Datum], holds: fn(std::cmp::Ordering) -> bool) -> Result<Datum, String> {
    arguments[0].compare(&arguments[1]).map(|order| Datum::Bool(order.is_some_and(holds)))
}

fn first(arguments: &[Datum]) -> Result<Datum, String> {
    let Datum::List(list) = &arguments[0] else {
        return Err(format!("wrong type: a result of query expected, got {}", arguments[0].kind()));
    };
    list.first().cloned().ok_or_else(|| "first() called on vector with no elements".to_owned())
}

fn no_sample<T>(datum: &Datum) -> Result<T, String> {
    Err(format!("wrong type: an element of a result of query expected, got {}", datum.kind()))
}

fn labels_of(datum: &Datum) -> Result<&Labels, String> {
    if let Datum::Sample(labels, _) = datum { Ok(labels) } else { no_sample(datum) }
}

/// Elements with equal labels stay in their order.
fn sort_by_label(arguments: &[Datum]) -> Result<Datum, String> {
    let (name, Datum::List(list)) = (arguments[0].text()?, &arguments[1]) else {
        return Err(format!("wrong type: a result of query expected, got {}", arguments[1].kind()));
    };
    let mut list = list.clone();
    list.sort_by(|a, b| {
        let of =
            |datum: &Datum| labels_of(datum).map(|labels| labels.get(name).to_owned()).unwrap_or_default();
        of(a).cmp(&of(b))
    });
    Ok(Datum::List(list))
}

/// `arg0`, `arg1`, …: how a template is given more than one value.
fn args(arguments: &[Datum]) -> BTreeMap<String, Datum> {
    arguments.iter().enumerate().map(|(at, datum)| (format!("arg{at}"), datum.clone())).collect()
}

/// Go's `Sprint`: a space between two that are no texts.
fn print(arguments: &[Datum]) -> String {
    let mut out = String::new();
    let mut before: Option<&Datum> = None;
    for datum in arguments {
        let texts = [before, Some(datum)].iter().any(|d| matches!(d, Some(Datum::Text(_)) | None));
        out += if texts { "" } else { " " };
        out += &datum.to_string();
        before = Some(datum);
    }
    out
}

/// Go's `Sprintln` without the end of the line.
fn joined(arguments: &[Datum]) -> String {
    arguments.iter().map(Datum::to_string).collect::<Vec<_>>().join(" ")
}

fn html(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '"' => out += "&#34;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

/// Go's dialect, found anywhere in the text.
fn regex(pattern: &Datum) -> Result<Regex, String> {
    let pattern = pattern.text()?;
    Regex::new(&translate(pattern)).map_err(|_| format!("{} is no regular expression", quote(pattern)))
}

/// Bytes of a text from one place to another.
fn slice(arguments: &[Datum]) -> Result<Datum, String> {
    let text = arguments[0].text()?;
    let place = |at: usize, default: usize| match arguments.get(at) {
        None => Ok(default),
        Some(Datum::Int(place)) => {
            usize::try_from(*place).map_err(|_| format!("index out of range: {place}"))
        }
        Some(other) => Err(format!("cannot index slice/array with type {}", other.kind())),
    };
    let (from, to) = (place(1, 0)?, place(2, text.len())?);
    let part = text.get(from..to).ok_or_else(|| format!("index out of range: {from} to {to}"))?;
    Ok(Datum::Text(part.to_owned()))
}

fn parse_duration(arguments: &[Datum]) -> Result<Datum, String> {
    let text = arguments[0].text()?;
    let ms =
        duration::parse_ms(text).ok_or_else(|| format!("not a valid duration string: {}", quote(text)))?;
    Ok(Datum::Number(ms as f64 / 1000.0))
}

fn humanize_timestamp(value: f64) -> Result<String, String> {
    if value.is_finite() { time(value) } else { Ok(general(value, Some(4))) }
}

/// A link to Prometheus's page for an expression, without the server's own address.
fn link(arguments: &[Datum], tab: u8) -> Result<Datum, String> {
    Ok(Datum::Text(format!("/graph?g0.expr={}&g0.tab={tab}", escaped(arguments[0].text()?))))
}

/// Go's `url.QueryEscape`.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// Go's `net.SplitHostPort`; `None` if it is not one.
fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(inner) => Some((inner.strip_suffix(']')?, port)),
        None => (!host.contains([':', '[', ']']) && !port.contains([']', '['])).then_some((host, port)),
    }
}

/// The first part of a host's name, its port kept. An address stays.
fn strip_domain(text: &str) -> String {
    let (host, port) = host_and_port(text).unwrap_or((text, ""));
    if host.parse::<core::net::IpAddr>().is_ok() {
        return text.to_owned();
    }
    let host = host.split('.').next().unwrap_or_default();
    if port.is_empty() { host.to_owned() } else { format!("{host}:{port}") }
}

/// Go's `strings.Title`: the first letter of each word in upper case.
fn title(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .map(|c| {
            let begins =
                !(before.is_alphanumeric() || before == '_') && (before.is_ascii() || before.is_whitespace());
            before = c;
            if begins { simple(c, c.to_uppercase()) } else { c }
        })
        .collect()
}

/// Go maps one character to one: where Unicode's full mapping gives more, the character stays.
fn simple(c: char, mut mapped: impl ExactSizeIterator<Item = char>) -> char {
    if mapped.len() == 1 { mapped.next().unwrap_or(c) } else { c }
}
