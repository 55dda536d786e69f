//! The story of the demo, event by event. Whoever waits here waits for the real code: workers, monitor, notifier.

use crate::error::Error;
use crate::shell::demo::scene::{Page, Person, Service};
use crate::shell::demo::stage::{PARTITIONS, Stage};
use crate::shell::demo::timeline::Timeline;
use crate::shell::http::Readiness;
use crate::shell::kafka::log::{Log, Read};
use crate::shell::lock::{InProcessLocks, LockService};
use crate::shell::monitor::Monitor;
use crate::shell::notify::Notifier;
use crate::shell::thread;
use crate::shell::verify::{Question, Verifier};
use crate::shell::worker::{Metrics, Worker, WorkerOptions};
use crate::wire::{AlertRecord, AlertState, Transition};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::Duration;

/// The rule's `for`.
const FOR: Duration = Duration::from_secs(10);
/// Its group's interval.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a killed worker's lock stays taken.
const SESSION: Duration = Duration::from_secs(2);
/// Longest wait for any one event.
const PATIENCE: Duration = Duration::from_secs(45);
const ZONES: [&str; 2] = ["zone-a", "zone-b"];

const RULES: &str = "\
groups:
- name: shop
  interval: 1s
  rules:
  - alert: ShopDown
    expr: check_status{service=\"shop\", check=\"http\"} == 2
    for: 10s
    labels: {severity: page}
    annotations: {summary: '{{ $labels.check }} check of {{ $labels.service }} fails'}
";

/// Everything that plays.
pub struct Story {
    timeline: Timeline,
    service: Service,
    person: Person,
    stage: Stage,
    workers: Vec<(&'static str, Option<Worker>)>,
    monitor: Option<Monitor>,
    notifier: Option<Notifier>,
    alerts: Log,
    transitions: Vec<Transition>,
    pages: Vec<Page>,
    writer: String,
}

impl Story {
    /// Raises the curtain: rules in force, two workers in two zones, a monitor, a notifier.
    pub fn begin(mut stage: Stage) -> Result<Self, Error> {
        let (service, person) = (Service::start()?, Person::start()?);
        stage.wire_up(&service.url(), &person.url());
        stage.apply(RULES)?;
        let locks = InProcessLocks::new(SESSION);
        let start = |zone: &'static str| {
            let options = WorkerOptions {
                config: stage.worker(zone),
                lock: LockService::InProcess(locks.clone()),
                producer_time: stage.producer_time(),
                metrics: Metrics::register(&mut Registry::default()),
                readiness: Arc::new(Readiness::default()),
                http: String::new(),
            };
            Worker::start(options).map(|worker| (zone, Some(worker)))
        };
        let workers = ZONES.into_iter().map(start).collect::<Result<_, _>>()?;
        let (mut registry, readiness) = (Registry::default(), Arc::new(Readiness::default()));
        let monitor = Monitor::start(&stage.config, &mut registry, &readiness)?;
        let notifier = Notifier::start(&stage.config, &mut registry, &readiness)?;
        let alerts = Log::open(&stage.config, &stage.topics().alerts)?;
        alerts.rewind(0..PARTITIONS)?;
        Ok(Self {
            timeline: Timeline::start(),
            service,
            person,
            stage,
            workers,
            monitor: Some(monitor),
            notifier: Some(notifier),
            alerts,
            transitions: Vec::new(),
            pages: Vec::new(),
            writer: String::new(),
        })
    }

    /// Plays to the resolve. The error says what never came.
    pub fn play(&mut self) -> Result<(), String> {
        self.timeline.say("the shop is checked twice a second; rule ShopDown: check fails, for 10 s");
        self.until("both workers to have caught up, and a primary of each partition", |story| {
            let caught_up = |zone: usize| story.roles(zone).len() == PARTITIONS as usize;
            let primaries: usize = (0..2).map(|zone| story.primary_of(zone).len()).sum();
            (caught_up(0) && caught_up(1) && primaries == PARTITIONS as usize).then_some(())
        })?;
        let roles: Vec<String> =
            (0..2).map(|zone| format!("{} is primary of {:?}", ZONES[zone], self.primary_of(zone))).collect();
        self.timeline
            .say(&format!("two workers in two zones host all {PARTITIONS} partitions: {}", roles.join(", ")));
        self.rest(2)?;

        self.service.set_well(false);
        self.timeline.say("the shop degrades: it answers 503");
        let since = self.until("the alert to be pending", |story| story.last(AlertState::Pending))?;
        let primary = (0..2)
            .find(|zone| ZONES[*zone].ends_with(self.writer.trim_start_matches("worker-")))
            .unwrap_or(0);
        self.rest(5)?;
        if let Some(worker) = self.workers[primary].1.take() {
            worker.kill();
        }
        self.timeline
            .say(&format!("KILLED {} in mid-`for`: its worker wrote the alert so far", ZONES[primary]));
        let survivor = 1 - primary;
        self.until("the standby to take over", |story| {
            (story.primary_of(survivor).len() == PARTITIONS as usize).then_some(())
        })?;
        self.timeline.say(&format!("{} has taken over", ZONES[survivor]));
        let fired = self.until("the alert to fire", |story| story.last(AlertState::Firing))?;
        let held = fired.event_ms - since.active_since_ms;
        self.timeline.say(&format!(
            "it fired {:.1} s after the condition began, by the log's time",
            held as f64 / 1e3
        ));
        self.until("the notification", |story| story.paged("firing"))?;
        self.rest(2)?;

        self.service.set_well(true);
        self.timeline.say("the shop recovers");
        self.until("the resolve", |story| story.last(AlertState::Inactive))?;
        self.until("the second notification", |story| story.paged("resolved"))?;
        self.rest(3)
    }

    /// Stops everything and compares what is in the alerts topic with a naive replay of the log.
    pub fn verdict(mut self) -> Result<bool, Error> {
        if let Some(monitor) = self.monitor.take() {
            monitor.stop(Duration::from_secs(2));
        }
        if let Some(notifier) = self.notifier.take() {
            notifier.stop();
        }
        self.workers.drain(..).filter_map(|(_, worker)| worker).for_each(Worker::stop);
        println!();
        let mut equal = true;
        let question =
            Question { at_rest: true, producer_time: self.stage.producer_time(), ..Question::default() };
        let mut verifier = Verifier::open(&self.stage.config, question)?;
        for partition in 0..PARTITIONS {
            let verdict = verifier.verify(partition)?;
            let difference = verdict
                .difference
                .as_ref()
                .map_or_else(|| "equal record by record".to_owned(), ToString::to_string);
            println!(
                "partition {partition}: {} records replayed by one naive loop, {} transitions expected, {} found: {difference}",
                verdict.records, verdict.expected, verdict.found
            );
            equal &= verdict.is_equal();
        }
        let states: Vec<AlertState> = self.transitions.iter().map(|transition| transition.to).collect();
        let once = states == [AlertState::Pending, AlertState::Firing, AlertState::Inactive];
        let told: Vec<&str> = self.pages.iter().filter_map(|page| page.body["status"].as_str()).collect();
        let held = self.transitions.get(1).map_or(0, |fired| fired.event_ms.abs_diff(fired.active_since_ms));
        let held = Duration::from_millis(held);
        println!(
            "transitions: {states:?}; notifications: {told:?}; fired {held:?} after the condition began"
        );
        let on_time = (FOR..=FOR + 2 * INTERVAL).contains(&held);
        Ok(equal && once && told == ["firing", "resolved"] && on_time)
    }

    /// Waits for something while the story goes on.
    fn until<T>(&mut self, what: &str, mut ready: impl FnMut(&mut Self) -> Option<T>) -> Result<T, String> {
        let start = self.timeline.elapsed();
        loop {
            self.listen()?;
            if let Some(found) = ready(self) {
                return Ok(found);
            }
            if self.timeline.elapsed() - start > PATIENCE {
                return Err(format!("waited {PATIENCE:?} for {what}"));
            }
            self.timeline.progress(&format!("waiting for {what}"));
        }
    }

    /// Lets some seconds pass.
    fn rest(&mut self, seconds: u64) -> Result<(), String> {
        let end = self.timeline.elapsed() + Duration::from_secs(seconds);
        self.until("a moment", |story| (story.timeline.elapsed() >= end).then_some(()))
    }

    /// Tells what arrived, and gives the others a moment.
    fn listen(&mut self) -> Result<(), String> {
        thread::pause(Duration::from_millis(20));
        loop {
            match self.alerts.next(Duration::ZERO).map_err(|fault| fault.to_string())? {
                Read::Record(record) => match AlertRecord::read(&record.value) {
                    Ok(AlertRecord::Transition(transition)) => self.transition(*transition),
                    Ok(AlertRecord::Marker(marker)) => {
                        self.marker(record.partition, &marker.worker, marker.epoch, marker.seq)
                    }
                    Err(fault) => return Err(format!("an unreadable record in the alerts topic: {fault}")),
                },
                Read::End(_) => {}
                Read::Nothing => break,
            }
        }
        while let Ok(page) = self.person.pages.try_recv() {
            let status = page.body["status"].as_str().unwrap_or("?").to_owned();
            self.timeline.say(&format!("a person is told: {status} (Idempotency-Key {})", page.key));
            self.pages.push(page);
        }
        Ok(())
    }

    fn transition(&mut self, transition: Transition) {
        self.timeline.say(&format!(
            "alert {} {:?} → {:?} ({:?}), seq {}: {}",
            transition.rule,
            transition.from,
            transition.to,
            transition.reason,
            transition.seq,
            transition.annotations.get("summary")
        ));
        self.transitions.push(transition);
    }

    fn marker(&mut self, partition: i32, worker: &str, epoch: i64, seq: i64) {
        let covers = self.transitions.last().is_some_and(|transition| transition.seq == seq);
        if covers && self.writer != worker {
            self.timeline
                .say(&format!("written by {worker}, primary of partition {partition} in epoch {epoch}"));
            worker.clone_into(&mut self.writer);
        }
    }

    fn last(&self, state: AlertState) -> Option<Transition> {
        self.transitions.last().filter(|transition| transition.to == state).cloned()
    }

    fn paged(&self, status: &str) -> Option<()> {
        self.pages.iter().any(|page| page.body["status"] == status).then_some(())
    }

    fn roles(&self, zone: usize) -> Vec<(i32, String)> {
        let report = self.workers[zone].1.as_ref().map(Worker::report);
        let partitions = report.into_iter().flat_map(|report| report.partitions);
        partitions.map(|(partition, report)| (partition, report.role)).collect()
    }

    fn primary_of(&self, zone: usize) -> Vec<i32> {
        let roles = self.roles(zone).into_iter();
        roles.filter(|(_, role)| role == "primary").map(|(partition, _)| partition).collect()
    }
}
