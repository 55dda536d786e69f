//! Random expressions that both versions know, and that both work out to the last bit: whole numbers in, and no function
//! whose last digits hang on a library of mathematics.
//!
//! No window and no look-back ends on a sample: samples of the series are never at a multiple of [`GRID_MS`], and every
//! time, range and offset that concerns them is one; what rules record is at such multiples, and ranges over it are not.

use super::random::Random;

/// Every evaluation is at a multiple of this, and no sample.
pub const GRID_MS: i64 = 30_000;
/// Names of the gauges.
pub const GAUGES: [&str; 2] = ["a", "b"];
/// Name of the counter, far from zero.
pub const COUNTER: &str = "c";
/// Name of the gauge whose series never have equal values.
pub const DISTINCT: &str = "d";
/// Name of the classic histogram.
pub const HISTOGRAM: &str = "h_bucket";

/// What an expression may use.
pub struct Vocabulary<'a> {
    /// Names that rules before it record.
    pub recorded: &'a [String],
    /// Whether it may use functions whose last digits differ between the versions.
    pub last_digits: bool,
}

impl Vocabulary<'_> {
    /// A vector.
    pub fn vector(&self, random: &mut Random, depth: u32) -> String {
        if depth == 0 {
            return self.selector(random, "");
        }
        match random.below(if self.last_digits { 15 } else { 14 }) {
            0 | 1 => self.selector(random, ""),
            2 | 3 => self.aggregation(random, depth),
            4..=6 => self.over_time(random, depth),
            7 => self.element_wise(random, depth),
            8 => self.relabelled(random, depth),
            9 | 10 => self.with_scalar(random, depth),
            11 | 12 => self.with_vector(random, depth),
            13 => self.odd(random),
            _ => self.averaged(random, depth),
        }
    }

    /// An instant selector of what is sampled or recorded.
    fn selector(&self, random: &mut Random, range: &str) -> String {
        if range.is_empty() && !self.recorded.is_empty() && random.one_in(3) {
            return random.pick(self.recorded).clone();
        }
        let name = *random.pick(&[GAUGES[0], GAUGES[1], COUNTER, DISTINCT]);
        let matchers =
            ["", "", "{x=\"1\"}", "{x!=\"1\"}", "{x=~\"1|2\", y=\"1\"}", "{y!~\"2.*\"}", "{z=\"\"}"];
        let when = ["", "", "", "", " offset 30s", " offset 2m", " offset -1m", " @ 120", " @ 90 offset 30s"];
        format!("{name}{}{range}{}", random.pick(&matchers), random.pick(&when))
    }

    fn aggregation(&self, random: &mut Random, depth: u32) -> String {
        let grouping =
            *random.pick(&["", "by (x) ", "by (y, x) ", "without (y) ", "without (x) ", "by (nothing) "]);
        if random.one_in(5) {
            let (name, k) = (*random.pick(&["topk", "bottomk"]), 1 + random.below(3));
            return format!("{name} {grouping}({k}, {DISTINCT})");
        }
        let inner = self.vector(random, depth - 1);
        match random.below(7) {
            0 => format!("quantile {grouping}(0.5, {inner})"),
            1 => format!("count_values {grouping}(\"v\", {})", self.selector(random, "")),
            _ => format!("{} {grouping}({inner})", random.pick(&["sum", "min", "max", "count", "group"])),
        }
    }

    fn over_time(&self, random: &mut Random, depth: u32) -> String {
        let range = *random.pick(&["[60s]", "[90s]", "[2m]", "[5m]"]);
        match random.below(6) {
            0 | 1 => {
                let name = *random.pick(&["rate", "increase", "irate", "resets"]);
                format!("{name}({COUNTER}{range})")
            }
            2 => {
                // No step of it is at its edge either.
                let inner = self.vector(random, depth - 1);
                let name =
                    *random.pick(&["max_over_time", "min_over_time", "count_over_time", "last_over_time"]);
                format!("{name}(({inner})[{}:30s])", random.pick(&["100s", "3m10s"]))
            }
            3 if !self.recorded.is_empty() => {
                let name = *random.pick(&["sum_over_time", "count_over_time", "max_over_time", "changes"]);
                format!("{name}({}[{}])", random.pick(self.recorded), random.pick(&["100s", "170s"]))
            }
            4 => format!("quantile_over_time(0.25, {})", self.selector(random, range)),
            _ => {
                let names = [
                    "sum_over_time",
                    "count_over_time",
                    "min_over_time",
                    "max_over_time",
                    "last_over_time",
                    "present_over_time",
                    "changes",
                    "idelta",
                    "delta",
                ];
                format!("{}({})", random.pick(&names), self.selector(random, range))
            }
        }
    }

    fn element_wise(&self, random: &mut Random, depth: u32) -> String {
        let inner = self.vector(random, depth - 1);
        match random.below(5) {
            0 => format!("clamp({inner}, 10, 200)"),
            1 => format!("round({inner}, {})", random.pick(&["1", "10", "0.5"])),
            2 => format!("-({inner})"),
            3 => {
                // Not of what may be NaN: which time that is hangs on the processor that Go runs on.
                let name = *random.pick(&["hour", "minute", "day_of_week", "month", "days_in_month"]);
                format!("{name}({} * 100000)", random.pick(&GAUGES))
            }
            _ => format!("{}({inner})", random.pick(&["abs", "ceil", "floor", "sgn", "sqrt"])),
        }
    }

    fn relabelled(&self, random: &mut Random, depth: u32) -> String {
        let inner = self.vector(random, depth - 1);
        match random.below(3) {
            0 => format!("label_replace({inner}, \"z\", \"<$1>\", \"x\", \"(.*)\")"),
            1 => format!("label_replace({inner}, \"x\", \"\", \"y\", \"1\")"),
            _ => format!("label_join({inner}, \"z\", \"-\", \"x\", \"y\")"),
        }
    }

    fn with_scalar(&self, random: &mut Random, depth: u32) -> String {
        let inner = self.vector(random, depth - 1);
        let scalar = match random.below(4) {
            0 => "time()".to_owned(),
            1 => format!("scalar({COUNTER}{{x=\"1\", y=\"1\"}})"),
            _ => (random.below(300)).to_string(),
        };
        let operator = *random.pick(&["+", "-", "*", "/", "%", ">", "<=", "!=", "== bool", "< bool"]);
        if random.one_in(2) {
            format!("({inner} {operator} {scalar})")
        } else {
            format!("({scalar} {operator} {inner})")
        }
    }

    fn with_vector(&self, random: &mut Random, depth: u32) -> String {
        let (left, right) = (self.vector(random, depth - 1), self.vector(random, depth - 1));
        match random.below(4) {
            0 => {
                let operator =
                    *random.pick(&["and", "or", "unless", "and on (x)", "unless on (y)", "or ignoring (y)"]);
                format!("({left} {operator} {right})")
            }
            1 => {
                let operator = *random.pick(&["+", "-", "*", "<", ">= bool"]);
                format!("({left} {operator} on (x) group_left (z) sum by (x) ({right}))")
            }
            2 => {
                let operator = *random.pick(&["+", "/", "==", "> bool"]);
                format!("(sum by (x) ({left}) {operator} ignoring (y) group_right () {right})")
            }
            _ => {
                format!("({left} {} {right})", random.pick(&["+", "-", "*", "/", "%", ">", "!=", "== bool"]))
            }
        }
    }

    /// What makes series of its own.
    fn odd(&self, random: &mut Random) -> String {
        match random.below(6) {
            0 => format!("absent({}{{x=\"9\", y=\"1\"}})", random.pick(&GAUGES)),
            1 => format!("absent_over_time({}{{y=\"2\"}}[60s])", random.pick(&GAUGES)),
            2 => format!("timestamp({})", random.pick(&GAUGES)),
            3 => format!("histogram_quantile({}, {HISTOGRAM})", random.pick(&["0.5", "0.9", "0", "1"])),
            4 => format!("histogram_quantile(0.25, sum by (le) ({HISTOGRAM}))"),
            _ => "vector(time() / 10)".to_owned(),
        }
    }

    /// What version 3 sums in another order, or with what was rounded away before.
    fn averaged(&self, random: &mut Random, depth: u32) -> String {
        let range = *random.pick(&["[90s]", "[5m]"]);
        match random.below(3) {
            0 => {
                let name = *random.pick(&["avg", "stddev", "stdvar"]);
                format!("{name} by (x) ({})", self.vector(random, depth - 1))
            }
            1 => {
                let name = *random.pick(&["avg_over_time", "stddev_over_time", "stdvar_over_time"]);
                format!("{name}({})", self.selector(random, range))
            }
            _ => format!("deriv({})", self.selector(random, range)),
        }
    }
}
