//! The walker against apache-avro, over bytes that a writer may write and over bytes that none would.

use super::*;
use crate::wire::schema::{self, Kind};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `observations.avsc` as apache-avro reads it.
#[derive(Debug, Deserialize)]
#[serde(rename = "Observations")]
struct Oracle {
    service: String,
    samples: Vec<OracleSample>,
    checks: Vec<OracleCheck>,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "Sample")]
struct OracleSample {
    name: String,
    labels: BTreeMap<String, String>,
    time_ms: i64,
    value: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename = "CheckResult")]
struct OracleCheck {
    host: String,
    check: String,
    labels: BTreeMap<String, String>,
    status: i32,
    output: String,
    perfdata: String,
    time_ms: i64,
}

fn oracle(body: &[u8]) -> Result<Oracle, Fault> {
    let mut record = Vec::new();
    schema::put_header(&mut record, Kind::Observations);
    record.extend_from_slice(body);
    schema::open(&record)?.decode()
}

/// Holds the two to what the module's essay says of them.
fn compare(body: &[u8]) -> Result<Result<(), Fault>, TestCaseError> {
    match (Batch::parse(body), oracle(body)) {
        (Ok(batch), Ok(oracle)) => {
            same_values(&batch, &oracle)?;
            Ok(Ok(()))
        }
        (Ok(_), Err(fault)) => Err(TestCaseError::fail(format!("only apache-avro refuses: {fault}"))),
        (Err(fault), Err(_)) => Ok(Err(fault)),
        (Err(fault), Ok(_)) => {
            let bounds = ["oversize", "out_of_bounds", "duplicate_label", "trailing_bytes"];
            prop_assert!(bounds.contains(&fault.code()), "only the walker refuses: {fault}");
            Ok(Err(fault))
        }
    }
}

fn same_values(batch: &Batch<'_>, oracle: &Oracle) -> Result<(), TestCaseError> {
    prop_assert_eq!(batch.service(), &oracle.service);
    prop_assert_eq!(batch.samples().count(), oracle.samples.len());
    for (walked, read) in batch.samples().zip(&oracle.samples) {
        prop_assert!(!read.labels.contains_key(METRIC_NAME));
        let mut labels = Labels::from(read.labels.clone());
        labels.set(METRIC_NAME, &read.name);
        prop_assert_eq!(walked.labels(), labels);
        prop_assert_eq!(walked.time_ms, read.time_ms);
        prop_assert_eq!(walked.value.to_bits(), read.value.to_bits());
    }
    prop_assert_eq!(batch.checks().count(), oracle.checks.len());
    for (walked, read) in batch.checks().zip(&oracle.checks) {
        prop_assert!([METRIC_NAME, "host", "check"].iter().all(|own| !read.labels.contains_key(*own)));
        let mut labels = Labels::from(read.labels.clone());
        labels.set(METRIC_NAME, CHECK_STATUS);
        labels.set("host", &read.host);
        labels.set("check", &read.check);
        prop_assert_eq!(walked.labels(), labels);
        prop_assert_eq!((walked.host, walked.check), (&*read.host, &*read.check));
        prop_assert_eq!(i32::from(walked.status), read.status);
        prop_assert_eq!((walked.output, walked.perfdata), (&*read.output, &*read.perfdata));
        prop_assert_eq!(walked.time_ms, read.time_ms);
    }
    Ok(())
}

// --- A writer of our own, which breaks arrays and maps into blocks as Avro allows.

fn long(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut out = Vec::new();
    while rest > 0x7f {
        out.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
    out
}

fn length(bytes: usize) -> Vec<u8> {
    long(i64::try_from(bytes).expect("small"))
}

fn text(text: &str) -> Vec<u8> {
    [length(text.len()), text.as_bytes().to_vec()].concat()
}

/// `cuts` says how many items each block holds; a negative number writes the block's size too.
fn blocks(items: &[Vec<u8>], cuts: &[i8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = items;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let cut = *cuts.next().unwrap_or(&127);
        let (block, others) = rest.split_at(usize::from(cut.unsigned_abs()).clamp(1, rest.len()));
        let bytes = block.concat();
        if cut < 0 {
            out.extend(long(-i64::try_from(block.len()).expect("small")));
            out.extend(length(bytes.len()));
        } else {
            out.extend(length(block.len()));
        }
        out.extend(bytes);
        rest = others;
    }
    out.push(0);
    out
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z_:]{1,10}", 2 => "\\PC{0,12}", 1 => Just(String::new())]
}

