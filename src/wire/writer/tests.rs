use crate::wire::{CheckResult, Fault, Inbound, Labels, ObservationsWriter};

fn result(check: &'static str) -> CheckResult<'static> {
    CheckResult {
        key: b"",
        host: "web-1",
        check,
        status: 2,
        output: "CRITICAL",
        perfdata: "t=1s",
        time_ms: 1,
    }
}

#[test]
fn what_a_producer_writes_is_what_the_machine_reads() {
    let labels = Labels::new([("instance", "a:9"), ("zone", "ü")]);
    let mut writer = ObservationsWriter::new("shop").expect("a service");
    assert!(writer.is_empty());
    writer.sample("up", &labels, 1_000, 1.0).expect("a sample");
    writer
        .sample("stale", &Labels::default(), 2_000, f64::from_bits(0x7ff0_0000_0000_0002))
        .expect("a sample");
    writer.check(&result("http"), &labels).expect("a check");
    let most = writer.len();
    let record = writer.finish();
    assert!(record.len() <= most);

    let Inbound::Observations(batch) = Inbound::read(&record).expect("a batch") else { panic!("no batch") };
    assert_eq!(batch.service(), "shop");
    let samples: Vec<_> = batch.samples().collect();
    assert_eq!(samples.len(), 2);
    assert_eq!(samples[0].labels().to_string(), r#"up{instance="a:9", zone="ü"}"#);
    assert_eq!((samples[0].time_ms, samples[0].value), (1_000, 1.0));
    assert_eq!(samples[1].value.to_bits(), 0x7ff0_0000_0000_0002);
    let checks: Vec<_> = batch.checks().collect();
    assert_eq!(checks.len(), 1);
    assert_eq!(CheckResult { key: b"", ..checks[0] }, result("http"));
    assert_eq!(
        checks[0].labels().to_string(),
        r#"check_status{check="http", host="web-1", instance="a:9", zone="ü"}"#
    );
}

#[test]
fn one_series_has_one_key() {
    let mut writer = ObservationsWriter::new("shop").expect("a service");
    for (time_ms, pairs) in [(1, [("b", "2"), ("a", "1")]), (2, [("a", "1"), ("b", "2")])] {
        writer.sample("up", &Labels::new(pairs), time_ms, 0.0).expect("a sample");
    }
    let record = writer.finish();
    let Inbound::Observations(batch) = Inbound::read(&record).expect("a batch") else { panic!("no batch") };
    let keys: Vec<_> = batch.samples().map(|sample| sample.key).collect();
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn what_readers_would_refuse_is_refused_and_changes_nothing() {
    let none = Labels::default();
    let code = |fault: Result<(), Fault>| fault.expect_err("a fault").code();
    assert_eq!(ObservationsWriter::new("").expect_err("no service").code(), "out_of_bounds");
    let mut writer = ObservationsWriter::new("shop").expect("a service");
    let before = writer.clone().finish();
    let long = "x".repeat(8193);
    assert_eq!(code(writer.sample("", &none, 0, 0.0)), "out_of_bounds");
    assert_eq!(code(writer.sample("up", &none, -1, 0.0)), "out_of_bounds");
    assert_eq!(code(writer.sample("up", &Labels::new([("__name__", "x")]), 0, 0.0)), "duplicate_label");
    assert_eq!(code(writer.sample("up", &Labels::new([("a", long.as_str())]), 0, 0.0)), "out_of_bounds");
    let many = Labels::new((0..65).map(|at| (format!("l{at}"), "x")));
    assert_eq!(code(writer.sample("up", &many, 0, 0.0)), "out_of_bounds");
    assert_eq!(code(writer.check(&CheckResult { status: 4, ..result("c") }, &none)), "out_of_bounds");
    assert_eq!(code(writer.check(&result("c"), &Labels::new([("host", "x")]))), "duplicate_label");
    assert_eq!(writer.finish(), before);
}

#[test]
fn a_full_record_says_so_and_is_still_read() {
    let mut writer = ObservationsWriter::new("shop").expect("a service");
    let labels = Labels::new((0..8).map(|at| (format!("label_{at}"), "v".repeat(1000))));
    let mut added = 0;
    let fault = loop {
        match writer.sample("up", &labels, 5, 1.0) {
            Ok(()) => added += 1,
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.code(), "oversize");
    let record = writer.finish();
    assert!(record.len() <= 1 << 20 && record.len() > (1 << 20) - 10_000);
    let Inbound::Observations(batch) = Inbound::read(&record).expect("a batch") else { panic!("no batch") };
    assert_eq!(batch.samples().count(), added);
}
