//! The three ways a command ends badly, and their exit codes.
use std::path::PathBuf;

use kiln_config::ConfigError;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A config file or an override does not say what Kiln can do.
    #[error(transparent)]
    Config(#[from] Box<ConfigError>),
    /// Something else the user gave does not fit: a missing folder, an unfinished run, a foreign checkpoint.
    #[error("{0:#}")]
    Input(anyhow::Error),
    /// The run itself failed: a NaN, a full disk.
    #[error("{0:#}")]
    Run(anyhow::Error),
    /// The answer is no, and what was printed says why: two runs differ, a promise is not kept.
    #[error("see above")]
    Told,
    /// A signal asked for an end; the state is saved.
    #[error("stopped at step {step} by a signal, state saved; go on with: kiln train --resume {}", run.display())]
    Interrupted {
        /// The run's folder.
        run: PathBuf,
        /// Steps done.
        step: u64,
    },
    /// A signal asked for an end while the runs of a plan were made; what was trained is saved.
    #[error("stopped by a signal, state saved; the same command goes on")]
    Stopped,
}

/// What every command returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// 2 for bad input, 1 for a failed run or a no, 3 for a run that was interrupted and can be resumed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run(_) | Self::Told => 1,
            Self::Config(_) | Self::Input(_) => 2,
            Self::Interrupted { .. } | Self::Stopped => 3,
        }
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(Box::new(error))
    }
}

/// Sorts an error into one of the kinds above.
pub trait Sort<T> {
    /// The user's input is to blame.
    ///
    /// # Errors
    /// The error it is called on, as [`Error::Input`].
    fn input(self) -> Result<T>;
    /// The run is to blame.
    ///
    /// # Errors
    /// The error it is called on, as [`Error::Run`].
    fn failed(self) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> Sort<T> for std::result::Result<T, E> {
    fn input(self) -> Result<T> {
        self.map_err(|error| Error::Input(error.into()))
    }
    fn failed(self) -> Result<T> {
        self.map_err(|error| Error::Run(error.into()))
    }
}
