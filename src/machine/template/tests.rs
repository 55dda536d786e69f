//! Templates against what Go 1.24 and Prometheus print.

use super::*;

fn render(text: &str, value: f64) -> String {
    let labels =
        Labels::new([("instance", "web-1"), ("job", "api server"), ("n", "2048"), ("__name__", "up")]);
    Template::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}")).render(&Data {
        labels: &labels,
        value,
        asked: None,
    })
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
        (
            "{{ $labels.job | humanize }}",
            0.0,
            "<error expanding template: error calling humanize: \"api server\" is not a number>",
        ),
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
        (
            "{{ printf \"%5.1f|%-6s|%05d|%+d|%x\" $value \"ab\" 42 7 \"hi\" }}",
            5.0,
            "  5.0|ab    |00042|+7|6869",
        ),
        ("{{ printf \"%s %s\" \"a\" }}", 5.0, "a %!s(MISSING)"),
        ("{{ printf \"%s\" \"a\" 1 }}", 5.0, "a%!(EXTRA int=1)"),
        ("{{ printf $labels.job }}", 5.0, "api server"),
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
fn conditions_and_loops() {
    let table = [
        ("{{ if gt $value 0.5 }}high{{ else if lt $value 0.1 }}low{{ else }}fair{{ end }}", 0.7, "high"),
        ("{{ if gt $value 0.5 }}high{{ else if lt $value 0.1 }}low{{ else }}fair{{ end }}", 0.05, "low"),
        ("{{ if gt $value 0.5 }}high{{ else if lt $value 0.1 }}low{{ else }}fair{{ end }}", 0.2, "fair"),
        ("{{ if $labels.nothing }}a{{ end }}{{ if not $labels.nothing }}b{{ end }}", 0.0, "b"),
        ("{{ if and $labels.n (eq $labels.job \"api server\" \"db\") }}a{{ end }}", 0.0, "a"),
        ("{{ or $labels.nothing $labels.n }} {{ and 1 0 }}", 0.0, "2048 0"),
        ("{{ with $labels.job }}{{ . | toUpper }}{{ else }}none{{ end }}", 0.0, "API SERVER"),
        ("{{ with .Labels.x }}{{ . }}{{ else with $labels.n }}{{ . }}{{ end }}", 0.0, "2048"),
        (
            "{{ range $name, $text := $labels }}{{ $name }}={{ $text }};{{ end }}",
            0.0,
            "__name__=up;instance=web-1;job=api server;n=2048;",
        ),
        (
            "{{ range $labels }}{{ if eq . \"web-1\" }}{{ continue }}{{ end }}{{ . }},{{ if eq . \"api server\" }}{{ break }}{{ end }}{{ end }}",
            0.0,
            "up,api server,",
        ),
        (
            "{{ range $externalLabels }}x{{ else }}none{{ end }}{{ range $i := 3 }}{{ $i }}{{ end }}",
            0.0,
            "none012",
        ),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $y := 5 }}{{ end }}{{ $x }}", 0.0, "2"),
        (
            "{{ define \"t\" }}<{{ .arg0 }} {{ .arg1 }}>{{ end }}{{ template \"t\" (args $labels.n $value) }}",
            1.5,
            "<2048 1.5>",
        ),
        ("{{ block \"b\" $labels }}{{ .n }}{{ end }}{{ $.Value }}", 3.0, "20483"),
        (
            "{{ (index $labels \"n\") }} {{ len $labels }} {{ ($labels).n }} {{ slice \"abcdef\" 1 3 }}",
            0.0,
            "2048 4 2048 bc",
        ),
        (
            "{{ gt $value 1 }}",
            2.0,
            "<error expanding template: error calling gt: incompatible types for comparison: compare $value with 1.0 and not with 1>",
        ),
    ];
    for (text, value, expected) in table {
        assert_eq!(render(text, value), expected, "{text} of {value}");
    }
}

