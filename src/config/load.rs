//! From YAML to [`Config`], every fault with its place.

use super::Config;
use crate::wire::yaml::Place;
use thiserror::Error;

/// All that is wrong with a configuration file, one line each.
#[derive(Debug, Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<ConfigFault>);

/// One thing that is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}:{place}: {message}")]
pub struct ConfigFault {
    /// The file's path, as given.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// What, the value seen, the bound and the next step.
    pub message: String,
}

impl ConfigError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        "config"
    }

    /// A file does not mend itself.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// Reads the defaults, lays `text` of `file` over them, and `environment` into secrets.
pub fn load(
    _file: &str,
    _text: &str,
    _environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    Err(ConfigError(Vec::new()))
}