fn any_label_name() -> impl Strategy<Value = String> {
    prop_oneof![12 => "[a-z_]{1,6}", 2 => "\\PC{1,6}", 1 => Just("host".to_owned()), 1 => Just("__name__".to_owned()), 1 => any_text()]
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![9 => 0..=253_402_300_799_999_i64, 1 => any::<i64>()]
}

/// Any bits: NaNs, infinities, subnormals, Prometheus's stale marker.
fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        any::<u64>().prop_map(f64::from_bits),
        Just(f64::from_bits(0x7ff0_0000_0000_0002))
    ]
}

fn any_cuts() -> impl Strategy<Value = Vec<i8>> {
    vec(any::<i8>().prop_map(|cut| cut % 5), 1..4)
}

fn any_labels() -> impl Strategy<Value = Vec<u8>> {
    (vec((any_label_name(), any_text()), 0..6), any_cuts()).prop_map(|(pairs, cuts)| {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| [text(name), text(value)].concat()).collect();
        blocks(&pairs, &cuts)
    })
}

fn any_sample() -> impl Strategy<Value = Vec<u8>> {
    ("\\PC{1,12}", any_labels(), any_time(), any_value()).prop_map(|(name, labels, time_ms, value)| {
        [text(&name), labels, long(time_ms), value.to_le_bytes().to_vec()].concat()
    })
}

fn any_check() -> impl Strategy<Value = Vec<u8>> {
    let status = prop_oneof![9 => 0..=3_i64, 1 => any::<i64>()];
    let texts = (any_text(), "\\PC{1,9}", any_text(), any_text());
    (texts, any_labels(), status, any_time()).prop_map(
        |((host, check, output, perfdata), labels, status, time_ms)| {
            [text(&host), text(&check), labels, long(status), text(&output), text(&perfdata), long(time_ms)]
                .concat()
        },
    )
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    ("\\PC{1,12}", vec(any_sample(), 0..8), vec(any_check(), 0..4), any_cuts()).prop_map(
        |(service, samples, checks, cuts)| {
            [text(&service), blocks(&samples, &cuts), blocks(&checks, &cuts)].concat()
        },
    )
}

/// One way to spoil bytes: place, what is done, a byte.
fn spoil(bytes: &mut Vec<u8>, (at, how, byte): (prop::sample::Index, u8, u8)) {
    if bytes.is_empty() {
        return bytes.push(byte);
    }
    let at = at.index(bytes.len());
    match how % 6 {
        0 => bytes[at] = byte,
        1 => bytes[at] ^= 1 << (byte % 8),
        2 => bytes.insert(at, byte),
        3 => drop(bytes.remove(at)),
        4 => bytes.truncate(at),
        _ => bytes.extend_from_within(at..),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_walker_and_apache_avro_read_the_same_values(body in any_body()) {
        compare(&body)?.ok();
    }

    #[test]
    fn spoilt_bytes_get_the_same_verdict(
        mut body in any_body(),
        spoils in vec((any::<prop::sample::Index>(), any::<u8>(), any::<u8>()), 1..4),
    ) {
        spoils.into_iter().for_each(|one| spoil(&mut body, one));
        compare(&body)?.ok();
    }

    #[test]
    fn arbitrary_bytes_get_the_same_verdict(body in vec(any::<u8>(), 0..200)) {
        compare(&body)?.ok();
    }
}

// --- By hand: what the generators reach seldom.

fn sample(labels: &[(&str, &str)]) -> Vec<u8> {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| [text(name), text(value)].concat()).collect();
    [text("up"), blocks(&pairs, &[127]), long(1), 1_f64.to_le_bytes().to_vec()].concat()
}

