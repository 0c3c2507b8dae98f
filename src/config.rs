//! File and arguments → [`Config`].

/// Everything the server is told before it starts.
#[derive(Clone, Debug, Default)]
pub struct Config {}
