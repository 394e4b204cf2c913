//! Digits of the peer, however they are told: as events, as tones in its audio, or by INFO. One press counts once.

use std::time::Duration;

use super::{DtmfEnded, DtmfEvent, Heard, Session, Tick};
use crate::codec::{Frame, SampleRate};
use crate::limits::DTMF_DIGIT_MS_MAX;
use crate::media::tones::relay::{Means, Telling};
use crate::media::tones::{DtmfToneDetector, DtmfToneEvent};
use crate::rtp::{Digit, Header};
use crate::timer::Now;

impl Session {
    /// Takes a digit that the peer tells of by INFO, held for `ms`; unless it has told of it before, it is in the next
    /// [`Tick`]. While packets are passed on, it comes back instead, to be sent to whom they are passed on to.
    pub fn tell_digit(&mut self, digit: Digit, ms: u16, now: Now) -> Option<DtmfEnded> {
        let ended = DtmfEnded { digit, duration_ms: ms.into() };
        if self.relaying_since.is_none() {
            self.dtmf.notify(DtmfEvent::Began(digit, Means::Info));
            self.dtmf.notify(DtmfEvent::Ended(ended, Means::Info));
            return None;
        }
        let is_first = self.one_telling.admits(digit, Means::Info, now) == Telling::First;
        is_first.then(|| {
            self.received.digits += 1;
            self.let_go(ended, Means::Info, now);
            ended
        })
    }

    /// Whether the peer takes telephone events.
    pub fn takes_events(&self) -> bool {
        self.remote.is_some_and(|it| it.telephone_event.is_some())
    }

    /// Takes a packet of an event.
    pub(super) fn take_event(&mut self, header: &Header, payload: &[u8], clock_hz: u32, now: Now) {
        self.event_heard = Some(now);
        self.dtmf.handle(header, payload, clock_hz, now);
    }

    /// Looks for tones in 20 ms, if the peer is one that may send them.
    pub(super) fn hear_tones(&mut self, heard: &Heard) {
        let Some(tones) = &mut self.tones else {
            return;
        };
        let silence = Frame::silence(self.remote.map_or(SampleRate::Hz8000, |it| it.codec.rate()));
        let frame = match heard {
            Heard::Audio(frame) | Heard::Concealed(frame) => frame,
            Heard::Nothing => &silence,
        };
        for event in tones.handle_frame(frame).into_iter().flatten() {
            self.dtmf.notify(match event {
                DtmfToneEvent::Began(digit) => DtmfEvent::Began(digit, Means::Tone),
                DtmfToneEvent::Ended(ended) => DtmfEvent::Ended(ended, Means::Tone),
            });
        }
    }

    /// Looks for tones of `rate` from here on, or for none; those before are forgotten.
    pub(super) fn listen_for_tones(&mut self, rate: Option<SampleRate>) {
        self.tones = rate.map(|it| Box::new(DtmfToneDetector::new(it)));
        self.tone = None;
    }

    /// Tells of what digits have come.
    pub(super) fn tell_digits(&mut self, tick: &mut Tick, now: Now) {
        let mut has_tone_ended = false;
        while let Some(event) = self.dtmf.poll_event(|it| tick.has_room_for(it)) {
            match event {
                DtmfEvent::Began(digit, means) => {
                    let telling = self.one_telling.admits(digit, means, now);
                    if means == Means::Tone {
                        self.tone = Some(telling);
                    }
                    if telling == Telling::First {
                        self.received.digits += 1;
                        tick.dtmf = Some(digit);
                    }
                }
                DtmfEvent::Ended(ended, means) => {
                    has_tone_ended |= means == Means::Tone;
                    let counts = self.let_go(ended, means, now);
                    // Most of an event that was passed on when it began has been passed on already.
                    let was_relayed = means == Means::Event && std::mem::take(&mut self.digit_was_relayed);
                    tick.dtmf_ended = Some(ended).filter(|_| counts && !was_relayed);
                }
            }
        }
        tick.tone = if has_tone_ended { self.tone.take() } else { self.tone };
    }

    /// Counts the digits whose events have been passed on.
    pub(super) fn count_passed_digits(&mut self, now: Now) {
        while let Some(event) = self.dtmf.poll_event(|_| true) {
            match event {
                DtmfEvent::Began(digit, means) => {
                    let is_first = self.one_telling.admits(digit, means, now) == Telling::First;
                    self.received.digits += u64::from(is_first);
                }
                DtmfEvent::Ended(ended, means) => {
                    self.let_go(ended, means, now);
                }
            }
        }
    }

    /// Whether events of the peer come, or may still be under way.
    pub(super) fn is_pressed(&self, now: Now) -> bool {
        self.dtmf.is_active() || self.event_heard.is_some_and(|it| now - it < LAST_COPY)
    }

    fn let_go(&mut self, ended: DtmfEnded, means: Means, now: Now) -> bool {
        // INFO tells of the whole press, and may come when it begins.
        let rest_ms = if means == Means::Info { ended.duration_ms.min(DTMF_DIGIT_MS_MAX.into()) } else { 0 };
        self.one_telling.ends(ended.digit, means, now + Duration::from_millis(rest_ms.into()))
    }
}

impl Tick {
    const fn has_room_for(&self, event: &DtmfEvent) -> bool {
        match event {
            DtmfEvent::Began(..) => self.dtmf.is_none() && self.dtmf_ended.is_none(),
            DtmfEvent::Ended(..) => self.dtmf_ended.is_none(),
        }
    }
}

/// The end of an event is told three times, at most 60 ms apart.
const LAST_COPY: Duration = Duration::from_millis(150);
