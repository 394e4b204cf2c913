//! The speech libraries are found at run time, so that the program builds and starts without them. What is missing is
//! said together with the command that installs it.

use std::error::Error;
use std::path::PathBuf;

/// The command that installs everything the local speech engine needs on Debian.
pub const INSTALL_COMMAND: &str = "apt-get install libflite1 libpocketsphinx3 pocketsphinx-en-us";

/// Something of a speech library is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The dynamic loader did not find or accept a library.
    #[error("{library} cannot be loaded ({reason}); install the speech libraries: {INSTALL_COMMAND}")]
    Library {
        /// Its file name.
        library: &'static str,
        /// What the loader said.
        reason: String,
    },
    /// The library has no such function: another version.
    #[error("{library} has no function {symbol}; install the speech libraries: {INSTALL_COMMAND}")]
    Symbol {
        /// The library's file name.
        library: &'static str,
        /// The function.
        symbol: &'static str,
    },
    /// A file of the acoustic model or dictionary cannot be read.
    #[error("{} cannot be read; install the speech libraries: {INSTALL_COMMAND}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
    },
}

impl Missing {
    /// What the loader said is in the error's source; its own text only says that loading failed.
    pub(super) fn library(library: &'static str, error: &libloading::Error) -> Self {
        let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Self::Library { library, reason }
    }
}
