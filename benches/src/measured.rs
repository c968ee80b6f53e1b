//! The results of a measurement.

use std::time::Duration;

use crate::rounds::quantile;

/// How long the events took, and what else there is to tell.
///
/// Some have no time, as those of memory; they are the same in each round, so that one will do.
#[derive(Default)]
pub struct Measured {
    pub(crate) time: Option<Duration>,
    /// In that time, if it is not as many as were asked for.
    pub(crate) events: Option<u64>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) samples: Option<Samples>,
}

pub(crate) struct Figure {
    /// Its name in JSON: words with underscores between them.
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
}

/// Samples that are put together over all rounds.
pub(crate) struct Samples {
    pub(crate) units: [&'static str; 2],
    pub(crate) times: Vec<Duration>,
}

/// The parts below the percentiles that are told of.
pub(crate) const PERCENTILES: [f64; 2] = [0.5, 0.99];

impl Measured {
    /// For a loop that handled another number of events than it was asked to.
    pub fn of(events: u64, time: Duration) -> Measured {
        Measured {
            events: Some(events),
            ..Measured::from(time)
        }
    }

    /// For what is not a matter of time.
    pub fn untimed() -> Measured {
        Measured::default()
    }

    /// Adds a figure of another kind, which gets a row of its own.
    pub fn with(mut self, unit: &'static str, value: f64) -> Measured {
        self.figures.push(Figure { unit, value });
        self
    }

    /// Adds what half of the events took at most, and 99 of 100.
    pub fn with_percentiles(self, units: [&'static str; 2], mut times: Vec<Duration>) -> Measured {
        times.sort_unstable();
        let times: Vec<_> = times.iter().map(nanoseconds).collect();
        let figures = units.into_iter().zip(PERCENTILES);
        figures.fold(self, |measured, (unit, part)| {
            measured.with(unit, quantile(&times, part))
        })
    }

    /// The same for what is so slow that there are few in a round: those of all rounds are put
    /// together.
    pub fn with_samples(mut self, units: [&'static str; 2], times: Vec<Duration>) -> Measured {
        self.samples = Some(Samples { units, times });
        self
    }
}

impl From<Duration> for Measured {
    fn from(time: Duration) -> Measured {
        Measured {
            time: Some(time),
            ..Measured::default()
        }
    }
}

pub(crate) fn nanoseconds(time: &Duration) -> f64 {
    time.as_nanos() as f64
}
