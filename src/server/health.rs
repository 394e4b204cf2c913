//! Whether the server can take calls, and if not, which part of it cannot.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// The state of the parts that a call needs. Shared by them and by `/readyz`.
#[derive(Default)]
pub struct Health {
    draining: AtomicBool,
    parts: Mutex<BTreeMap<&'static str, Part>>,
}

/// Looked up only by `/readyz`, so a lock around it disturbs nobody.
enum Part {
    Reported(Result<(), String>),
    Watched(Box<dyn Fn() -> Result<(), String> + Send>),
}

/// What `/readyz` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether new calls are welcome.
    pub ready: bool,
    /// Whether the server is about to stop.
    pub draining: bool,
    /// `ok`, or what is wrong, by part.
    pub parts: BTreeMap<&'static str, String>,
}

impl Health {
    /// Nothing is known to be needed, and nothing is wrong.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says how `part` is: fine, or why it is not. Until it is fine, the server is not ready.
    pub fn report(&self, part: &'static str, state: Result<(), String>) {
        self.set(part, Part::Reported(state));
    }

    /// Has `part` asked how it is whenever somebody wants to know. The question must be answered at once.
    pub fn watch(&self, part: &'static str, ask: impl Fn() -> Result<(), String> + Send + 'static) {
        self.set(part, Part::Watched(Box::new(ask)));
    }

    /// From here on the server is not ready, whatever its parts say.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// How things are.
    pub fn readiness(&self) -> Readiness {
        let draining = self.draining.load(Ordering::Relaxed);
        let mut ready = !draining;
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let state = |part: &Part| match part {
            Part::Reported(state) => state.clone(),
            Part::Watched(ask) => ask(),
        };
        let describe = |(name, part): (&&'static str, &Part)| {
            let state = state(part);
            ready &= state.is_ok();
            (*name, state.map_or_else(|reason| reason, |()| "ok".to_owned()))
        };
        let parts = parts.iter().map(describe).collect();
        Readiness { ready, draining, parts }
    }

    fn set(&self, name: &'static str, part: Part) {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(name, part);
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.readiness(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn shown(health: &Health) -> String {
        serde_json::to_string(&health.readiness()).unwrap()
    }

    #[test]
    fn one_part_that_is_not_fine_is_enough() {
        let health = Health::new();
        assert_eq!(shown(&health), r#"{"ready":true,"draining":false,"parts":{}}"#);
        let broken = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&broken);
        health
            .watch("journal", move || if seen.load(Ordering::Relaxed) { Err("disk full".to_owned()) } else { Ok(()) });
        health.report("sip", Ok(()));
        assert_eq!(shown(&health), r#"{"ready":false,"draining":false,"parts":{"journal":"disk full","sip":"ok"}}"#);
        broken.store(false, Ordering::Relaxed);
        assert_eq!(shown(&health), r#"{"ready":true,"draining":false,"parts":{"journal":"ok","sip":"ok"}}"#);
        health.drain();
        assert_eq!(shown(&health), r#"{"ready":false,"draining":true,"parts":{"journal":"ok","sip":"ok"}}"#);
    }
}
