//! What goes over the wire: Alertmanager's webhook payload, version 4, and the alerts of its v2 API.
//!
//! The output of the check behind an alert, where there is one, is the annotation `output`, unless the rule has one of
//! that name. `generatorURL` and `externalURL` are empty: there is no console yet to point at.

use crate::notify::{Notification, RESEND_VALID_MS, fingerprint};
use crate::wire::{HeldAlert, Labels};
use jiff::Timestamp;
use serde::Serialize;

/// What Go prints for a time that is not set.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Webhook<'a> {
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: u32,
    status: &'static str,
    receiver: &'a str,
    group_labels: &'a Labels,
    common_labels: Labels,
    common_annotations: Labels,
    #[serde(rename = "externalURL")]
    external_url: &'static str,
    alerts: Vec<WebhookAlert<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WebhookAlert<'a> {
    status: &'static str,
    labels: &'a Labels,
    annotations: Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'static str,
    fingerprint: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostableAlert<'a> {
    labels: &'a Labels,
    annotations: Labels,
    starts_at: String,
    ends_at: String,
}

/// The webhook's body: one line of JSON.
pub(super) fn webhook(notification: &Notification) -> Vec<u8> {
    let alerts = &notification.alerts;
    let annotations: Vec<Labels> = alerts.iter().map(|alert| annotations(alert)).collect();
    let body = Webhook {
        version: "4",
        group_key: &notification.ticket.group,
        truncated_alerts: 0,
        status: status(notification.is_firing()),
        receiver: &notification.receiver,
        group_labels: &notification.group_labels,
        common_labels: common(alerts.iter().map(|alert| &alert.labels)),
        common_annotations: common(annotations.iter()),
        external_url: "",
        alerts: alerts
            .iter()
            .map(|alert| WebhookAlert {
                status: status(alert.is_firing()),
                labels: &alert.labels,
                annotations: self::annotations(alert),
                starts_at: time(alert.fired_ms),
                ends_at: alert.resolved_ms.map_or_else(|| NO_TIME.to_owned(), time),
                generator_url: "",
                fingerprint: format!("{:016x}", fingerprint(&alert.labels)),
            })
            .collect(),
    };
    json(&body)
}

/// A body for `POST /api/v2/alerts`. What fires ends in four minutes, unless it is said again; what is resolved ended
/// in the past, whatever the clock of the event says.
pub(super) fn postable(alerts: &[std::sync::Arc<HeldAlert>], now_ms: i64) -> Vec<u8> {
    let body: Vec<PostableAlert<'_>> = alerts
        .iter()
        .map(|alert| {
            let ends_ms = match alert.resolved_ms {
                None => now_ms.saturating_add(RESEND_VALID_MS),
                Some(resolved_ms) => resolved_ms.min(now_ms.saturating_sub(1)),
            };
            PostableAlert {
                labels: &alert.labels,
                annotations: annotations(alert),
                starts_at: time(alert.fired_ms.min(ends_ms)),
                ends_at: time(ends_ms),
            }
        })
        .collect();
    json(&body)
}

fn json(body: &impl Serialize) -> Vec<u8> {
    // Maps of texts and texts: nothing in them can fail.
    serde_json::to_vec(body).unwrap_or_default()
}

fn status(firing: bool) -> &'static str {
    if firing { "firing" } else { "resolved" }
}

fn annotations(alert: &HeldAlert) -> Labels {
    let mut annotations = alert.annotations.clone();
    if annotations.get("output").is_empty() {
        annotations.set("output", &alert.output);
    }
    annotations
}

fn common<'a>(mut sets: impl Iterator<Item = &'a Labels>) -> Labels {
    let mut common = sets.next().cloned().unwrap_or_default();
    for set in sets {
        let first = common.clone();
        common.retain(|name| set.get(name) == first.get(name));
    }
    common
}

/// As Go prints a time in JSON: `2026-11-22T01:49:46.123Z`.
fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| NO_TIME.to_owned(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::Ticket;
    use crate::wire::{AlertId, NotifyReason};
    use std::sync::Arc;

    fn alert(instance: &str, resolved_ms: Option<i64>) -> Arc<HeldAlert> {
        Arc::new(HeldAlert {
            alert: AlertId([1; 16]),
            seq: 1,
            labels: Labels::new([("alertname", "Disk"), ("instance", instance)]),
            annotations: Labels::new([("summary", "full")]),
            output: "DISK CRITICAL".to_owned(),
            fired_ms: 1_500,
            resolved_ms,
            append_ms: 0,
        })
    }

    #[test]
    fn the_webhook_is_alertmanagers_version_4() {
        let notification = Notification {
            ticket: Ticket { receiver: 0, group: r#"{}:{alertname="Disk"}"#.into() },
            receiver: "pager".into(),
            group_labels: Labels::new([("alertname", "Disk")]),
            alerts: vec![alert("a", None), alert("b", Some(60_000))],
            seq: 2,
            reason: NotifyReason::NewGroup,
            idempotency_key: "c/0/1/2".to_owned(),
            attempt: 1,
        };
        let expected = serde_json::json!({
            "version": "4", "groupKey": "{}:{alertname=\"Disk\"}", "truncatedAlerts": 0, "status": "firing",
            "receiver": "pager", "groupLabels": {"alertname": "Disk"}, "commonLabels": {"alertname": "Disk"},
            "commonAnnotations": {"summary": "full", "output": "DISK CRITICAL"}, "externalURL": "",
            "alerts": [
                {"status": "firing", "labels": {"alertname": "Disk", "instance": "a"},
                 "annotations": {"summary": "full", "output": "DISK CRITICAL"},
                 "startsAt": "1970-01-01T00:00:01.5Z", "endsAt": "0001-01-01T00:00:00Z",
                 "generatorURL": "", "fingerprint": format!("{:016x}", fingerprint(&alert("a", None).labels))},
                {"status": "resolved", "labels": {"alertname": "Disk", "instance": "b"},
                 "annotations": {"summary": "full", "output": "DISK CRITICAL"},
                 "startsAt": "1970-01-01T00:00:01.5Z", "endsAt": "1970-01-01T00:01:00Z",
                 "generatorURL": "", "fingerprint": format!("{:016x}", fingerprint(&alert("b", None).labels))},
            ],
        });
        let body: serde_json::Value = serde_json::from_slice(&webhook(&notification)).expect("JSON");
        assert_eq!(body, expected);
    }

    #[test]
    fn an_alertmanager_hears_an_end_in_the_future_or_in_the_past() {
        let body = postable(&[alert("a", None), alert("b", Some(99_000))], 60_000);
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body[0]["endsAt"], "1970-01-01T00:05:00Z");
        assert_eq!(body[1]["endsAt"], "1970-01-01T00:00:59.999Z");
    }
}
