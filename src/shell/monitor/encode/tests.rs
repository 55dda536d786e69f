use super::*;
use crate::shell::check::Status;
use crate::wire::Inbound;
use std::time::Duration;

fn check(target: Target) -> Check {
    Check {
        name: "disk".to_owned(),
        service: "shop".to_owned(),
        host: "h1".to_owned(),
        target,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
    }
}

fn scraped(name: &str, label: &str, value: f64) -> ScrapedSample {
    ScrapedSample { name: name.into(), labels: Labels::new([("x", label)]), time_ms: None, value }
}

fn scrape_of(samples: Result<Vec<ScrapedSample>, String>, time_ms: i64, seen: &mut Seen) -> Encoded {
    let target = Labels::new([("job", "node"), ("instance", "h:1")]);
    scrape("shop", Scrape { target, samples, duration: Duration::from_millis(250) }, time_ms, seen)
        .expect("encoded")
}

/// Every item of the records, one line each.
fn lines(encoded: &Encoded) -> Vec<String> {
    let mut lines = Vec::new();
    for record in &encoded.records {
        let Inbound::Observations(batch) = Inbound::read(record).expect("our own record") else {
            panic!("not observations")
        };
        assert_eq!(batch.service(), "shop");
        for result in batch.checks() {
            let (labels, output, perfdata) = (result.labels(), result.output, result.perfdata);
            lines.push(format!("{labels} {} {output:?} {perfdata:?} @{}", result.status, result.time_ms));
        }
        for sample in batch.samples() {
            let stale = sample.value.to_bits() == STALE_NAN_BITS;
            let value = if stale { "stale".to_owned() } else { sample.value.to_string() };
            lines.push(format!("{} {value} @{}", sample.labels(), sample.time_ms));
        }
    }
    lines
}

#[test]
fn a_verdict_is_a_check_result_and_its_performance_data() {
    let found = Verdict {
        status: Status::Warning,
        output: "91%".to_owned(),
        perfdata: "/var=91%;90 broken n=3".to_owned(),
    };
    let encoded = verdict(&check(Target::Plugin(Vec::new())), &found, 1700).expect("encoded");
    assert_eq!(
        lines(&encoded),
        [
            "check_status{check=\"disk\", env=\"prod\", host=\"h1\"} 1 \"91%\" \"/var=91%;90 broken n=3\" @1700",
            "check_perfdata{check=\"disk\", env=\"prod\", host=\"h1\", label=\"/var\", unit=\"%\"} 91 @1700",
            "check_perfdata{check=\"disk\", env=\"prod\", host=\"h1\", label=\"n\"} 3 @1700",
        ]
    );
    assert_eq!(encoded.refused, [("perfdata_malformed", 1)].into());
}

#[test]
fn a_series_that_vanishes_becomes_stale_once() {
    let mut seen = Seen::new();
    let report = |up: u8, count: u8, at: i64| {
        [
            ("up", f64::from(up)),
            ("scrape_duration_seconds", 0.25),
            ("scrape_samples_scraped", f64::from(count)),
        ]
        .map(|(name, value)| format!("{name}{{instance=\"h:1\", job=\"node\"}} {value} @{at}"))
    };
    let first = scrape_of(Ok(vec![scraped("a", "1", 1.0), scraped("b", "1", 2.0)]), 1000, &mut seen);
    assert_eq!(lines(&first)[..2], ["a{x=\"1\"} 1 @1000", "b{x=\"1\"} 2 @1000"]);
    assert_eq!(lines(&first)[2..], report(1, 2, 1000));
    let second = scrape_of(Ok(vec![scraped("a", "1", 3.0)]), 2000, &mut seen);
    assert_eq!(lines(&second)[..2], ["a{x=\"1\"} 3 @2000", "b{x=\"1\"} stale @2000"]);
    let failed = scrape_of(Err("refused".to_owned()), 3000, &mut seen);
    assert_eq!(lines(&failed)[..1], ["a{x=\"1\"} stale @3000"]);
    assert_eq!(lines(&failed)[1..], report(0, 0, 3000));
    assert_eq!(lines(&scrape_of(Err("refused".to_owned()), 4000, &mut seen)), report(0, 0, 4000));
}

#[test]
fn series_with_timestamps_of_their_own_keep_them_and_never_become_stale() {
    let mut seen = Seen::new();
    let stamped = ScrapedSample { time_ms: Some(500), ..scraped("a", "1", 1.0) };
    assert_eq!(lines(&scrape_of(Ok(vec![stamped]), 1000, &mut seen))[0], "a{x=\"1\"} 1 @500");
    assert_eq!(lines(&scrape_of(Ok(Vec::new()), 2000, &mut seen)).len(), 3);
}

#[test]
fn of_a_series_that_stands_twice_the_first_is_kept_and_what_bounds_refuse_is_counted() {
    let long = scraped("a", &"x".repeat(8193), 1.0);
    let early = ScrapedSample { time_ms: Some(-1), ..scraped("c", "1", 1.0) };
    let encoded = scrape_of(
        Ok(vec![scraped("a", "1", 1.0), scraped("a", "1", 2.0), long, early]),
        1000,
        &mut Seen::new(),
    );
    assert_eq!(lines(&encoded)[0], "a{x=\"1\"} 1 @1000");
    assert_eq!(lines(&encoded).len(), 4);
    assert_eq!(encoded.refused, [("duplicate", 1), ("out_of_bounds", 2)].into());
}

#[test]
fn a_large_scrape_becomes_several_records_within_the_bound() {
    let samples: Vec<_> = (0..1000).map(|n| scraped("a", &format!("{n}{}", "x".repeat(4000)), 1.0)).collect();
    let encoded = scrape_of(Ok(samples), 1000, &mut Seen::new());
    let sizes: Vec<usize> = encoded.records.iter().map(Vec::len).collect();
    assert_eq!(sizes.len(), 5, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size < RECORD_BYTES + 8192), "{sizes:?}");
    assert_eq!(lines(&encoded).len(), 1003);
}

#[test]
fn a_check_that_could_never_be_written_is_refused_at_the_start() {
    let mut tcp = check(Target::Tcp(String::new()));
    assert_eq!(writable(&tcp), Ok(()));
    tcp.labels.insert("host".to_owned(), "mine".to_owned());
    assert_eq!(writable(&tcp), Err(Fault::DuplicateLabel));
    let mut scrape = check(Target::Scrape("http://h/".to_owned()));
    scrape.labels.insert("host".to_owned(), "mine".to_owned());
    assert_eq!(writable(&scrape), Ok(()), "a scrape has no host of its own");
    scrape.service = String::new();
    assert!(writable(&scrape).is_err());
}