#[test]
fn functions_of_texts() {
    let table = [
        ("{{ reReplaceAll \"([a-z]+)-([0-9]+)\" \"$2 $1\" $labels.instance }}", "1 web"),
        ("{{ match \"^web\" $labels.instance }} {{ match `\\d{3}` $labels.instance }}", "true false"),
        (
            "{{ stripPort \"host:9100\" }} {{ stripPort \"[::1]:9100\" }} {{ stripPort \"host\" }}",
            "host ::1 host",
        ),
        (
            "{{ stripDomain \"a.b.c:9100\" }} {{ stripDomain \"1.2.3.4:9\" }} {{ \"a.b\" | stripDomain }}",
            "a:9100 1.2.3.4:9 a",
        ),
        (
            "{{ graphLink \"up == 0\" }} {{ tableLink \"a\" }}",
            "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 /graph?g0.expr=a&g0.tab=1",
        ),
        ("{{ parseDuration \"1h30m\" }} {{ parseDuration \"90m\" | humanizeDuration }}", "5400 1h 30m 0s"),
        (
            "{{ 1435065584.128 | toTime }} {{ (toTime 0).Year }} {{ toDuration 5400 }}",
            "2015-06-23 13:19:44.128 +0000 UTC 1970 1h30m0s",
        ),
        (
            "{{ safeHtml \"<b>\" }} {{ html \"<b>\" }} {{ urlquery \"a b\" }} {{ print 1 2 \"a\" 3 }}",
            "<b> &lt;b&gt; a+b 1 2a3",
        ),
        ("[{{ externalURL }}{{ pathPrefix }}{{ $externalURL }}]", "[]"),
    ];
    for (text, expected) in table {
        assert_eq!(render(text, 0.0), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_is_refused_by_name_and_place() {
    let table = [
        ("{{ humanise $value }}", 3, "did you mean humanize?"),
        ("{{ query \"up\" | first | values }}", 24, "did you mean value?"),
        ("{{ query $labels.job }}", 3, "string literal"),
        ("{{ query \"up +\" }}", 3, "unexpected the end"),
        ("{{ printf \"{x=%q}\" $labels.job | query }}", 33, "must hold something"),
        ("{{ now }}", 3, "\"now\" is not supported"),
        ("{{ $label.x }}", 3, "did you mean $labels?"),
        ("{{ $x }}{{ $x := 1 }}", 3, "undefined variable \"$x\""),
        ("{{ if $value }}{{ $x := 1 }}{{ end }}{{ $x }}", 40, "undefined variable"),
        ("{{ }}", 3, "empty"),
        ("{{ $value ", 10, "expected }}"),
        ("{{ \"abc }}", 3, "not closed"),
        ("{{ $value | $labels.x }}", 12, "only a function"),
        ("{{ humanize }}", 3, "humanize wants 1 argument, it has 0"),
        ("a {{ if $value }}x", 5, "{{ if }} has no {{ end }}"),
        ("{{ end }}", 9, "unexpected {{ end }}"),
        ("{{ break }}", 3, "outside"),
        ("{{ template \"x\" }}", 3, "not defined"),
        ("{{ define x }}{{ end }}", 10, "string literal"),
        ("{{ frobnicate 1 }}", 3, "function \"frobnicate\" not defined"),
    ];
    for (text, offset, words) in table {
        let (at, message) = refused(text);
        assert!(message.contains(words), "{text}: {message}");
        assert_eq!(at, offset, "{text}: {message}");
    }
    assert!(
        refused(&format!("{{{{ {}1{} }}}}", "(".repeat(40), ")".repeat(40))).1.contains("deeper than 32")
    );
    assert!(refused(&"{{ if 1 }}".repeat(40)).1.contains("deeper than 32"));
}

#[test]
fn queries_ask_the_store_at_the_time_of_the_rule() {
    let text = "{{ query \"sum(load1)\" | first | value }}:\
        {{ range query (printf \"load1{host='%s'}\" $labels.instance) }}{{ .Labels.host }}={{ .Value }}{{ end }}:\
        {{ with printf `load1{host=%q} > 3` $labels.instance | query }}{{ . | first | label \"host\" }}{{ else }}none{{ end }}:\
        {{ range sortByLabel \"host\" (query \"sort_desc(load1)\") }}{{ .Labels.host }} {{ end }}";
    let mut template = Template::parse(text).expect("it parses");
    let mut store = Store::new(1);
    let interests = template.plans().flat_map(Plan::interests).collect();
    let ids = store.set_interests(interests);
    assert_eq!(ids.len(), 4);
    template.plans_mut().zip(&ids).for_each(|(plan, id)| plan.bind(std::slice::from_ref(id)));
    for (host, value) in [("web-2", 5.0), ("web-1", 2.0)] {
        let series = store.lookup_labels(&Labels::new([("__name__", "load1"), ("host", host)]));
        store.append(series.expect("it is selected"), 1000, value, 1000).expect("in order");
    }
    let labels = Labels::new([("instance", "web-1")]);
    let asked = Some(Asked { store: &store, at_ms: 1000 });
    assert_eq!(template.render(&Data { labels: &labels, value: 0.0, asked }), "7:web-1=2:none:web-1 web-2 ");
    let alone = template.render(&Data { labels: &labels, value: 0.0, asked: None });
    assert!(alone.contains("first() called on vector with no elements"), "{alone}");
}

#[test]
fn what_never_ends_is_ended() {
    let endless = render("{{ define \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}", 0.0);
    assert!(endless.contains("deeper than 100"), "{endless}");
    let long = render("{{ range $i := 90000 }}{{ range $j := 90000 }}{{ end }}{{ end }}", 0.0);
    assert!(long.contains("more than 100000 steps"), "{long}");
}

#[test]
fn a_template_knows_whether_it_depends_on_the_value() {
    let uses = |text| Template::parse(text).expect("it parses").uses_value();
    assert!(uses("{{ printf \"%s\" (humanize $value) }}"));
    assert!(uses("{{ if $labels.x }}{{ with 1 }}{{ $.Value }}{{ end }}{{ end }}"));
    assert!(uses("{{ define \"x\" }}{{ range 3 }}{{ .Value }}{{ end }}{{ end }}"));
    assert!(!uses("{{ $labels.value }} $value"));
}
