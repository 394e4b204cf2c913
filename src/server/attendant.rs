//! The actor of a call between two people: it says nothing and hears nothing, and looks after the recording of their call.

use std::sync::Arc;

use crate::config::Consent;
use crate::server::call_actor::Shared;
use crate::server::call_recording::{CallRecording, RecordingPlan};
use crate::server::clock;
use crate::server::new_call::NewCall;
use crate::server::recorder::Format;
use crate::server::sip_worker::Signal;

/// Attends to a call until it is over.
pub(crate) async fn run(new: NewCall, shared: Shared) {
    let NewCall { call, rate, mut signals, .. } = new;
    // Nobody can ask them: whoever has the call recorded vouches for their consent.
    let plan = RecordingPlan { enabled: false, format: Format::Wav, consent: Consent::Announce, words: Arc::from([]) };
    let answered = shared.log.answered(call).unwrap_or_else(clock::now);
    let recordings = Arc::clone(&shared.recordings);
    let recording = CallRecording::new(call, Arc::new(plan), recordings, shared.worker.clone(), rate);
    let mut recording = recording.answered_at(answered);
    let ended = loop {
        match signals.recv().await {
            Some(Signal::Record(request, reply)) => {
                // Whoever asked may have gone.
                reply.send(recording.handle_request(request, clock::now())).unwrap_or_default();
                for event in recording.take_events() {
                    shared.log.write(call, event, clock::now()).await;
                }
            }
            Some(Signal::Ended { end, cause, media }) => break Some((end, cause, media)),
            Some(Signal::Ringing | Signal::Answered | Signal::Transferred(_)) => (),
            // The worker is gone, and with it the process.
            None => break None,
        }
    };
    if let Some((end, cause, media)) = ended {
        for event in recording.finish().await {
            shared.log.write(call, event, clock::now()).await;
        }
        shared.log.finish(call, end, cause, media).await;
    }
}
