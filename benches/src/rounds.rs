//! Interleaved rounds.

use std::fmt::Display;
use std::io;
use std::time::{Duration, Instant};

use crate::measured::{Figure, PERCENTILES, Samples, nanoseconds};
use crate::{Bench, Measured, Peer, patience};

/// The unit of whatever is a matter of time.
pub(crate) const TIME: &str = "ns_per_event";

/// How long a measurement of the yardstick is to take.
const TARGET: Duration = Duration::from_millis(30);
/// How long another loop's may take; one that is slower than that handles fewer events.
const MOST: Duration = Duration::from_millis(90);
/// How few events are enough to see how fast a loop is.
const TRIAL: u64 = 100;

/// Where rounds take longer than this on average there are fewer...
const LONG: Duration = Duration::from_secs(1);
/// ...but as many as these, if as many are asked for.
const FEWEST: usize = 5;

/// Of one workload.
pub(crate) struct Results {
    pub(crate) rounds: usize,
    /// The number that the yardstick handled in each, if that was timed.
    pub(crate) events: Option<u64>,
    /// By unit, of which `TIME` is the first, if it is there. The first of each is the yardstick's.
    pub(crate) tables: Vec<Vec<Row>>,
}

/// Of one loop and one unit, over the rounds.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    /// Not where the yardstick has nothing, or none of it.
    pub(crate) ratio: Option<Ratio>,
}

#[derive(Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    /// Half of the rounds had a ratio between these, if each had its own.
    pub(crate) quartiles: Option<(f64, f64)>,
}

/// The results of one loop.
#[derive(Default)]
struct Given {
    /// The number that it handled in each round, if that was timed.
    events: Option<u64>,
    rounds: Vec<Vec<Figure>>,
    /// Of all rounds together.
    samples: Option<Samples>,
}

pub(crate) fn run<W: Display>(
    bench: &Bench<W>,
    workload: &W,
    rounds: usize,
) -> io::Result<Results> {
    let Bench { name, .. } = bench;
    let peers: Vec<_> = [&bench.yardstick].into_iter().chain(&bench.peers).collect();
    let Plan {
        events,
        rounds,
        timed,
    } = calibrate(workload, peers[0], rounds)?;
    let mut given: Vec<Given> = peers.iter().map(|_| Given::default()).collect();
    eprint!("{name}, {workload} ");
    let mut shares = vec![Some(events); peers.len()];
    if timed {
        for (peer, share) in peers.iter().zip(&mut shares) {
            *share = share_of(workload, peer, events)?;
        }
    }
    let (start, mut round) = (Instant::now(), 0);
    while round < wanted(rounds, round, start.elapsed()) {
        for turn in 0..peers.len() {
            let which = (round + turn) % peers.len();
            let Some(events) = shares[which] else {
                continue;
            };
            match measure(workload, peers[which], events)? {
                Some(measured) => given[which].take(measured, events),
                None => shares[which] = None,
            }
        }
        eprint!(".");
        round += 1;
    }
    eprintln!();
    let tables = units(&given).into_iter().map(|unit| {
        let rows = peers.iter().zip(&given);
        let rows = rows.filter_map(|(peer, own)| row(peer.name, unit, own, &given[0]));
        rows.collect()
    });
    Ok(Results {
        rounds: round,
        tables: tables.collect(),
        events: given[0].events,
    })
}

struct Plan {
    /// The number that the yardstick handles in the time that a measurement is to take.
    events: u64,
    rounds: usize,
    timed: bool,
}

fn calibrate<W>(workload: &W, yardstick: &Peer<W>, rounds: usize) -> io::Result<Plan> {
    let mut events = 10 * TRIAL;
    loop {
        let trial = measure(workload, yardstick, events)?.unwrap_or_default();
        let Some(time) = trial.time else {
            return Ok(Plan {
                events,
                rounds: if trial.samples.is_some() { rounds } else { 1 },
                timed: false,
            });
        };
        if time >= TARGET / 10 {
            let all = events as f64 * TARGET.as_secs_f64() / time.as_secs_f64();
            return Ok(Plan {
                // Round figures are easier to read.
                events: (all / 1000.0).ceil() as u64 * 1000,
                rounds,
                timed: true,
            });
        }
        events *= 2;
    }
}

