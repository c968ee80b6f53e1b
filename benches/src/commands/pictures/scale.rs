//! Where values are on an axis.

pub enum Scale {
    /// From nothing to this.
    Linear(f64),
    /// From one power of ten to another.
    Logarithmic(i32, i32),
}

impl Scale {
    /// With room for all of these.
    pub fn linear(values: Vec<f64>) -> Scale {
        let most = values
            .into_iter()
            .fold(0.0, f64::max)
            .max(f64::MIN_POSITIVE);
        let step = step(most);
        Scale::Linear((most / step).ceil() * step)
    }

    /// Makes a logarithmic scale that holds all values.
    pub fn logarithmic(values: Vec<f64>) -> Scale {
        let powers = values
            .into_iter()
            .map(f64::log10)
            .filter(|it| it.is_finite());
        let powers: Vec<f64> = powers.collect();
        let least = powers.iter().copied().fold(f64::INFINITY, f64::min);
        let most = powers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if least <= most {
            let least = least.floor() as i32;
            Scale::Logarithmic(least, (most.ceil() as i32).max(least + 1))
        } else {
            Scale::Logarithmic(0, 1)
        }
    }

    /// From 0 to 1.
    pub fn part(&self, value: f64) -> f64 {
        match *self {
            Scale::Linear(most) => value / most,
            Scale::Logarithmic(least, most) => {
                (value.log10() - f64::from(least)) / f64::from(most - least)
            }
        }
    }

    pub fn ticks(&self) -> Vec<f64> {
        match *self {
            Scale::Linear(most) => {
                let step = step(most);
                let count = (most / step).round() as i32;
                (0..=count).map(|n| f64::from(n) * step).collect()
            }
            Scale::Logarithmic(least, most) => (least..=most).map(|n| 10f64.powi(n)).collect(),
        }
    }
}

/// A round figure of which it takes four to ten.
fn step(most: f64) -> f64 {
    let power = 10f64.powf(most.log10().floor());
    match most / power {
        ..2.0 => power / 5.0,
        ..4.0 => power / 2.0,
        _ => power,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_begins_at_nothing_and_ends_at_a_round_figure() {
        let scale = Scale::linear(vec![310.0, 1730.0]);
        assert_eq!(
            scale.ticks(),
            (0..=9).map(|n| f64::from(n) * 200.0).collect::<Vec<_>>()
        );
        assert_eq!(scale.part(900.0), 0.5);
    }

    #[test]
    fn logarithmic_has_powers_of_ten() {
        let scale = Scale::logarithmic(vec![15.0, 9000.0]);
        assert_eq!(scale.ticks(), [10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(scale.part(100.0), 1.0 / 3.0);
        assert_eq!(Scale::logarithmic(vec![10.0]).ticks(), [10.0, 100.0]);
        assert_eq!(Scale::logarithmic(Vec::new()).ticks(), [1.0, 10.0]);
    }
}
