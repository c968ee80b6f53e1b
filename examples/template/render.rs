//! The library: written against the loop's interface, and never changed for a kind of source.

use std::io::{ErrorKind, Read, Result};

use oneloop::{Action, Interest, Mode, Reactor, Source};

/// Reads a template to its end and fills in what stands in braces. Calls `done` with the text.
pub fn render<S>(
    reactor: &Reactor,
    template: S,
    values: &'static [(&str, &str)],
    done: impl FnOnce(Result<String>) + Send + 'static,
) -> Result<()>
where
    S: Source + Read + Send + 'static,
{
    let mut text = Vec::new();
    let mut done = Some(done);
    let read = move |template: &mut S, _| {
        let mut piece = [0; 4096];
        let result = match template.read(&mut piece) {
            Ok(0) => fill_in(&text, values),
            Ok(n) => {
                text.extend_from_slice(&piece[..n]);
                return Action::Continue;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Action::Continue,
            Err(error) => Err(error),
        };
        if let Some(done) = done.take() {
            done(result);
        }
        Action::Remove
    };
    reactor.add_handler(template, Interest::READABLE, Mode::Level, read)?;
    Ok(())
}

fn fill_in(text: &[u8], values: &[(&str, &str)]) -> Result<String> {
    let text = std::str::from_utf8(text).map_err(|_| ErrorKind::InvalidData)?;
    let mut text = text.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    Ok(text)
}
