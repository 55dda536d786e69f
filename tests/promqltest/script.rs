//! A test file: commands, and under each the lines that belong to it. A blank line or a comment ends them, as in
//! Prometheus.

use bellwether::machine::rules::duration;
use bellwether::machine::unittest::notation::{self, Sequence, number};
use bellwether::wire::Labels;
use regex::Regex;

/// One command.
#[derive(Debug)]
pub enum Command {
    /// Forget what was loaded.
    Clear,
    /// Load samples.
    Load(Load),
    /// Ask, and compare.
    Eval(Eval),
}

/// Samples of series, `step_ms` apart, from the epoch on.
#[derive(Debug)]
pub struct Load {
    pub step_ms: i64,
    /// Classic histograms are loaded as native ones, too.
    pub with_native: bool,
    pub series: Vec<(Labels, Sequence)>,
}

/// A question and its answer.
#[derive(Debug, Default)]
pub struct Eval {
    pub from_ms: i64,
    pub to_ms: i64,
    /// 0 for an instant.
    pub step_ms: i64,
    pub expr: String,
    pub fails: Option<Wanted>,
    pub warnings: Vec<Wanted>,
    pub infos: Vec<Wanted>,
    pub no_warning: bool,
    pub no_info: bool,
    pub ordered: bool,
    pub string: Option<String>,
    pub scalar: Option<f64>,
    pub series: Vec<(Labels, Sequence)>,
    /// Of a range vector: when its first sample is, and how far apart they are, milliseconds.
    pub samples_ms: Option<(i64, i64)>,
}

/// What a message must be.
#[derive(Debug, Clone)]
pub enum Wanted {
    Any,
    Exactly(String),
    Matching(Regex),
}

impl Wanted {
    /// Whether it is. One of ours may go on after the words of Prometheus and a colon.
    pub fn is(&self, message: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(text) => message
                .strip_prefix(text.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(':')),
            Self::Matching(regex) => regex.is_match(message),
        }
    }

    /// `msg: …` or `regex: …`, or nothing.
    fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(message) = text.strip_prefix("msg:") {
            return Ok(Self::Exactly(message.trim().to_owned()));
        }
        match text.strip_prefix("regex:") {
            Some(pattern) => {
                Regex::new(pattern.trim()).map(Self::Matching).map_err(|fault| fault.to_string())
            }
            None if text.is_empty() => Ok(Self::Any),
            None => Err(format!("expected msg: or regex:, found {text:?}")),
        }
    }
}

/// Every command of a file with its line, from 1; or why a line is none.
pub fn commands(text: &str) -> Vec<(usize, Result<Command, String>)> {
    let lines: Vec<&str> = text.lines().map(strip).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let head = lines[at];
        let first = at;
        at += 1;
        if head.is_empty() {
            continue;
        }
        let word = head.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        let takes_lines = word.starts_with("load") || word.starts_with("eval");
        let length = lines[at..].iter().take_while(|line| takes_lines && !line.is_empty()).count();
        let body = &lines[at..at + length];
        at += length;
        commands.push((first + 1, command(&word, head, body)));
    }
    commands
}

/// A line without the space around it; nothing of a comment.
fn strip(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') { "" } else { line }
}

fn command(word: &str, head: &str, body: &[&str]) -> Result<Command, String> {
    match word {
        "clear" => Ok(Command::Clear),
        "load" | "load_with_nhcb" => {
            let step_ms = duration_ms(head[word.len()..].trim())?;
            let series = body.iter().map(|line| series(line)).collect::<Result<_, _>>()?;
            Ok(Command::Load(Load { step_ms, with_native: word.ends_with("nhcb"), series }))
        }
        "eval" | "eval_fail" | "eval_warn" | "eval_info" | "eval_ordered" => {
            let mut eval = question(head)?;
            match word {
                "eval_fail" => eval.fails = Some(Wanted::Any),
                "eval_warn" => eval.warnings.push(Wanted::Any),
                "eval_info" => eval.infos.push(Wanted::Any),
                _ => eval.ordered = word == "eval_ordered",
            }
            body.iter().try_for_each(|line| expectation(&mut eval, line))?;
            Ok(Command::Eval(eval))
        }
        _ => Err(format!("no command: {head:?}")),
    }
}