fn body(samples: &[Vec<u8>]) -> Vec<u8> {
    [text("shop"), blocks(samples, &[127]), vec![0]].concat()
}

fn verdict(body: &[u8]) -> Result<(), Fault> {
    compare(body).expect("the two agree")
}

#[test]
fn every_prefix_of_a_batch_is_refused_and_the_whole_is_read() {
    let check = [text("h"), text("c"), vec![0], long(2), text("out"), text(""), long(1)].concat();
    let whole =
        [text("shop"), blocks(&[sample(&[("a", "1")]), sample(&[])], &[1]), blocks(&[check], &[-1])].concat();
    assert_eq!(verdict(&whole), Ok(()));
    for end in 0..whole.len() {
        assert_eq!(verdict(&whole[..end]).expect_err("cut").code(), "truncated", "cut at {end}");
    }
}

#[test]
fn a_label_name_may_stand_once_in_any_order() {
    assert_eq!(verdict(&body(&[sample(&[("b", "1"), ("a", "2")])])), Ok(()));
    for twice in [[("a", "1"), ("a", "2")], [("b", "1"), ("__name__", "x")], [("__name__", "x"), ("b", "1")]]
    {
        assert_eq!(verdict(&body(&[sample(&twice)])), Err(Fault::DuplicateLabel));
    }
    let apart = sample(&[("a", "1"), ("b", "2"), ("a", "3")]);
    assert_eq!(verdict(&body(&[apart])), Err(Fault::DuplicateLabel));
}

#[test]
fn sixty_four_labels_are_read_and_one_more_is_refused() {
    let names: Vec<String> = (0..65).rev().map(|at| format!("label_{at:02}")).collect();
    let pairs: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    assert_eq!(verdict(&body(&[sample(&pairs[..64])])), Ok(()));
    let fault = verdict(&body(&[sample(&pairs)])).expect_err("one too many");
    assert_eq!(fault, Fault::OutOfBounds { field: "labels", value: 65, bound: "at most 64 labels" });
}

#[test]
fn a_count_beyond_the_bytes_takes_no_memory() {
    for count in [i64::MAX, i64::MIN, -i64::MAX, 1 << 40, -(1 << 40)] {
        let lie = [text("shop"), long(count), long(9)].concat();
        assert_eq!(verdict(&lie).expect_err("a lie").code(), "truncated", "{count}");
    }
}

#[test]
fn the_halves_of_a_character_in_two_texts_are_not_utf8() {
    // U+00FC is C3 BC: one half ends the metric's name, the other would begin a label's.
    let halves = [&[4][..], b"u", &[0xC3, 2, 2, 0xBC, 2, b'x', 0, 2], &1_f64.to_le_bytes()].concat();
    assert_eq!(verdict(&body(&[halves])), Err(Fault::NotUtf8 { field: "samples.name" }));
}

#[test]
fn names_times_and_sizes_are_bounded() {
    let code = |body: &[u8]| verdict(body).expect_err("out of bounds").code();
    assert_eq!(code(&body(&[sample(&[("", "x")])])), "out_of_bounds");
    assert_eq!(code(&body(&[sample(&[(&"n".repeat(1025), "x")])])), "out_of_bounds");
    assert_eq!(code(&body(&[sample(&[("n", &"x".repeat(8193))])])), "out_of_bounds");
    assert_eq!(verdict(&body(&[sample(&[(&"n".repeat(1024), &"x".repeat(8192))])])), Ok(()));
    assert_eq!(code(&[text(""), vec![0, 0]].concat()), "out_of_bounds");
    assert_eq!(code(&[text("shop"), vec![0, 0, 0]].concat()), "trailing_bytes");
    assert_eq!(Batch::parse(&vec![0; (1 << 20) + 1]).expect_err("too long").code(), "oversize");
}
