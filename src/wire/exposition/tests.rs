use super::*;
use proptest::prelude::*;

fn read<'a>(format: Format, body: &'a str) -> Vec<Exposed<'a>> {
    parse(format, body.as_bytes()).unwrap_or_else(|fault| panic!("{fault}\n{body}"))
}

fn refused(format: Format, body: &str) -> String {
    parse(format, body.as_bytes()).expect_err(body).to_string()
}

fn exposed<'a>(
    name: &'a str,
    labels: &[(&'a str, &'a str)],
    time_ms: Option<i64>,
    value: f64,
) -> Exposed<'a> {
    let labels = labels.iter().map(|(name, value)| (*name, Cow::Borrowed(*value))).collect();
    Exposed { name, labels, time_ms, value }
}

#[test]
fn text_has_free_blanks_comments_escapes_and_integer_milliseconds() {
    let body = "# HELP a What a \\n is\n#TYPE a counter\n# just talk\n\n \t a  1\nb{} +Inf\n\
                c { x = \"1\" , y=\"q\\\"b\\\\n\\n\\z\", }\t-1.5e3 -1700\nd:e{x=\"é{}=, \"}0x 12";
    assert_eq!(
        refused(Format::Text, body),
        "line 8, column 16: expected a number, saw \"0x 12\"",
        "hexadecimal is no number"
    );
    let body = body.replace("0x", " 0");
    let samples = read(Format::Text, &body);
    assert_eq!(
        samples,
        [
            exposed("a", &[], None, 1.0),
            exposed("b", &[], None, f64::INFINITY),
            exposed("c", &[("x", "1"), ("y", "q\"b\\n\n\\z")], Some(-1700), -1500.0),
            exposed("d:e", &[("x", "é{}=, ")], Some(12), 0.0),
        ]
    );
}

#[test]
fn open_metrics_has_seconds_exemplars_and_an_end_mark() {
    let body = "# TYPE a histogram\n# UNIT a_seconds seconds\n# HELP a It's a\n\
                a_bucket{le=\"1.0\"} 17 1520879607.789 # {id=\"x y\"} 9.8 1.5\n\
                a_bucket{le=\"+Inf\"} 17 # {} 0.67\na_sum 1.001 -1.001\n# EOF\n";
    let samples = read(Format::OpenMetrics, body);
    assert_eq!(
        samples,
        [
            exposed("a_bucket", &[("le", "1.0")], Some(1_520_879_607_789), 17.0),
            exposed("a_bucket", &[("le", "+Inf")], None, 17.0),
            exposed("a_sum", &[], Some(-1001), 1.001),
        ]
    );
    assert_eq!(read(Format::OpenMetrics, "a 1\n# EOF").len(), 1, "the last line feed may be missing");
}

#[test]
fn nan_is_one_value_whatever_its_spelling() {
    for spelling in ["NaN", "nan", "NAN"] {
        let body = format!("a {spelling}\n");
        assert_eq!(read(Format::Text, &body)[0].value.to_bits(), NORMAL_NAN);
    }
    assert_eq!(read(Format::Text, "a -inf")[0].value, f64::NEG_INFINITY);
}

#[test]
fn a_cut_answer_is_noticed_in_open_metrics() {
    let cut = refused(Format::OpenMetrics, "a 1\nb 2\n");
    assert_eq!(cut, "the answer ends at line 2 without \"# EOF\": it was cut, or is not OpenMetrics");
    assert!(refused(Format::OpenMetrics, "").contains("line 1, column 1: expected a metric name"));
    assert_eq!(
        refused(Format::OpenMetrics, "# EOF\na 1\n"),
        "line 2, column 1: expected nothing after \"# EOF\", saw \"a 1\""
    );
}

