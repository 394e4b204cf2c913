//! The actor of a call between two people: it looks after the recording of their call, has them told or asked before, and
//! looks after what is played to them.

use std::sync::Arc;

use futures_util::future::select_all;
use smallvec::SmallVec;
use tokio::sync::mpsc;

use crate::call::End;
use crate::codec::SampleRate;
use crate::identity::{CallId, LegId};
use crate::platform::calls::EndCause;
use crate::server::call_actor::Shared;
use crate::server::call_recording::{Ask, CallRecording};
use crate::server::clock;
use crate::server::consent::{Answer, Listener};
use crate::server::media_link::{self, LegCommand, LegTick, TaskEnd};
use crate::server::media_worker::Telling;
use crate::server::new_call::NewCall;
use crate::server::plays::Plays;
use crate::server::sip_worker::{Bridged, Command, MediaClosed, Signal};

/// How a call is over.
pub(crate) type Over = (End, Option<EndCause>, MediaClosed);

/// Attends to a call until it is over.
pub(crate) async fn run(new: NewCall, shared: Shared) {
    let NewCall { call, rate, mut signals, .. } = new;
    let recordings = Arc::clone(&shared.recordings);
    let recording = CallRecording::new(call, shared.plans.unwritten(), recordings, shared.worker.clone(), rate);
    let answered = shared.log.answered(call).unwrap_or_else(clock::now);
    let mut recording = recording.answered_at(answered);
    let mut plays = Plays::new(shared.worker.clone(), Arc::clone(&shared.sounds), Arc::clone(&shared.metrics));
    let over = attend(call, &mut recording, &mut plays, None, &mut signals, &shared).await;
    if let Some((end, cause, media)) = over {
        shared.log.write_all(call, plays.finish().await).await;
        for event in recording.finish().await {
            shared.log.write(call, event, clock::now()).await;
        }
        shared.log.finish(call, end, cause, media).await;
    }
}

/// The same, of a call in which people talk from `bridged` on, until it is over; `None` if the process is.
pub(crate) async fn attend(
    call: CallId,
    recording: &mut CallRecording,
    plays: &mut Plays,
    bridged: Option<Bridged>,
    signals: &mut mpsc::Receiver<Signal>,
    shared: &Shared,
) -> Option<Over> {
    let mut asking = Asking { call, worker: shared.worker.clone(), listeners: SmallVec::new() };
    if let Some(bridged) = bridged {
        asking.begin(recording.handle_bridged(&bridged, clock::now())).await;
    }
    loop {
        for event in recording.take_events() {
            shared.log.write(call, event, clock::now()).await;
        }
        shared.log.write_all(call, plays.take_events()).await;
        if !recording.is_asking() {
            asking.end().await;
        }
        tokio::select! {
            biased;
            signal = signals.recv() => match signal {
                Some(Signal::Ended { end, cause, media }) => return Some((end, cause, media)),
                Some(Signal::Bridged(bridged)) => asking.begin(recording.handle_bridged(&bridged, clock::now())).await,
                Some(Signal::Record(request, reply)) => {
                    let done = recording.handle_request(request, clock::now());
                    // Whoever asked may have gone.
                    reply.send(done.as_ref().map(|_| ()).map_err(|it| *it)).unwrap_or_default();
                    if let Ok(Some(ask)) = done {
                        asking.begin(Some(ask)).await;
                    }
                }
                Some(Signal::Play(request, seats, reply)) => {
                    reply.send(plays.handle_request(request, &seats, clock::now())).unwrap_or_default();
                }
                Some(Signal::Ringing | Signal::Answered | Signal::Transferred(_)) => (),
                // The worker is gone, and with it the process.
                None => return None,
            },
            () = plays.next() => (),
            (leg, answer) = asking.next() => {
                asking.release(leg).await;
                // Whoever's leg is gone has not agreed, and the end of the call follows.
                if let Some(answer) = answer {
                    recording.handle_answer(leg, answer, clock::now());
                }
            }
        }
    }
}

/// Has the peer of a leg told something, or ends that.
pub(crate) async fn tell(worker: mpsc::Sender<Command>, leg: LegId, telling: Option<Box<Telling>>) {
    // Without a worker there is no call either.
    drop(worker.send(Command::Tell(leg, telling)).await);
}

/// Those who are being told or asked.
struct Asking {
    call: CallId,
    worker: mpsc::Sender<Command>,
    listeners: SmallVec<[Person; 2]>,
}

struct Person {
    leg: u8,
    link: TaskEnd,
    listener: Listener,
}

impl Person {
    /// How it takes it, in the end; `None` if its leg is gone.
    async fn answer(&mut self) -> Option<Answer> {
        while let Some(tick) = self.link.tick().await {
            if let Some(answer) = self.hear(&tick) {
                return Some(answer);
            }
        }
        None
    }

    fn hear(&mut self, tick: &LegTick) -> Option<Answer> {
        let had_answered = self.listener.has_answered();
        let answer = self.listener.handle_tick(tick);
        if self.listener.has_answered() && !had_answered {
            // It need not hear the rest. This never fails.
            self.link.command(LegCommand::Clear).unwrap_or(());
        }
        answer
    }
}

impl Asking {
    /// Begins anew, with whoever is to be told or asked now.
    async fn begin(&mut self, ask: Option<Ask>) {
        self.end().await;
        let Some(Ask { consent, clip, legs }) = ask else {
            return;
        };
        for leg in legs {
            // Nothing of what is heard is used but the keys.
            let (link, worker_end) = media_link::link(SampleRate::Hz8000);
            let takes_keys = consent == crate::config::Consent::Ask;
            let telling = Telling { clip: clip.clone(), link: Some(worker_end), takes_keys };
            tell(self.worker.clone(), LegId { call: self.call, index: leg }, Some(Box::new(telling))).await;
            self.listeners.push(Person { leg, link, listener: Listener::new(consent, &clip) });
        }
    }

    /// The first who has answered, or whose leg is gone.
    async fn next(&mut self) -> (u8, Option<Answer>) {
        if self.listeners.is_empty() {
            return std::future::pending().await;
        }
        let answers = self.listeners.iter_mut().map(|it| {
            Box::pin(async move {
                let leg = it.leg;
                (leg, it.answer().await)
            })
        });
        select_all(answers).await.0
    }

    /// Nothing more is wanted of a leg.
    async fn release(&mut self, leg: u8) {
        self.listeners.retain(|it| it.leg != leg);
        tell(self.worker.clone(), LegId { call: self.call, index: leg }, None).await;
    }

    async fn end(&mut self) {
        while let Some(leg) = self.listeners.first().map(|it| it.leg) {
            self.release(leg).await;
        }
    }
}
