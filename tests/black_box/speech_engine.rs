//! A speech service of our own that does what a test tells it, and dies when a test wants it to.

use std::time::Duration;

use hookswitch::agent::provider::secret::Secret;
use hookswitch::server::speech::scripted::{Failure, Script, Scripted};
use hookswitch::server::speech::{SpeechConfig, SpeechServer};
use tokio::runtime::{Builder, Runtime};

/// A running service. It ends with this value, and all its connections break, as those of a killed process do.
pub(crate) struct SpeechEngine {
    script: Scripted,
    runtime: Option<Runtime>,
    url: String,
}

impl SpeechEngine {
    /// Starts one that speaks noise and understands nothing, until `failure`.
    pub(crate) fn start(failure: Option<Failure>) -> Self {
        Self::scripted(Script { failure, ..Script::default() })
    }

    /// Starts one that understands this of everything, so long after who spoke has paused.
    pub(crate) fn understanding(text: &str, after: Duration) -> Self {
        Self::scripted(Script { texts: vec![text.to_owned()], result_after: after, ..Script::default() })
    }

    fn scripted(script: Script) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let script = Scripted::new(script);
        let heard = script.clone();
        let config = SpeechConfig::new(Secret::new(TOKEN));
        let server = runtime.block_on(SpeechServer::start_scripted(config, script)).unwrap();
        Self { script: heard, runtime: Some(runtime), url: format!("ws://{}", server.address()) }
    }

    /// What it has been given to recognise.
    pub(crate) fn heard(&self) -> Vec<i16> {
        self.script.heard()
    }

    /// The keys that make the talker use it.
    pub(crate) fn keys(&self) -> [(&str, &str); 2] {
        [("AGENTS__TALKER__SPEECH__URL", &self.url), ("AGENTS__TALKER__SPEECH__TOKEN", TOKEN)]
    }

    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for SpeechEngine {
    fn drop(&mut self) {
        self.end();
    }
}

const TOKEN: &str = "token-of-the-test";