#[test]
fn faults_name_line_column_and_what_was_seen() {
    for (format, body, fault) in [
        (
            Format::Text,
            "ok 1\n{x=\"1\"} 2",
            "line 2, column 1: expected a metric name, saw \"{x=\\\"1\\\"} 2\"",
        ),
        (Format::Text, "1a 2", "line 1, column 1: expected a metric name, saw \"1a 2\""),
        (
            Format::Text,
            "a{x=1} 2",
            "line 1, column 5: expected the label's value in double quotes, saw \"1} 2\"",
        ),
        (Format::Text, "a{é=\"\"} 2", "line 1, column 3: expected a label name, saw \"é=\\\"\\\"} 2\""),
        (Format::Text, "a{x=\"é", "line 1, column 7: expected a closing quote, saw \"\""),
        (Format::Text, "a{x=\"\\", "line 1, column 7: expected a closing quote, saw \"\""),
        (
            Format::Text,
            "a{x=\"1\" y=\"2\"} 2",
            "line 1, column 9: expected ',' or '}' after the label, saw \"y=\\\"2\\\"} 2\"",
        ),
        (Format::Text, "a", "line 1, column 2: expected a number, saw \"\""),
        (Format::Text, "a 1e999", "line 1, column 3: expected a number, saw \"1e999\""),
        (
            Format::Text,
            "a 1 1.5",
            "line 1, column 5: expected a timestamp in integer milliseconds, saw \"1.5\"",
        ),
        (Format::Text, "a 1 1 1", "line 1, column 7: expected the end of the line, saw \"1\""),
        (
            Format::Text,
            "a 1 # {} 1",
            "line 1, column 5: expected a timestamp in integer milliseconds, saw \"# {} 1\"",
        ),
        (Format::Text, "# TYPE a goat", "line 1, column 10: expected a metric type, saw \"goat\""),
        (Format::Text, "a{x=\"1\",x=\"2\"} 1", "line 1: the label \"x\" stands twice"),
        (Format::OpenMetrics, "a  1\n# EOF", "line 1, column 3: expected a number, saw \" 1\""),
        (Format::OpenMetrics, "a{x=\"1\",} 1\n# EOF", "line 1, column 9: expected a label name, saw \"} 1\""),
        (
            Format::OpenMetrics,
            "# talk\n# EOF",
            "line 1, column 3: expected HELP, TYPE, UNIT or EOF after \"# \", saw \"talk\"",
        ),
        (
            Format::OpenMetrics,
            "a 1 NaN\n# EOF",
            "line 1, column 5: expected a timestamp in seconds, saw \"NaN\"",
        ),
        (Format::OpenMetrics, "a 1 \n# EOF", "line 1, column 5: expected a timestamp in seconds, saw \"\""),
        (
            Format::OpenMetrics,
            "a 1 # x\n# EOF",
            "line 1, column 7: expected the labels of an exemplar, saw \"x\"",
        ),
    ] {
        assert_eq!(refused(format, body), fault, "{body}");
    }
    assert_eq!(parse(Format::Text, b"a 1\nb \xff"), Err(ExpositionFault::NotUtf8 { line: 2 }));
}

#[test]
fn what_one_sample_may_carry_is_bounded() {
    let labels = |count: usize| (0..count).map(|at| format!("l{at}=\"\",")).collect::<String>();
    assert_eq!(read(Format::Text, &format!("a{{{}}} 1", labels(LABELS_MAX))).len(), 1);
    assert!(refused(Format::Text, &format!("a{{{}}} 1", labels(LABELS_MAX + 1))).contains("bound of 64"));
    assert!(refused(Format::Text, &format!("{} 1", "a".repeat(1025))).contains("bound of 1024"));
    assert!(refused(Format::Text, &format!("a{{x=\"{}\"}} 1", "é".repeat(4097))).contains("bound of 8192"));
    assert!(
        refused(Format::Text, &"a 1\n".repeat(SAMPLES_MAX + 1))
            .contains("line 262145: the number of samples")
    );
}

#[test]
fn the_content_type_chooses_the_format() {
    assert_eq!(Format::of("application/openmetrics-text; version=1.0.0; charset=utf-8"), Format::OpenMetrics);
    assert_eq!(Format::of("Application/OpenMetrics-Text"), Format::OpenMetrics);
    assert_eq!(Format::of("text/plain; version=0.0.4"), Format::Text);
    assert_eq!(Format::of(""), Format::Text);
}

type Plain = (String, Vec<(String, String)>, Option<i64>, f64);

fn plain() -> impl Strategy<Value = Plain> {
    let labels = proptest::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,6}", "[^\r]{0,8}", 0..5)
        .prop_map(|labels| labels.into_iter().collect());
    let value = prop_oneof![any::<f64>().prop_filter("one NaN", |value| !value.is_nan()), Just(1.0)];
    let time = proptest::option::of(-4_000_000_000_000_i64..4_000_000_000_000);
    ("[a-zA-Z_:][a-zA-Z0-9_:]{0,9}", labels, time, value)
}

fn written(format: Format, samples: &[Plain]) -> String {
    let mut out = String::from("# HELP a talk\n");
    for (name, labels, time_ms, value) in samples {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                format!("{name}=\"{value}\"")
            })
            .collect();
        let time = match (format, time_ms) {
            (_, None) => String::new(),
            (Format::Text, Some(ms)) => format!(" {ms}"),
            (Format::OpenMetrics, Some(ms)) => {
                format!(" {}{}.{:03}", if *ms < 0 { "-" } else { "" }, ms.abs() / 1000, ms.abs() % 1000)
            }
        };
        out += &format!("{name}{{{}}} {value:?}{time}\n", labels.join(","));
    }
    out + "# EOF\n"
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(samples in proptest::collection::vec(plain(), 0..8), strict: bool) {
        let format = if strict { Format::OpenMetrics } else { Format::Text };
        let body = written(format, &samples);
        let back: Vec<Plain> = read(format, &body)
            .into_iter()
            .map(|sample| {
                let labels = sample.labels.into_iter().map(|(n, v)| (n.to_owned(), v.into_owned())).collect();
                (sample.name.to_owned(), labels, sample.time_ms, sample.value)
            })
            .collect();
        prop_assert_eq!(back, samples);
    }

    #[test]
    fn mutated_bytes_never_panic(
        samples in proptest::collection::vec(plain(), 0..4),
        strict: bool,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut: prop::sample::Index,
    ) {
        let format = if strict { Format::OpenMetrics } else { Format::Text };
        let mut body = written(format, &samples).into_bytes();
        for (at, byte) in edits {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body.truncate(cut.index(body.len()) + 1);
        if let Ok(samples) = parse(format, &body) {
            prop_assert!(samples.len() <= body.len());
        }
    }
}
