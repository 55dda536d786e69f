//! Hosts as node_exporter tells of them: the series that `bench rules` evaluates rules over. About five hundred a host,
//! in one batch a host and round; and what else the rules select (MySQL's, Redis's …), a series for each selector.

use crate::machine::rules::{Compiled, Kind};
use crate::machine::series::Selector;
use crate::wire::labels::METRIC_NAME;
use crate::wire::{Fault, Labels, ObservationsWriter};
use std::collections::BTreeSet;

/// Label values of one label of a metric: as many series as there are combinations.
#[derive(Debug, Clone, Copy)]
enum Of {
    These(&'static [&'static str]),
    /// A prefix and how many.
    Numbered(&'static str, usize),
}

/// How the values of a metric move.
#[derive(Debug, Clone, Copy)]
enum Moves {
    /// So much a second, more or less.
    Counter(f64),
    /// About so much.
    Gauge(f64),
    /// Exactly so much.
    Fixed(f64),
}

use Moves::{Counter, Fixed, Gauge};
use Of::{Numbered, These};

type Metric = (&'static str, &'static [(&'static str, Of)], Moves);

const CPU_MODES: Of = These(&["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"]);
const CPUS: (&str, Of) = ("cpu", Numbered("", 16));
const DISKS: &[(&str, Of)] = &[("device", These(&["sda", "sdb", "nvme0n1", "nvme1n1"]))];
const NETS: &[(&str, Of)] = &[("device", These(&["lo", "eth0", "eth1", "bond0", "docker0", "veth0"]))];
const MOUNTS: &[(&str, Of)] = &[
    ("fstype", These(&["ext4"])),
    ("device", These(&["/dev/mapper/root"])),
    ("mountpoint", These(&["/", "/boot", "/data", "/home", "/opt", "/srv", "/tmp", "/var"])),
];
const SENSORS: &[(&str, Of)] = &[("chip", These(&["coretemp"])), ("sensor", Numbered("temp", 8))];
const UNITS: &[(&str, Of)] = &[
    ("name", Numbered("unit-", 20)),
    ("state", These(&["activating", "active", "deactivating", "failed", "inactive"])),
    ("type", These(&["simple"])),
];
const MEMORY: [&str; 16] = [
    "Active",
    "AnonPages",
    "Buffers",
    "Cached",
    "Committed_AS",
    "Dirty",
    "Inactive",
    "Mapped",
    "MemFree",
    "PageTables",
    "SReclaimable",
    "SUnreclaim",
    "Shmem",
    "Slab",
    "SwapCached",
    "Writeback",
];
const NETSTAT: [&str; 12] = [
    "Icmp_InErrors",
    "Icmp_InMsgs",
    "Ip_Forwarding",
    "Tcp_ActiveOpens",
    "Tcp_CurrEstab",
    "Tcp_InErrs",
    "Tcp_InSegs",
    "Tcp_PassiveOpens",
    "Udp_InDatagrams",
    "Udp_InErrors",
    "Udp_NoPorts",
    "Udp_OutDatagrams",
];

const METRICS: &[Metric] = &[
    ("up", &[], Fixed(1.0)),
    ("node_cpu_seconds_total", &[CPUS, ("mode", CPU_MODES)], Counter(0.125)),
    ("node_filesystem_avail_bytes", MOUNTS, Gauge(4e11)),
    ("node_filesystem_free_bytes", MOUNTS, Gauge(4.2e11)),
    ("node_filesystem_size_bytes", MOUNTS, Fixed(1e12)),
    ("node_filesystem_files", MOUNTS, Fixed(6e7)),
    ("node_filesystem_files_free", MOUNTS, Gauge(5e7)),
    ("node_filesystem_readonly", MOUNTS, Fixed(0.0)),
    ("node_filesystem_device_error", MOUNTS, Fixed(0.0)),
    ("node_disk_reads_completed_total", DISKS, Counter(40.0)),
    ("node_disk_writes_completed_total", DISKS, Counter(90.0)),
    ("node_disk_read_bytes_total", DISKS, Counter(2e6)),
    ("node_disk_written_bytes_total", DISKS, Counter(5e6)),
    ("node_disk_read_time_seconds_total", DISKS, Counter(0.05)),
    ("node_disk_write_time_seconds_total", DISKS, Counter(0.2)),
    ("node_disk_io_time_seconds_total", DISKS, Counter(0.3)),
    ("node_disk_io_time_weighted_seconds_total", DISKS, Counter(0.4)),
    ("node_disk_io_now", DISKS, Gauge(2.0)),
    ("node_network_receive_bytes_total", NETS, Counter(3e6)),
    ("node_network_transmit_bytes_total", NETS, Counter(2e6)),
    ("node_network_receive_packets_total", NETS, Counter(4e3)),
    ("node_network_transmit_packets_total", NETS, Counter(3e3)),
    ("node_network_receive_errs_total", NETS, Counter(0.01)),
    ("node_network_transmit_errs_total", NETS, Counter(0.01)),
    ("node_network_receive_drop_total", NETS, Counter(0.1)),
    ("node_network_transmit_drop_total", NETS, Counter(0.1)),
    ("node_network_speed_bytes", NETS, Fixed(1.25e9)),
    ("node_network_mtu_bytes", NETS, Fixed(1500.0)),
    ("node_network_up", NETS, Fixed(1.0)),
    ("node_memory_MemTotal_bytes", &[], Fixed(6.4e10)),
    ("node_memory_MemAvailable_bytes", &[], Gauge(2e10)),
    ("node_memory_SwapTotal_bytes", &[], Fixed(8e9)),
    ("node_memory_SwapFree_bytes", &[], Gauge(7e9)),
    ("node_vmstat_pgmajfault", &[], Counter(3.0)),
    ("node_vmstat_pgfault", &[], Counter(4e3)),
    ("node_vmstat_oom_kill", &[], Fixed(0.0)),
    ("node_vmstat_pswpin", &[], Counter(0.1)),
    ("node_vmstat_pswpout", &[], Counter(0.1)),
    ("node_load1", &[], Gauge(4.0)),
    ("node_load5", &[], Gauge(4.0)),
    ("node_load15", &[], Gauge(4.0)),
    ("node_procs_running", &[], Gauge(5.0)),
    ("node_procs_blocked", &[], Gauge(0.5)),
    ("node_context_switches_total", &[], Counter(3e4)),
    ("node_intr_total", &[], Counter(2e4)),
    ("node_forks_total", &[], Counter(9.0)),
    ("node_boot_time_seconds", &[], Fixed(1.7e9)),
    ("node_time_seconds", &[], Counter(1.0)),
    ("node_filefd_allocated", &[], Gauge(9e3)),
    ("node_filefd_maximum", &[], Fixed(9e5)),
    ("node_nf_conntrack_entries", &[], Gauge(2e4)),
    ("node_nf_conntrack_entries_limit", &[], Fixed(2.6e5)),
    ("node_timex_offset_seconds", &[], Gauge(1e-4)),
    ("node_timex_sync_status", &[], Fixed(1.0)),
    ("node_timex_maxerror_seconds", &[], Gauge(0.2)),
    ("node_entropy_available_bits", &[], Gauge(256.0)),
    ("node_netstat_Tcp_RetransSegs", &[], Counter(5.0)),
    ("node_netstat_Tcp_OutSegs", &[], Counter(4e3)),
    ("node_hwmon_temp_celsius", SENSORS, Gauge(55.0)),
    ("node_hwmon_temp_crit_alarm_celsius", SENSORS, Fixed(0.0)),
    ("node_systemd_unit_state", UNITS, Fixed(0.0)),
    (
        "node_md_disks",
        &[("device", These(&["md0"])), ("state", These(&["active", "failed", "spare"]))],
        Fixed(2.0),
    ),
    ("node_md_disks_required", &[("device", These(&["md0"]))], Fixed(2.0)),
    ("node_edac_correctable_errors_total", &[("controller", Numbered("", 2))], Fixed(0.0)),
    ("node_edac_uncorrectable_errors_total", &[("controller", Numbered("", 2))], Fixed(0.0)),
    ("node_scrape_collector_success", &[("collector", Numbered("collector-", 40))], Fixed(1.0)),
    ("node_scrape_collector_duration_seconds", &[("collector", Numbered("collector-", 40))], Gauge(0.01)),
    ("node_uname_info", &[("release", These(&["6.1.0"])), ("machine", These(&["x86_64"]))], Fixed(1.0)),
];

fn is_active(labels: &[(&str, String)]) -> bool {
    labels.iter().any(|(name, value)| *name == "state" && value == "active")
}

impl Of {
    fn len(self) -> usize {
        match self {
            Self::These(values) => values.len(),
            Self::Numbered(_, count) => count,
        }
    }

    fn value(self, at: usize) -> String {
        match self {
            Self::These(values) => values[at].to_owned(),
            Self::Numbered(prefix, _) => format!("{prefix}{at}"),
        }
    }
}

/// What every host tells: node_exporter's series, and these beside them.
#[derive(Debug, Clone, Default)]
pub struct Host {
    beside: Vec<(String, Labels, Moves)>,
}

impl Host {
    /// A host that has what these rules select, too, where a series can be made for a selector: one that names its
    /// metric. What rules and baselines record is left to them.
    #[must_use]
    pub fn of(rules: &Compiled) -> Self {
        let rules = || rules.groups.iter().flat_map(|group| &group.rules);
        let recorded =
            rules().filter(|rule| matches!(rule.kind, Kind::Recording)).map(|rule| rule.name.clone());
        let known: BTreeSet<String> = recorded.chain(names()).collect();
        let interests = rules().flat_map(|rule| rule.plans()).flat_map(|plan| plan.interests());
        let made: BTreeSet<(String, Labels)> = interests
            .filter_map(|interest| Some((interest.selector.metric_name()?.to_owned(), interest.selector)))
            .filter(|(name, _)| !known.contains(name) && !name.contains(':'))
            .filter_map(|(name, selector)| Some((name, selected_by(&selector)?)))
            .collect();
        let moving = |(name, labels): (String, Labels)| {
            let counts = ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix));
            (name, labels, if counts { Counter(10.0) } else { Gauge(100.0) })
        };
        Self { beside: made.into_iter().map(moving).collect() }
    }

    /// Series of one host.
    #[must_use]
    pub fn series(&self) -> usize {
        let of = |labels: &[(&str, Of)]| labels.iter().map(|(_, of)| of.len()).product::<usize>();
        let own = METRICS.iter().map(|(_, labels, _)| of(labels)).sum::<usize>();
        own + MEMORY.len() + NETSTAT.len() + self.beside.len()
    }

    /// One host's batch of a round.
    pub fn batch(&self, host: usize, round: usize, round_ms: i64, time_ms: i64) -> Result<Vec<u8>, Fault> {
        let mut writer = ObservationsWriter::new(&format!("host-{host:05}"))?;
        self.samples(host, round, round_ms as f64 / 1000.0, |name, labels, value| {
            writer.sample(name, labels, time_ms, value)
        })?;
        Ok(writer.finish())
    }

    /// Calls `each` with every series of a host and its value at a round: name, labels, value. Some hosts are in trouble:
    /// one in fifty has a full disk, one in a hundred is down.
    pub fn samples<E>(
        &self,
        host: usize,
        round: usize,
        round_s: f64,
        mut each: impl FnMut(&str, &Labels, f64) -> Result<(), E>,
    ) -> Result<(), E> {
        let instance = format!("host-{host:05}.example:9100");
        let mut number = 0;
        let mut tell = |name: &str, own: &[(&str, String)], moves: Moves| {
            number += 1;
            let fixed = [("instance", instance.as_str()), ("job", "node")];
            let labels = Labels::new(own.iter().map(|(name, value)| (*name, value.as_str())).chain(fixed));
            let mut value = value(moves, host, number, round, round_s);
            match name {
                "up" if host.is_multiple_of(100) => value = 0.0,
                "node_filesystem_avail_bytes" if host % 50 == 1 => value /= 50.0,
                "node_systemd_unit_state" if is_active(own) => value = 1.0,
                "node_md_disks" if !is_active(own) => value = 0.0,
                _ => {}
            }
            each(name, &labels, value)
        };
        for (name, labels, moves) in METRICS {
            let combinations = labels.iter().map(|(_, of)| of.len()).product::<usize>();
            for at in 0..combinations {
                let mut rest = at;
                let mut own = Vec::with_capacity(labels.len());
                for (label, of) in *labels {
                    own.push((*label, of.value(rest % of.len())));
                    rest /= of.len();
                }
                tell(name, &own, *moves)?;
            }
        }
        for name in MEMORY {
            tell(&format!("node_memory_{name}_bytes"), &[], Gauge(1e9))?;
        }
        for name in NETSTAT {
            tell(&format!("node_netstat_{name}"), &[], Counter(10.0))?;
        }
        for (number, (name, labels, moves)) in self.beside.iter().enumerate() {
            let mut labels = labels.clone();
            labels.set("instance", &instance);
            each(name, &labels, value(*moves, host, number, round, round_s))?;
        }
        Ok(())
    }
}

/// Names of node_exporter's metrics.
fn names() -> impl Iterator<Item = String> {
    let tables = METRICS.iter().map(|(name, _, _)| (*name).to_owned());
    let memory = MEMORY.iter().map(|name| format!("node_memory_{name}_bytes"));
    tables.chain(memory).chain(NETSTAT.iter().map(|name| format!("node_netstat_{name}")))
}

/// Labels, beside name and instance, of a series that a selector selects; `None` where a regular expression of it is not
/// simple.
fn selected_by(selector: &Selector) -> Option<Labels> {
    let mut labels = Labels::new([("job", "bench")]);
    for matcher in selector.matchers().iter().filter(|matcher| matcher.name() != METRIC_NAME) {
        let words =
            matcher.value().split(['|', '(', ')']).map(|word| word.replace(".*", "").replace(".+", "x"));
        let candidates =
            [labels.get(matcher.name()).to_owned(), matcher.value().to_owned(), "other".to_owned()];
        let fits = candidates.into_iter().chain(words).find(|value| matcher.matches(value))?;
        labels.set(matcher.name(), &fits);
    }
    labels.set("instance", "");
    Some(labels)
}

/// The same for the same place, in every run.
fn value(moves: Moves, host: usize, number: usize, round: usize, round_s: f64) -> f64 {
    let noise = |round: usize| ((host * 31 + number * 17 + round * 7) % 97) as f64 / 97.0;
    match moves {
        Fixed(value) => value,
        Gauge(about) => about * (0.9 + 0.2 * noise(round)),
        Counter(rate) => rate * round_s * (round as f64 + 0.5 * noise(round)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_host_has_about_five_hundred_series_all_different_and_its_batch_can_be_read() {
        let mut seen = BTreeSet::new();
        let note = |name: &str, labels: &Labels, value: f64| {
            assert!(value.is_finite());
            assert!(seen.insert((name.to_owned(), labels.clone())), "{name} {labels:?} twice");
            Ok::<(), ()>(())
        };
        Host::default().samples(3, 1, 15.0, note).expect("nothing fails");
        assert_eq!(seen.len(), Host::default().series());
        assert!((450..=650).contains(&seen.len()), "{}", seen.len());
        let bytes = Host::default().batch(3, 1, 15_000, 20_000).expect("within every bound");
        assert!(crate::wire::Inbound::read(&bytes).is_ok());
    }
}
