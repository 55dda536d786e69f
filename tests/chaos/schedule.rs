//! What goes wrong, and when: as text, so that a seed, a person and the simulator can all write one.
//!
//! ```text
//! # time in ms, fault, whom, key=value …
//! 2000 crash primary:0 span=3000
//! 9500 kafka_cut zone:a span=4000 way=up
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Whom a fault meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Whoever is primary of a partition.
    Primary(usize),
    /// A worker of the other zone that hosts the partition.
    Standby(usize),
    /// A worker by its number.
    Worker(usize),
    /// Every worker of a zone.
    Zone(char),
    /// A broker or a ZooKeeper node, from 1.
    Node(u16),
    /// Nobody in particular.
    None,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From the start of the run, milliseconds.
    pub at_ms: u64,
    /// Its name: see `faults.rs`.
    pub code: String,
    pub target: Target,
    pub keys: BTreeMap<String, String>,
}

impl Fault {
    pub fn new(at_ms: u64, code: &str, target: Target, keys: &[(&str, &str)]) -> Self {
        let keys = keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self { at_ms, code: code.to_owned(), target, keys }
    }

    /// How long it lasts, milliseconds.
    pub fn span_ms(&self, default: u64) -> u64 {
        self.keys.get("span").and_then(|span| span.parse().ok()).unwrap_or(default)
    }

    pub fn key(&self, key: &str) -> &str {
        self.keys.get(key).map_or("", String::as_str)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary(partition) => write!(f, "primary:{partition}"),
            Self::Standby(partition) => write!(f, "standby:{partition}"),
            Self::Worker(number) => write!(f, "worker:{number}"),
            Self::Zone(zone) => write!(f, "zone:{zone}"),
            Self::Node(node) => write!(f, "node:{node}"),
            Self::None => f.write_str("-"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::None);
        }
        let fault = || format!("{text:?} is no target: primary:P, standby:P, worker:N, zone:a, node:N or -");
        let (kind, rest) = text.split_once(':').ok_or_else(fault)?;
        let number = || rest.parse::<usize>().map_err(|_| fault());
        match kind {
            "primary" => number().map(Self::Primary),
            "standby" => number().map(Self::Standby),
            "worker" => number().map(Self::Worker),
            "node" => rest.parse().map(Self::Node).map_err(|_| fault()),
            "zone" => rest.chars().next().map(Self::Zone).ok_or_else(fault),
            _ => Err(fault()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.at_ms, self.code, self.target)?;
        self.keys.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let mut next = |what: &str| words.next().ok_or_else(|| format!("{line:?} has no {what}"));
        let at_ms = next("time")?.parse().map_err(|_| format!("{line:?} does not begin with a time"))?;
        let code = next("fault")?.to_owned();
        let target = next("target")?.parse()?;
        let keys = words
            .map(|word| {
                let (key, value) = word.split_once('=').ok_or_else(|| format!("{word:?} is no key=value"))?;
                Ok((key.to_owned(), value.to_owned()))
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { at_ms, code, target, keys })
    }
}

/// Reads a schedule. Blank lines and what is behind a `#` are skipped.
pub fn parse(text: &str) -> Result<Vec<Fault>, String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::parse).collect()
}

/// Chance from a seed: SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `bound` - 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound.max(1)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap_or(0)]
    }
}
