//! Text to story.

use bellwether::machine::rules::duration;
use bellwether::machine::series::STALE_NAN_BITS;
use bellwether::wire::{Labels, Limits};

/// A parsed story.
pub struct Story {
    /// Why promtool cannot tell it, if it says so.
    pub not_for_promtool: Option<String>,
    /// Its items, in order of their times.
    pub items: Vec<Item>,
    /// Lines before the first item.
    pub preamble: Vec<String>,
}

/// An input and the lines that it was read from, outputs left out.
pub struct Item {
    pub at_ms: i64,
    pub input: Input,
    pub lines: Vec<String>,
}

/// One sample of a story.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub service: String,
    pub labels: Labels,
    pub time_ms: i64,
    pub value: f64,
}

/// What happens.
#[derive(Debug)]
pub enum Input {
    Rules {
        version: Option<i64>,
        limits: Limits,
        /// 0: not known.
        partitions: i64,
        yaml: String,
    },
    /// Somebody without a trusted key says that an hour has passed, and that there are no rules.
    Forge,
    /// A worker says that the record at this offset is skipped.
    Quarantine(i64),
    /// A record that is in quarantine.
    Skipped,
    /// Steps of a regular feed: arrival and what arrives.
    Feed(Vec<(i64, Vec<Point>)>),
    Check {
        service: String,
        host: String,
        check: String,
        status: u8,
        output: String,
        time_ms: i64,
    },
    Garbage,
    Tick,
    Ticks(bool),
    /// How far apart ticks are from here on, milliseconds.
    TickEvery(i64),
    BrokerClock(i64),
    WorkerClock(i64),
    Show,
    End,
}

pub fn parse(text: &str) -> Result<Story, String> {
    let mut story = Story { not_for_promtool: None, items: Vec::new(), preamble: Vec::new() };
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("    -> ") && !line.starts_with("       | ")).collect();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        at += 1;
        if let Some(why) = line.strip_prefix("# promtool: ") {
            story.not_for_promtool = Some(why.to_owned());
        }
        if line.is_empty() || line.starts_with('#') {
            match story.items.last_mut() {
                Some(item) => item.lines.push(line.to_owned()),
                None => story.preamble.push(line.to_owned()),
            }
            continue;
        }
        let block: Vec<&str> = lines[at..].iter().copied().take_while(|l| l.starts_with("    ")).collect();
        at += block.len();
        let (at_ms, input) = item(line, &block).map_err(|fault| format!("{line:?}: {fault}"))?;
        let lines = std::iter::once(line).chain(block).map(str::to_owned).collect();
        story.items.push(Item { at_ms, input, lines });
    }
    if story.items.windows(2).any(|pair| pair[0].at_ms > pair[1].at_ms) {
        return Err("the items are not in order of their times".to_owned());
    }
    Ok(story)
}

fn item(line: &str, block: &[&str]) -> Result<(i64, Input), String> {
    let (time, rest) = line.split_once(' ').ok_or("a time and what happens")?;
    if let Some((from, to)) = time.split_once("..") {
        let step = time_ms(rest.strip_prefix("every ").ok_or("`every STEP` follows a span")?)?;
        return Ok((time_ms(from)?, feed(time_ms(from)?, time_ms(to)?, step, block)?));
    }
    let at_ms = time_ms(time)?;
    let (rest, event_ms) = match rest.rsplit_once(" @") {
        Some((rest, event)) => (rest, time_ms(event)?),
        None => (rest, at_ms),
    };
    let words: Vec<&str> = rest.split(' ').collect();
    let input = match words.as_slice() {
        ["rules"] => rules(None, Limits::default(), 0, block),
        ["rules", "partitions", partitions] => {
            let partitions = partitions.parse().map_err(|_| "a number of partitions")?;
            rules(None, Limits::default(), partitions, block)
        }
        ["rules", "limits", series, alerts, firing] => {
            let number = |word: &str| word.parse::<i64>().map_err(|_| "a limit is a number");
            let limits = Limits {
                series: number(series)?,
                alerts: number(alerts)?,
                firing_per_service: number(firing)?,
            };
            rules(None, limits, 0, block)
        }
        ["forge"] => Input::Forge,
        ["quarantine", offset] => Input::Quarantine(offset.parse().map_err(|_| "an offset is a number")?),
        ["skipped"] => Input::Skipped,
        ["rules", "version", version] => {
            let version = version.parse().map_err(|_| "a version is a number")?;
            rules(Some(version), Limits::default(), 0, block)
        }
        ["sample", service, ..] => {
            let (series, value) =
                rest["sample ".len() + service.len() + 1..].rsplit_once(' ').ok_or("a series and a value")?;
            let (service, labels) = ((*service).to_owned(), labels(series)?);
            let point = Point { service, labels, time_ms: event_ms, value: number(value)? };
            Input::Feed(vec![(at_ms, vec![point])])
        }
        ["check", service, host, check, status, ..] => Input::Check {
            service: (*service).to_owned(),
            host: host.strip_prefix("host=").ok_or("host=")?.to_owned(),
            check: check.strip_prefix("check=").ok_or("check=")?.to_owned(),
            status: ["ok", "warning", "critical", "unknown"]
                .iter()
                .position(|word| word == status)
                .and_then(|status| u8::try_from(status).ok())
                .ok_or("ok, warning, critical or unknown")?,
            output: rest
                .split_once('"')
                .and_then(|(_, tail)| tail.strip_suffix('"'))
                .unwrap_or("")
                .to_owned(),
            time_ms: event_ms,
        },
        ["garbage"] => Input::Garbage,
        ["tick"] => Input::Tick,
        ["ticks", "every", step] => Input::TickEvery(time_ms(step)?.max(1)),
        ["ticks", "stop"] => Input::Ticks(false),
        ["ticks", "start"] => Input::Ticks(true),
        ["broker", "clock", skew] => Input::BrokerClock(signed_ms(skew)?),
        ["worker", "clock", skew] => Input::WorkerClock(signed_ms(skew)?),
        ["show"] => Input::Show,
        ["end"] => Input::End,
        _ => return Err("no such thing happens in stories".to_owned()),
    };
    Ok((at_ms, input))
}

