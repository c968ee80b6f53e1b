use curl::MultiError;
use curl::multi::Multi;

/// The limits that transfers share: the numbers of connections and streams.
///
/// Further transfers wait until there is room. All errors are libcurl's, which may be too old for an option.
#[derive(Debug)]
pub struct Options {
    // The multi handle does not come from the user, who could keep easy handles of it.
    pub(crate) multi: Multi,
}

impl Options {
    /// Returns libcurl's defaults, which set no limits.
    pub fn new() -> Options {
        Options {
            multi: Multi::new(),
        }
    }

    /// Limits the number of connections at one time.
    pub fn max_total_connections(mut self, count: usize) -> Result<Options, MultiError> {
        self.multi.set_max_total_connections(count)?;
        Ok(self)
    }

    /// Limits the number of connections to one host at one time.
    pub fn max_host_connections(mut self, count: usize) -> Result<Options, MultiError> {
        self.multi.set_max_host_connections(count)?;
        Ok(self)
    }

    /// Limits the number of connections that are kept for later transfers.
    pub fn max_kept_connections(mut self, count: usize) -> Result<Options, MultiError> {
        self.multi.set_max_connects(count)?;
        Ok(self)
    }

    /// Limits the number of streams on one HTTP/2 connection at one time.
    pub fn max_concurrent_streams(mut self, count: usize) -> Result<Options, MultiError> {
        self.multi.set_max_concurrent_streams(count)?;
        Ok(self)
    }

    /// Decides whether transfers may share an HTTP/2 connection. They do by default.
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