/// How many of the events a loop is to handle in a measurement. None if it cannot do the workload.
fn share_of<W>(workload: &W, peer: &Peer<W>, events: u64) -> io::Result<Option<u64>> {
    let few = events.min(TRIAL);
    let Some(trial) = measure(workload, peer, few)? else {
        return Ok(None);
    };
    let time = trial.time.unwrap_or_default();
    let all = time.as_secs_f64() / trial.events.unwrap_or(few) as f64 * events as f64;
    let part = MOST.as_secs_f64() / all;
    Ok(Some(if part < 1.0 {
        (events as f64 * part).ceil() as u64
    } else {
        events
    }))
}

/// How many rounds there are to be in all, of which so many took so long.
fn wanted(asked: usize, rounds: usize, took: Duration) -> usize {
    let long = took.as_secs_f64() / LONG.as_secs_f64();
    if rounds as f64 >= long {
        asked
    } else {
        ((asked * rounds) as f64 / long)
            .ceil()
            .max(FEWEST.min(asked) as f64) as usize
    }
}

/// None if the loop cannot do the workload.
fn measure<W>(workload: &W, peer: &Peer<W>, events: u64) -> io::Result<Option<Measured>> {
    match patience::with(peer.name, || (peer.measure)(workload, events)) {
        Ok(measured) => Ok(Some(measured)),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("{}: {error}", peer.name),
        )),
    }
}

impl Given {
    fn take(&mut self, measured: Measured, asked: u64) {
        let mut figures = Vec::new();
        if let Some(time) = measured.time {
            let events = measured.events.unwrap_or(asked);
            self.events = Some(events);
            let value = nanoseconds(&time) / events as f64;
            figures.push(Figure { unit: TIME, value });
        }
        figures.extend(measured.figures);
        self.rounds.push(figures);
        match (&mut self.samples, measured.samples) {
            (Some(all), Some(new)) => all.times.extend(new.times),
            (all, new) => *all = all.take().or(new),
        }
    }

    /// Of one unit, by round.
    fn values(&self, unit: &str) -> Vec<f64> {
        let all = self.rounds.iter().flatten();
        let own = all.filter(|figure| figure.unit == unit);
        own.map(|figure| figure.value).collect()
    }

    /// A percentile of all rounds together, if the unit is one's.
    fn percentile(&self, unit: &str) -> Option<f64> {
        let Samples { units, times } = self.samples.as_ref()?;
        let which = units.iter().position(|&own| own == unit)?;
        let times = sorted(times.iter().map(nanoseconds).collect());
        (!times.is_empty()).then(|| quantile(&times, PERCENTILES[which]))
    }
}

/// All that there are, in the order in which they came.
fn units(given: &[Given]) -> Vec<&'static str> {
    let figures = given.iter().flat_map(|one| one.rounds.iter().flatten());
    let samples = given.iter().filter_map(|one| one.samples.as_ref());
    let all = figures.map(|figure| figure.unit);
    let mut units = Vec::new();
    for unit in all.chain(samples.flat_map(|samples| samples.units)) {
        if !units.contains(&unit) {
            units.push(unit);
        }
    }
    units
}