fn rules(version: Option<i64>, limits: Limits, partitions: i64, block: &[&str]) -> Input {
    Input::Rules { version, limits, partitions, yaml: unindented(block) }
}

fn unindented(block: &[&str]) -> String {
    block.iter().map(|line| format!("{}\n", &line[4..])).collect()
}

fn time_ms(text: &str) -> Result<i64, String> {
    duration::parse_ms(text).ok_or_else(|| format!("{text:?} is no time"))
}

fn signed_ms(text: &str) -> Result<i64, String> {
    match text.strip_prefix('-') {
        Some(text) => time_ms(text).map(|ms| -ms),
        None => time_ms(text.trim_start_matches('+')),
    }
}

fn number(text: &str) -> Result<f64, String> {
    if text == "stale" {
        return Ok(f64::from_bits(STALE_NAN_BITS));
    }
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn labels(series: &str) -> Result<Labels, String> {
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut pairs = vec![("__name__".to_owned(), name.to_owned())];
    for pair in rest.strip_suffix('}').ok_or("an unclosed {")?.split(',').filter(|pair| !pair.is_empty()) {
        let (label, value) = pair.split_once('=').ok_or("label=\"value\"")?;
        pairs.push((label.trim().to_owned(), value.trim_matches('"').to_owned()));
    }
    Ok(Labels::new(pairs))
}

fn feed(from_ms: i64, to_ms: i64, step_ms: i64, block: &[&str]) -> Result<Input, String> {
    let mut steps: Vec<(i64, Vec<Point>)> = (0..)
        .map(|n| from_ms + n * step_ms)
        .take_while(|ms| *ms <= to_ms)
        .map(|ms| (ms, Vec::new()))
        .collect();
    for line in block {
        let mut words = line.trim().splitn(2, ' ');
        let service = words.next().unwrap_or_default();
        let rest = words.next().ok_or("SERVICE SERIES VALUES")?;
        let end = if rest.contains('{') {
            rest.find('}').ok_or("an unclosed {")? + 1
        } else {
            rest.find(' ').ok_or("values")?
        };
        let labels = labels(&rest[..end])?;
        let mut values = Vec::new();
        for word in rest[end..].split_whitespace() {
            expand(word, &mut values)?;
        }
        if values.len() > steps.len() {
            return Err(format!("{} values for {} steps: {line}", values.len(), steps.len()));
        }
        for ((time_ms, points), value) in steps.iter_mut().zip(values) {
            let Some(value) = value else { continue };
            points.push(Point {
                service: service.to_owned(),
                labels: labels.clone(),
                time_ms: *time_ms,
                value,
            });
        }
    }
    Ok(Input::Feed(steps))
}

/// promtool's notation: `a`, `axn` (n more of it), `a+bxn`, `a-bxn`, `_`, `_xn` (n of them), `stale`.
fn expand(word: &str, out: &mut Vec<Option<f64>>) -> Result<(), String> {
    let Some((head, times)) = word.split_once('x') else {
        out.push(if word == "_" { None } else { Some(number(word)?) });
        return Ok(());
    };
    let times: u32 = times.parse().map_err(|_| format!("{word:?}: how often?"))?;
    if head == "_" {
        out.extend((0..times).map(|_| None));
        return Ok(());
    }
    let sign = head.char_indices().skip(1).find(|(_, c)| ['+', '-'].contains(c)).map(|(at, _)| at);
    let (start, step) = match sign {
        Some(at) => (number(&head[..at])?, number(&head[at..])?),
        None => (number(head)?, 0.0),
    };
    out.extend((0..=times).map(|n| Some(start + step * f64::from(n))));
    Ok(())
}