/// `eval instant at … expr`, `eval range from … to … step … expr`.
fn question(head: &str) -> Result<Eval, String> {
    let instant = Regex::new(r"^\S+\s+instant\s+(?:at\s+(\S+)\s+)?(.+)$").expect("a regex");
    let range =
        Regex::new(r"^\S+\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)$").expect("a regex");
    if let Some(found) = instant.captures(head) {
        let at_ms = found.get(1).map_or(Ok(0), |at| duration_ms(at.as_str()))?;
        return Ok(Eval { from_ms: at_ms, to_ms: at_ms, expr: found[2].to_owned(), ..Eval::default() });
    }
    let Some(found) = range.captures(head) else { return Err(format!("no question: {head:?}")) };
    let (from_ms, to_ms) = (duration_ms(&found[1])?, duration_ms(&found[2])?);
    let step_ms = duration_ms(&found[3])?;
    if step_ms <= 0 {
        return Err("a step goes forward".to_owned());
    }
    Ok(Eval { from_ms, to_ms, step_ms, expr: found[4].to_owned(), ..Eval::default() })
}

/// A line under a question.
fn expectation(eval: &mut Eval, line: &str) -> Result<(), String> {
    if let Some(rest) = line.strip_prefix("expect ") {
        let rest = rest.trim();
        let (what, detail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match what {
            "fail" => eval.fails = Some(Wanted::read(detail)?),
            "warn" => eval.warnings.push(Wanted::read(detail)?),
            "info" => eval.infos.push(Wanted::read(detail)?),
            "no_warn" => eval.no_warning = true,
            "no_info" => eval.no_info = true,
            "ordered" => eval.ordered = true,
            "string" => eval.string = Some(unquoted(detail)?),
            "range" => eval.samples_ms = Some(samples(detail)?),
            _ => return Err(format!("expect what: {line:?}")),
        }
        return Ok(());
    }
    if let Some(message) = line.strip_prefix("expected_fail_message ") {
        eval.fails = Some(Wanted::Exactly(message.trim().to_owned()));
    } else if let Some(pattern) = line.strip_prefix("expected_fail_regexp ") {
        eval.fails = Some(Wanted::Matching(Regex::new(pattern.trim()).map_err(|fault| fault.to_string())?));
    } else if let Some(scalar) = number(line) {
        eval.scalar = Some(scalar);
    } else {
        eval.series.push(series(line)?);
    }
    Ok(())
}

/// `vector from … to … step …`.
fn samples(detail: &str) -> Result<(i64, i64), String> {
    let words: Vec<&str> = detail.split_whitespace().collect();
    match words[..] {
        ["vector", "from", from, "to", _, "step", step] => Ok((duration_ms(from)?, duration_ms(step)?)),
        _ => Err(format!("expect range {detail}: expected vector from … to … step …")),
    }
}

fn unquoted(text: &str) -> Result<String, String> {
    let raw = text.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
    match raw {
        Some(raw) => Ok(raw.to_owned()),
        None => {
            // A text by itself is written as the value of a label is.
            let labels = notation::metric(&format!("{{text={text}}}")).map_err(|fault| fault.to_string())?;
            Ok(labels.get("text").to_owned())
        }
    }
}

fn series(line: &str) -> Result<(Labels, Sequence), String> {
    notation::series(line).map_err(|fault| fault.to_string())
}

/// `1m30s`, `10s`, `1ms`, `0`, and seconds as a number; behind a minus, before the epoch.
fn duration_ms(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        #[allow(clippy::cast_possible_truncation, reason = "times of tests are small")]
        return Ok((seconds * 1000.0).round() as i64);
    }
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let ms = duration::parse_ms(rest).ok_or_else(|| format!("no duration: {text:?}"))?;
    Ok(sign * ms)
}
