use curl::MultiError;
use curl::multi::Multi;

/// What transfers share: how many connections and streams there may be.
///
/// More wait until there is room. All errors are libcurl's, which may be too old for an option.
#[derive(Debug)]
pub struct Options {
    // Not given in by the user, who could keep easy handles of it.
    pub(crate) multi: Multi,
}

impl Options {
    /// libcurl's defaults: no limits.
    pub fn new() -> Options {
        Options {
            multi: Multi::new(),
        }
    }

    /// At most so many connections at once.
    pub fn max_total_connections(mut self, count: usize) -> Result<Options, MultiError> {
        self.multi.set_max_total_connections(count)?;
        Ok(self)
    }

    /// At most so many connections at once to one host.
    pub fn max_host_connections(mut self, count: usize) -> Result<Options, MultiError> {
        self.multi.set_max_host_connections(count)?;
        Ok(self)
    }

    /// At most so many connections are kept for later transfers.
    pub fn max_kept_connections(mut self, count: usize) -> Result<Options, MultiError> {
        self.multi.set_max_connects(count)?;
        Ok(self)
    }

    /// At most so many streams at once on one connection of HTTP/2.
    pub fn max_concurrent_streams(mut self, count: usize) -> Result<Options, MultiError> {
        self.multi.set_max_concurrent_streams(count)?;
        Ok(self)
    }

    /// Whether transfers may share a connection of HTTP/2. They do by default.
    pub fn multiplex(mut self, on: bool) -> Result<Options, MultiError> {
        self.multi.pipelining(false, on)?;
        Ok(self)
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}
