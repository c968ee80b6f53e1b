//! Interleaved rounds.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use crate::{Bench, Figure, Measured, Peer, patience};

/// The unit that every loop has.
pub(crate) const TIME: &str = "ns_per_event";

/// How long a measurement of the yardstick is to take.
const TARGET: Duration = Duration::from_millis(30);
/// How few events are enough to see how fast the yardstick is.
const TRIAL: u64 = 1_000;

/// Of one workload.
pub(crate) struct Results {
    pub(crate) rounds: usize,
    pub(crate) events: u64,
    /// By unit, of which `TIME` is the first. The first of each is the yardstick's.
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
    /// Half of the rounds had a ratio between these.
    pub(crate) quartiles: (f64, f64),
}

pub(crate) fn run<W: Display>(
    bench: &Bench<W>,
    workload: &W,
    rounds: usize,
) -> io::Result<Results> {
    let Bench { name, .. } = bench;
    let peers: Vec<_> = [&bench.yardstick].into_iter().chain(&bench.peers).collect();
    let events = calibrate(workload, peers[0])?;
    // By loop, then by round.
    let mut figures: Vec<Vec<Vec<Figure>>> = peers.iter().map(|_| Vec::new()).collect();
    eprint!("{name}, {workload}, {rounds} rounds of {events} events ");
    for round in 0..rounds {
        for turn in 0..peers.len() {
            let which = (round + turn) % peers.len();
            let Measured { time, others } = match measure(workload, peers[which], events) {
                // It cannot do this workload, and gets no row.
                Err(error) if error.kind() == io::ErrorKind::Unsupported => continue,
                measured => measured?,
            };
            let value = time.as_nanos() as f64 / events as f64;
            let mut all = vec![Figure { unit: TIME, value }];
            all.extend(others);
            figures[which].push(all);
        }
        eprint!(".");
    }
    eprintln!();
    let mut units: Vec<&'static str> = Vec::new();
    for figure in figures.iter().flatten().flatten() {
        if !units.contains(&figure.unit) {
            units.push(figure.unit);
        }
    }
    let table = |unit| {
        let yardstick = values(&figures[0], unit);
        let rows = peers.iter().zip(&figures);
        let rows = rows.filter_map(|(peer, own)| {
            let own = values(own, unit);
            (!own.is_empty()).then(|| row(peer.name, unit, &own, &yardstick))
        });
        rows.collect()
    };
    Ok(Results {
        rounds,
        events,
        tables: units.into_iter().map(table).collect(),
    })
}

/// Of one unit, by round.
fn values(rounds: &[Vec<Figure>], unit: &str) -> Vec<f64> {
    let all = rounds.iter().flatten();
    let own = all.filter(|figure| figure.unit == unit);
    own.map(|figure| figure.value).collect()
}

/// How many events the yardstick handles in the time that a measurement is to take.
fn calibrate<W>(workload: &W, yardstick: &Peer<W>) -> io::Result<u64> {
    let mut events = TRIAL;
    loop {
        let time = measure(workload, yardstick, events)?.time;
        if time >= TARGET / 10 {
            let all = events as f64 * TARGET.as_secs_f64() / time.as_secs_f64();
            // Round figures are easier to read.
            return Ok((all / 1000.0).ceil() as u64 * 1000);
        }
        events *= 2;
    }
}

fn measure<W>(workload: &W, peer: &Peer<W>, events: u64) -> io::Result<Measured> {
    patience::with(peer.name, || (peer.measure)(workload, events))
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", peer.name)))
}

fn row(name: &'static str, unit: &'static str, own: &[f64], yardstick: &[f64]) -> Row {
    let ratios = own.iter().zip(yardstick).map(|(own, bare)| own / bare);
    let ratios = sorted(ratios.collect());
    let known = ratios.len() == own.len() && ratios.iter().all(|ratio| ratio.is_finite());
    Row {
        name,
        unit,
        value: quantile(&sorted(own.to_vec()), 0.5),
        ratio: known.then(|| Ratio {
            median: quantile(&ratios, 0.5),
            quartiles: (quantile(&ratios, 0.25), quantile(&ratios, 0.75)),
        }),
    }
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// Between two of the numbers where it falls there.
fn quantile(sorted: &[f64], part: f64) -> f64 {
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

    #[test]
    fn the_ratio_is_that_of_each_round_and_not_of_the_medians() {
        let row = row("", TIME, &[2.0, 20.0, 300.0], &[1.0, 10.0, 100.0]);
        assert_eq!(row.value, 20.0);
        assert_eq!(row.ratio.unwrap().median, 2.0);
    }

    #[test]
    fn there_is_no_ratio_to_nothing() {
        assert!(row("", "calls", &[2.0], &[0.0]).ratio.is_none());
        assert!(row("", "calls", &[0.0], &[0.0]).ratio.is_none());
        assert!(row("", "calls", &[2.0], &[]).ratio.is_none());
    }
}
