//! Templates against what Go 1.24 and Prometheus print.

use super::*;

fn render(text: &str, value: f64) -> String {
    let labels =
        Labels::new([("instance", "web-1"), ("job", "api server"), ("n", "2048"), ("__name__", "up")]);
    Template::parse(text)
        .unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
        .render(&Data { labels: &labels, value })
}

fn refused(text: &str) -> (usize, String) {
    let fault = Template::parse(text).expect_err(text);
    (fault.offset, fault.message)
}

#[test]
fn labels_and_value_in_all_their_spellings() {
    assert_eq!(render("{{ $labels.instance }} {{$labels.job}}{{.Labels.nothing}}", 0.0), "web-1 api server");
    assert_eq!(render("{{ $value }}/{{ .Value }}", 1e6), "1e+06/1e+06");
    assert_eq!(
        render("{{ $labels }} {{ $externalLabels.x }}{{ $externalLabels }}", 0.0),
        "map[__name__:up instance:web-1 job:api server n:2048] map[]"
    );
    assert_eq!(render("no action, no {brace}", 0.0), "no action, no {brace}");
}

#[test]
fn space_is_trimmed_where_it_is_asked_for() {
    assert_eq!(render("a {{- $value -}} b", 1.0), "a1b");
    assert_eq!(render("a {{- /* a note */ -}} b {{/* another */}}c", 1.0), "ab c");
    assert_eq!(render("a {{ \"-}}\" }} b", 1.0), "a -}} b");
}

#[test]
fn humanize_family() {
    let table = [
        ("{{ humanize $value }}", 0.0, "0"),
        ("{{ humanize $value }}", 1_234_567.0, "1.235M"),
        ("{{ $value | humanize }}", 0.021, "21m"),
        ("{{ $value | humanize }}", 1e30, "1e+06Y"),
        ("{{ $value | humanize }}", f64::NAN, "NaN"),
        ("{{ $value | humanize }}", f64::INFINITY, "+Inf"),
        ("{{ $value | humanize1024 }}", 1_048_576.0, "1Mi"),
        ("{{ $value | humanize1024 }}", 0.5, "0.5"),
        ("{{ $labels.n | humanize1024 }}", 0.0, "2ki"),
        ("{{ $value | humanizeDuration }}", 0.0, "0s"),
        ("{{ $value | humanizeDuration }}", 899.99, "14m 59s"),
        ("{{ $value | humanizeDuration }}", 90_061.0, "1d 1h 1m 1s"),
        ("{{ $value | humanizeDuration }}", -3_661.0, "-1h 1m 1s"),
        ("{{ $value | humanizeDuration }}", 12.345_67, "12.35s"),
        ("{{ $value | humanizeDuration }}", 0.0012, "1.2ms"),
        ("{{ $value | humanizePercentage }}", -0.22222, "-22.22%"),
        ("{{ $value | humanizePercentage }}", 1.0, "100%"),
        ("{{ $value | humanizeTimestamp }}", 1_435_065_584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
        ("{{ $value | humanizeTimestamp }}", 0.0, "1970-01-01 00:00:00 +0000 UTC"),
        ("{{ $labels.job | humanize }}", 0.0, "<error expanding template: \"api server\" is not a number>"),
    ];
    for (text, value, expected) in table {
        assert_eq!(render(text, value), expected, "{text} of {value}");
    }
}

#[test]
fn printf_is_gos() {
    let table = [
        ("{{ printf \"%.2f%%\" $value }}", 12.345, "12.35%"),
        (
            "{{ printf \"%s is %v, %q\" $labels.instance $value \"a\\\"b\" }}",
            1e6,
            "web-1 is 1e+06, \"a\\\"b\"",
        ),
        ("{{ printf \"%d %s\" $value $value }}", 5.0, "%!d(float64=5) %!s(float64=5)"),
        ("{{ printf \"%.2f|%.3s\" $labels.job $labels.job }}", 5.0, "%!f(string=ap)|api"),
        ("{{ printf \"%g %e %.1e\" $value $value $value }}", 0.000_12, "0.00012 1.200000e-04 1.2e-04"),
        ("{{ printf \"%s\" (humanize $value) | toUpper }}", 2500.0, "2.5K"),
    ];
    for (text, value, expected) in table {
        assert_eq!(render(text, value), expected, "{text} of {value}");
    }
}

#[test]
fn case_functions() {
    assert_eq!(
        render("{{ $labels.job | title }} {{ toUpper \"aß\" }} {{ toLower `ABC` }}", 0.0),
        "Api Server Aß abc"
    );
}

#[test]
fn what_is_not_supported_is_refused_by_name_and_place() {
    let table = [
        ("ab {{ if $value }}x{{ end }}", 6, "\"if\" is not supported"),
        ("{{ humanise $value }}", 3, "did you mean humanize?"),
        ("{{ query \"up\" | first | value }}", 3, "\"query\" is not supported"),
        ("{{ $label.x }}", 3, "did you mean $labels?"),
        ("{{ $externalURL }}", 3, "$externalURL is not supported"),
        ("{{ $labels.a.b }}", 3, "$labels.a.b is not supported"),
        ("{{ }}", 3, "empty"),
        ("{{ $value ", 10, "expected }}"),
        ("{{ \"abc }}", 3, "not closed"),
        ("{{ printf \"%5.1f\" $value }}", 10, "%5.1 is not supported"),
        ("{{ printf \"%f %f\" $value }}", 3, "printf wants 2 arguments here, it has 1"),
        ("{{ printf $value }}", 10, "string literal"),
        ("{{ $value | $labels.x }}", 12, "only a function"),
        ("{{ humanize }}", 3, "humanize wants 1 argument here, it has 0"),
        ("{{ ((((((((($value))))))))) }}", 11, "deeper than 8"),
    ];
    for (text, offset, words) in table {
        let (at, message) = refused(text);
        assert!(message.contains(words), "{text}: {message}");
        assert_eq!(at, offset, "{text}: {message}");
    }
}

#[test]
fn a_template_knows_whether_it_depends_on_the_value() {
    let uses = |text| Template::parse(text).expect("it parses").uses_value();
    assert!(uses("{{ printf \"%s\" (humanize $value) }}"));
    assert!(!uses("{{ $labels.value }} $value"));
}
