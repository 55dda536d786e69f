//! What the end of an alerts partition says is out: its last marker, and the transitions behind it.
//!
//! A transaction ends with a marker, so the last marker should be the last word. It is not always: a late copy of an
//! EndTxn ends whatever transaction is open (H3), and then the first half of one is out and its marker is not. Each
//! transition carries its `seq` and its place, and the running hash goes on over its bytes, so the marker that the
//! half lacks can be worked out. Who would trust markers alone would emit that half again.

use super::chain;
use crate::wire::Marker;

/// Takes the committed records of the end of an alerts partition, in order.
#[derive(Debug, Clone)]
pub struct Tail {
    out: Option<Marker>,
    whole: bool,
}

impl Tail {
    /// `whole` if reading begins where the partition began: what precedes the first marker can be counted then.
    #[must_use]
    pub fn new(whole: bool) -> Self {
        Self { out: None, whole }
    }

    /// A marker. The highest `seq` counts, and of equals the last: a stray transaction of an old primary hides nothing.
    pub fn marker(&mut self, marker: &Marker) {
        if self.out.as_ref().is_none_or(|out| marker.seq >= out.seq) {
            self.out = Some(marker.clone());
        }
    }

    /// A transition: its `seq`, its place (input offset, ordinal), its rule set and its bytes.
    pub fn transition(&mut self, seq: i64, place: (i64, i32), rule_set_version: i64, bytes: &[u8]) {
        if self.out.is_none() && self.whole && seq == 1 {
            self.out = Some(Self::nothing());
        }
        // Without a marker before it, its running hash is not known: the reader steps further back.
        let Some(out) = self.out.as_mut().filter(|out| out.seq + 1 == seq) else { return };
        out.seq = seq;
        (out.input_offset, out.ordinal) = place;
        out.rule_set_version = rule_set_version;
        out.running_hash = chain(&out.running_hash, bytes);
    }

    /// How far the partition is out, as a marker would say it; none if there was no marker to begin from.
    #[must_use]
    pub fn out(self) -> Option<Marker> {
        self.out
    }

    fn nothing() -> Marker {
        Marker {
            seq: 0,
            input_offset: -1,
            ordinal: 0,
            running_hash: [0; 32],
            epoch: 0,
            lock_czxid: 0,
            rule_set_version: 0,
            engine_version: 0,
            topic_id: String::new(),
            partition_count: 0,
            worker: String::new(),
            zone: String::new(),
            wall_ms: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(seq: i64) -> Vec<u8> {
        seq.to_le_bytes().to_vec()
    }

    fn hash_at(seq: i64) -> [u8; 32] {
        (1..=seq).fold([0; 32], |hash, seq| chain(&hash, &bytes(seq)))
    }

    fn marker(seq: i64, epoch: i64) -> Marker {
        Marker { seq, epoch, running_hash: hash_at(seq), worker: "a".into(), ..Tail::nothing() }
    }

    fn transitions(tail: &mut Tail, seqs: std::ops::RangeInclusive<i64>) {
        seqs.for_each(|seq| tail.transition(seq, (seq * 10, 1), 3, &bytes(seq)));
    }

    #[test]
    fn transitions_behind_the_last_marker_are_out() {
        let mut tail = Tail::new(false);
        transitions(&mut tail, 3..=5);
        tail.marker(&marker(5, 2));
        transitions(&mut tail, 6..=7);
        let out = tail.out().unwrap();
        assert_eq!((out.seq, out.epoch, out.input_offset, out.ordinal), (7, 2, 70, 1));
        assert_eq!((out.rule_set_version, out.running_hash), (3, hash_at(7)));
    }

    #[test]
    fn before_the_first_marker_only_a_whole_partition_tells() {
        let mut whole = Tail::new(true);
        transitions(&mut whole, 1..=2);
        assert_eq!(whole.out().map(|out| (out.seq, out.running_hash)), Some((2, hash_at(2))));
        let mut rest = Tail::new(false);
        transitions(&mut rest, 1..=2);
        assert_eq!(rest.out(), None);
        assert_eq!(Tail::new(true).out(), None);
    }

    #[test]
    fn a_stray_of_an_old_primary_hides_nothing() {
        let mut tail = Tail::new(true);
        tail.marker(&marker(4, 2));
        tail.marker(&marker(3, 1));
        transitions(&mut tail, 2..=4);
        assert_eq!(tail.out(), Some(marker(4, 2)));
    }
}
