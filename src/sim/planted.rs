//! Bugs planted to show that the simulator can find them: small switches at the place of the bug, in the production
//! code where it is there. They exist in test builds only; elsewhere [`planted`] is a constant `false` and nothing of
//! them is left.

/// A bug that somebody could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bug {
    /// The marker is read before `init_transactions` has ended the last primary's transaction (H5).
    ReadBeforeInit,
    /// The producer is kept after a commit that failed or was slow (H3).
    ProducerKept,
    /// Every partition's primary writes into the first alerts partition (H4).
    SharedAlertsPartition,
    /// The marker is kept in the offset of a consumer group, committed inside the transaction (H2).
    MarkerInGroupOffset,
    /// What is out is read from markers alone: a transaction that an old EndTxn ended half-way is not seen (H3).
    MarkersOnly,
    /// The partition's clock follows a stamp that goes back (H15).
    ClockNotClamped,
    /// A leap of the stamps counts without a tick (H15).
    LeapTrusted,
    /// Only the primary says that time passes (H16).
    OnlyPrimaryTicks,
    /// A control record counts whoever signed it, and for whichever partition (H22).
    UnsignedAccepted,
    /// The newest snapshot is restored, whatever the marker says (H1).
    NewestSnapshot,
    /// A snapshot is cut at a certain offset, which the log may not have (H20).
    SnapshotAtOffset,
    /// A full buffer forgets transitions that are not out, and nobody derives them again (H12).
    BufferForgets,
    /// Alerts are judged in the order of a hash map (H28).
    UnorderedOutput,
    /// What the marker says is out is taken to end one before it (H11).
    OffByOne,
    /// A fenced replica fences back at once (H6).
    FencesBack,
}

/// Whether `bug` is planted: never, outside of tests.
#[cfg(not(test))]
pub(crate) const fn planted(_bug: Bug) -> bool {
    false
}

#[cfg(test)]
std::thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
    static COIN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Whether `bug` is planted in this thread.
#[cfg(test)]
pub(crate) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Plants a bug in this thread while `run` runs.
#[cfg(test)]
pub(crate) fn plant<T>(bug: Bug, run: impl FnOnce() -> T) -> T {
    PLANTED.set(Some(bug));
    let outcome = run();
    PLANTED.set(None);
    outcome
}

/// What a hash map's random state would be: another number each time.
#[cfg(test)]
pub(crate) fn coin() -> bool {
    COIN.set(COIN.get().wrapping_add(1));
    COIN.get().is_multiple_of(3)
}

/// Never asked.
#[cfg(not(test))]
pub(crate) const fn coin() -> bool {
    false
}
