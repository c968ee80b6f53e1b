//! The command line.

const ROUNDS: usize = 61;

pub(crate) struct Args {
    pub(crate) rounds: usize,
    /// Part of the names of the loops to be measured.
    pub(crate) only: Option<String>,
    pub(crate) json: bool,
}

pub(crate) enum Asked {
    Run(Args),
    Help,
}

pub(crate) fn help(name: &str, about: &str) -> String {
    format!(
        "\
{about}

Usage: cargo bench -p oneloop-benches --bench {name} -- [OPTIONS]

  --rounds N         rounds, each of which measures every loop once (default: {ROUNDS}); where they
                     take more than a second there are fewer
  --only SUBSTRING   only loops with this in their name, beside the yardstick
  --json             one JSON object per line: workload, loop, ns_per_event or another unit, ratio
  --help             this text
"
    )
}

/// Else a sentence, without its full stop, that says what makes no sense.
pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Asked, String> {
    // Cargo adds this to the arguments of every bench.
    let mut words = words.filter(|word| word != "--bench");
    let mut args = Args {
        rounds: ROUNDS,
        only: None,
        json: false,
    };
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (&*word, None),
        };
        match (option, &value) {
            ("--help" | "-h", None) => return Ok(Asked::Help),
            ("--json", None) => args.json = true,
            ("--rounds" | "--only", _) => {
                let value = value.or_else(|| words.next());
                let value = value.ok_or_else(|| format!("{option} needs a value"))?;
                match option {
                    "--rounds" => args.rounds = rounds(&value)?,
                    _ => args.only = Some(value),
                }
            }
            ("--help" | "-h" | "--json", Some(_)) => {
                return Err(format!("{option} takes no value"));
            }
            _ => return Err(format!("there is no option {word:?}")),
        }
    }
    Ok(Asked::Run(args))
}

fn rounds(value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(rounds @ 1..=10_000) => Ok(rounds),
        _ => Err(format!(
            "--rounds is a number from 1 to 10000, not {value:?}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Result<Args, String> {
        match parse(words.iter().map(|word| word.to_string()))? {
            Asked::Run(args) => Ok(args),
            Asked::Help => Err("help".into()),
        }
    }

    #[test]
    fn values_come_as_the_next_word_or_after_an_equals_sign() {
        let args = run(&["--rounds", "3", "--only=tokio", "--json", "--bench"]).unwrap();
        assert_eq!(args.rounds, 3);
        assert_eq!(args.only.as_deref(), Some("tokio"));
        assert!(args.json);
    }

    #[test]
    fn invalid_options_are_refused() {
        for words in [
            &["--rounds", "--bench"][..],
            &["--rounds", "0"],
            &["--rounds", "many"],
            &["--json=yes"],
            &["ring"],
        ] {
            assert!(run(words).is_err(), "{words:?}");
        }
    }
}
