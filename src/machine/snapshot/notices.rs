//! What the machine says of itself.

use super::fault::SnapshotFault;
use super::reader::Reader;
use super::writer::Writer;
use crate::machine::notice::{Notice, Notices, Standing};

pub(super) fn write(notices: &Notices, to: &mut Writer<'_>) {
    to.count(notices.0.len());
    for (notice, standing) in &notices.0 {
        match notice {
            Notice::Series(service) => {
                to.bytes.push(0);
                to.text(service);
            }
            Notice::Alerts(group, rule) => {
                to.bytes.push(1);
                to.text(group);
                to.text(rule);
            }
            Notice::Firing(service) => {
                to.bytes.push(2);
                to.text(service);
            }
            Notice::Quarantined(offset) => {
                to.bytes.push(3);
                to.signed(*offset);
            }
            Notice::Limit(group, rule) => {
                to.bytes.push(4);
                to.text(group);
                to.text(rule);
            }
        }
        to.signed(standing.since_ms);
        to.bytes.push(u8::from(standing.again) | u8::from(standing.ended) << 1);
    }
}

pub(super) fn read(from: &mut Reader<'_>) -> Result<Notices, SnapshotFault> {
    let mut notices = Notices::default();
    for _ in 0..from.count("notices", 4)? {
        let notice = match from.byte("a notice")? {
            0 => Notice::Series(from.text("a service")?.to_owned()),
            1 => {
                let group = from.text("a rule's group")?.to_owned();
                Notice::Alerts(group, from.text("a rule's name")?.to_owned())
            }
            2 => Notice::Firing(from.text("a service")?.to_owned()),
            3 => Notice::Quarantined(from.signed("an offset in quarantine")?),
            4 => {
                let group = from.text("a rule's group")?.to_owned();
                Notice::Limit(group, from.text("a rule's name")?.to_owned())
            }
            other => return Err(from.malformed("a notice", u64::from(other), "0 to 4")),
        };
        if notices.0.last_key_value().is_some_and(|(last, _)| *last >= notice) {
            return Err(from.disorder("notices"));
        }
        let since_ms = from.signed("since when a notice holds")?;
        let (again, ended) = match from.byte("how a notice stands")? {
            flags @ 0..=3 => (flags & 1 == 1, flags & 2 == 2),
            other => return Err(from.malformed("how a notice stands", u64::from(other), "0 to 3")),
        };
        notices.0.insert(notice, Standing { since_ms, again, ended });
    }
    Ok(notices)
}