/// None if the loop has nothing of that unit.
fn row(name: &'static str, unit: &'static str, own: &Given, yardstick: &Given) -> Option<Row> {
    if let Some(value) = own.percentile(unit) {
        let ratio = yardstick.percentile(unit).map(|bare| Ratio {
            median: value / bare,
            quartiles: None,
        });
        let ratio = ratio.filter(|ratio| ratio.median.is_finite());
        return Some(Row {
            name,
            unit,
            value,
            ratio,
        });
    }
    let (own, yardstick) = (own.values(unit), yardstick.values(unit));
    let ratios = own.iter().zip(yardstick).map(|(own, bare)| own / bare);
    let ratios = sorted(ratios.collect());
    let known = ratios.len() == own.len() && ratios.iter().all(|ratio| ratio.is_finite());
    (!own.is_empty()).then(|| Row {
        name,
        unit,
        value: quantile(&sorted(own), 0.5),
        ratio: known.then(|| Ratio {
            median: quantile(&ratios, 0.5),
            quartiles: Some((quantile(&ratios, 0.25), quantile(&ratios, 0.75))),
        }),
    })
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// Between two of the numbers where it falls there.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * part;
    let (low, high) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        assert_eq!(quantile(&[7.0], 0.25), 7.0);
        assert_eq!(quantile(&[1.0, 2.0, 9.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0, 9.0], 0.5), 3.0);
    }

    fn given(unit: &'static str, values: &[f64]) -> Given {
        let round = |&value: &f64| vec![Figure { unit, value }];
        Given {
            rounds: values.iter().map(round).collect(),
            ..Given::default()
        }
    }

    #[test]
    fn the_ratio_is_that_of_each_round_and_not_of_the_medians() {
        let own = given(TIME, &[2.0, 20.0, 300.0]);
        let row = row("", TIME, &own, &given(TIME, &[1.0, 10.0, 100.0])).unwrap();
        assert_eq!(row.value, 20.0);
        assert_eq!(row.ratio.unwrap().median, 2.0);
    }

    #[test]
    fn there_is_no_ratio_to_nothing() {
        let unit = "calls";
        let row = |own, bare: &[f64]| row("", unit, &given(unit, own), &given(unit, bare)).unwrap();
        assert!(row(&[2.0], &[0.0]).ratio.is_none());
        assert!(row(&[0.0], &[0.0]).ratio.is_none());
        assert!(row(&[2.0], &[]).ratio.is_none());
    }

    #[test]
    fn a_loop_without_figures_has_no_row() {
        assert!(row("", "calls", &given(TIME, &[1.0]), &given("calls", &[1.0])).is_none());
    }

    #[test]
    fn long_rounds_are_fewer() {
        assert_eq!(wanted(31, 0, Duration::ZERO), 31);
        assert_eq!(wanted(31, 3, 3 * LONG), 31);
        assert_eq!(wanted(31, 3, 6 * LONG), 16);
        assert_eq!(wanted(31, 1, 100 * LONG), 5);
        assert_eq!(wanted(3, 1, 100 * LONG), 3);
    }

    #[test]
    fn a_loop_that_is_much_slower_is_asked_for_less() {
        let peer = |each: u32| {
            let measure =
                move |_: &(), events: u64| Ok(Duration::from_nanos(each.into()) * events as u32);
            Peer::new("", measure)
        };
        assert_eq!(share_of(&(), &peer(10), 100_000).unwrap(), Some(100_000));
        assert_eq!(share_of(&(), &peer(1_000_000), 100_000).unwrap(), Some(90));
        let cannot = Peer::new("", |_: &(), _| {
            Err::<Duration, _>(io::ErrorKind::Unsupported.into())
        });
        assert_eq!(share_of(&(), &cannot, 100_000).unwrap(), None);
    }

    /// Of one loop.
    fn bench(measure: impl Fn() -> Measured + 'static) -> Results {
        let bench = Bench {
            name: "",
            about: "",
            workloads: vec![""],
            yardstick: Peer::new("", move |_: &&str, _| Ok(measure())),
            peers: Vec::new(),
        };
        run(&bench, &"", 4).unwrap()
    }

    #[test]
    fn the_events_handled_count_and_not_the_events_requested() {
        let results = bench(|| Measured::of(50_000, Duration::from_millis(10)));
        assert_eq!(results.events, Some(50_000));
        assert_eq!(results.tables[0][0].value, 200.0);
    }

    #[test]
    fn one_round_is_enough_for_figures_without_time() {
        let results = bench(|| Measured::untimed().with("bytes", 7.0));
        assert_eq!((results.rounds, results.events), (1, None));
        assert_eq!(results.tables[0][0].value, 7.0);
    }

    #[test]
    fn samples_are_put_together_over_all_rounds() {
        let count = std::cell::Cell::new(0);
        // One on trial, then four.
        let results = bench(move || {
            let time = count.replace(count.get() + 1);
            let times = vec![Duration::from_nanos(time), Duration::from_nanos(10 * time)];
            Measured::untimed().with_samples(["p50", "p99"], times)
        });
        let row = &results.tables[0][0];
        // 1, 2, 3, 4, 10, 20, 30, 40.
        assert_eq!((results.rounds, row.unit, row.value), (4, "p50", 7.0));
        assert!(results.tables[1][0].value > 30.0);
        assert_eq!(row.ratio.unwrap().median, 1.0);
    }
}
