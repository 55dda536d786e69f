//! A plan's faults as a schedule for real processes: `tests/chaos/run --schedule FILE` plays it.
//!
//! A line a fault: `time_ms fault target key=value…`. What has no counterpart among processes stands there as a comment.
//! Two things are lost on the way: a real fault meets its worker at its time, not at a moment between two calls, and a
//! partition's log is spoilt as a test can spoil it.

use super::fault::{Aim, Fault, Kind, Plan};

/// Writes it.
#[must_use]
pub fn schedule(plan: &Plan) -> String {
    let mut text = format!("# bellwether sim --seed {} --schedule\n", plan.seed);
    for fault in &plan.faults {
        text += &match counterpart(fault.kind) {
            Some(name) => line(fault, name),
            None => format!("# {} {}: no counterpart among processes\n", fault.at_ms, fault.kind.code()),
        };
    }
    text
}

fn line(fault: &Fault, name: &str) -> String {
    let partition = fault.partition;
    let target = match fault.aim {
        Aim::Primary => format!("primary:{partition}"),
        Aim::Standby => format!("standby:{partition}"),
        Aim::Worker(number) => format!("worker:{number}"),
    };
    let span = if fault.span_ms > 0 { format!(" span={}", fault.span_ms) } else { String::new() };
    format!("{} {name} {target}{span}\n", fault.at_ms)
}

/// What `tests/chaos/faults.rs` calls it.
fn counterpart(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Crash => "crash",
        Kind::MachineGone => "machine_gone",
        Kind::CrashAll => "crash_all",
        Kind::Pause => "pause",
        Kind::Hang => "hang",
        // The same binary: what an upgrade does besides is a planned stop.
        Kind::Stop | Kind::Upgrade => "stop",
        Kind::SessionLost => "session_lost",
        Kind::KeeperDown => "zookeeper_down",
        Kind::KeeperCut => "zookeeper_cut",
        Kind::KafkaCut => "kafka_cut",
        Kind::KafkaStall => "kafka_stall",
        Kind::EndTxnLate | Kind::EndTxnTwice => "end_txn_late",
        Kind::EndTxnUnanswered => "end_txn_unanswered",
        Kind::EndTxnLost => "end_txn_lost",
        Kind::LeaderMoves => "leader_moves",
        Kind::Truncation => "broker_kill",
        Kind::Garbage => "garbage",
        Kind::StoreFails => "s3_error",
        Kind::StoreFlips => "snapshot_damaged",
        Kind::Rules => "rules",
        Kind::Storm => "storm",
        Kind::Quiet => "quiet",
        Kind::Retention => "log_cut",
        Kind::Gaps | Kind::Forgery | Kind::TailLost => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Moment;

    #[test]
    fn a_plan_is_a_schedule_with_a_line_or_a_comment_for_each_fault() {
        let fault = |kind, aim, span_ms| Fault {
            at_ms: 1_500,
            kind,
            partition: 1,
            aim,
            moment: Moment::Now,
            span_ms,
            detail: 0,
        };
        let faults = vec![
            fault(Kind::Crash, Aim::Primary, 300),
            fault(Kind::Rules, Aim::Worker(2), 0),
            fault(Kind::Gaps, Aim::Standby, 0),
        ];
        let plan = Plan { faults, ..Plan::draw(7) };
        assert_eq!(
            schedule(&plan),
            "# bellwether sim --seed 7 --schedule\n1500 crash primary:1 span=300\n1500 rules worker:2\n\
             # 1500 gaps: no counterpart among processes\n"
        );
    }
}
