//! [`CallProgress`]: tones by their frequencies and cadence: ringing, busy, congestion, special information, fax, the beep
//! of an answering machine, and silence that lasts.
//!
//! Frames become stretches of one kind, and a stretch that has ended is judged with the ones before it. Speech is a
//! stretch too: a tone in the middle of it is none.

use std::collections::VecDeque;

use super::spectrum::{Kind, Measured, Spectrum};
use crate::codec::{Frame, SampleRate};
use crate::media::tones::call_tones::CallTones;

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// It rings at the other end.
    Ringback,
    /// The other end is engaged.
    Busy,
    /// The network has no way.
    Congestion,
    /// An announcement of the network follows.
    SpecialInformation,
    /// A fax machine that calls.
    FaxCalling,
    /// A fax machine that has answered.
    FaxAnswering,
    /// A machine records from now on.
    Beep,
    /// Nothing was heard for [`SILENCE_MS`].
    Silence,
}

/// Why a verdict was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The frequency, or that of the last tone, in hertz; 0 if there was more than one.
    pub hz: u16,
    /// How long the tone lasted, in milliseconds; of silence, for how long it has.
    pub tone_ms: u32,
    /// How long the pause was that followed it.
    pub pause_ms: u32,
    /// How many tones were heard.
    pub repeats: u8,
    /// The root mean square of its samples.
    pub rms: u16,
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detection {
    /// What was heard.
    pub detected: Detected,
    /// In milliseconds since the first frame.
    pub at_ms: u32,
    /// What speaks for it.
    pub evidence: Evidence,
}

/// Listens for tones. Each of them is told once until something else is heard.
#[derive(Clone, Debug)]
pub struct CallProgress {
    rate: SampleRate,
    country: Option<&'static CallTones>,
    spectrum: Spectrum,
    frames: u32,
    /// The stretch that goes on.
    current: Stretch,
    /// A frame that is not like the current stretch may be an exception.
    odd: Option<Stretch>,
    /// The stretches before it, the latest last.
    past: VecDeque<Stretch>,
    has_heard_speech: bool,
    told: Option<Detected>,
    /// The quietest frame of this second and of the one before, tones left out: the noise of the line.
    quietest: [f32; 2],
    /// The frames of this second that are no tones.
    untoned: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Silence,
    Tone,
    Network,
    Other,
}

/// Frames of one kind in a row.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    class: Class,
    frames: u32,
    /// Sum and sum of squares of the frequency, for its mean and spread.
    hz_sum: f32,
    hz_squares: f32,
    rms_sum: f32,
    /// The last frame's, which may hold the end of the stretch, and those between the first and the last.
    rms_last: f32,
    inner: u32,
    inner_sum: f32,
    inner_squares: f32,
}

impl CallProgress {
    /// For audio of this rate. Where the country is known, its busy and congestion tones are told from each other by its
    /// own cadences.
    pub fn new(rate: SampleRate, country: Option<&'static CallTones>) -> Self {
        Self {
            rate,
            country,
            spectrum: Spectrum::new(rate),
            frames: 0,
            current: Stretch::NONE,
            odd: None,
            past: VecDeque::with_capacity(STRETCHES_MAX + 1),
            has_heard_speech: false,
            told: None,
            quietest: [f32::INFINITY; 2],
            untoned: 0,
        }
    }

    /// Hears 20 ms.
    pub fn handle_frame(&mut self, frame: &Frame) -> Option<Detection> {
        self.frames = self.frames.saturating_add(1);
        if frame.rate() != self.rate {
            return None;
        }
        let measured = self.spectrum.measure(frame, self.noise());
        self.follow_noise(measured);
        let next = Stretch::of(measured.kind, measured.rms);
        if self.current.takes(&next) {
            if let Some(odd) = self.odd.take() {
                self.current.frames += odd.frames;
            }
            self.current.add(&next);
        } else if let Some(odd) = self.odd.take().filter(|it| it.takes(&next)) {
            let mut begun = odd;
            begun.add(&next);
            self.end_stretch(begun);
        } else {
            self.odd = Some(next);
        }
        let (detected, evidence) = self.judge()?;
        if self.told == Some(detected) {
            return None;
        }
        self.told = Some(detected);
        Some(Detection { detected, at_ms: self.frames.saturating_mul(Frame::MS), evidence })
    }

    /// The root mean square of the noise, 0 as long as nothing is known of it.
    fn noise(&self) -> f32 {
        let [now, before] = self.quietest;
        let now = if self.untoned < UNTONED_FRAMES_MIN { before } else { now };
        Some(now.min(before)).filter(|it| it.is_finite()).map_or(0.0, |it| it.min(NOISE_MAX))
    }

    /// Whoever speaks pauses for breath and between words.
    fn follow_noise(&mut self, measured: Measured) {
        let [now, before] = &mut self.quietest;
        if !matches!(measured.kind, Kind::Tone { .. } | Kind::Network) {
            *now = now.min(measured.rms);
            self.untoned += 1;
        }
        if self.frames.is_multiple_of(NOISE_FRAMES) {
            let is_known = self.untoned >= UNTONED_FRAMES_MIN;
            (*before, *now) = (if is_known { *now } else { *before }, f32::INFINITY);
            self.untoned = 0;
        }
    }

    /// Whether what is heard is a tone, and longer than a vowel.
    pub(super) const fn is_long_tone(&self) -> bool {
        self.current.is_tone() && self.current.frames >= 12
    }

    fn end_stretch(&mut self, next: Stretch) {
        let ended = std::mem::replace(&mut self.current, next);
        if ended.class == Class::Other && ended.frames >= 5 {
            self.has_heard_speech = true;
            self.told = None;
        }
        if ended.frames > 0 {
            self.past.push_back(ended);
        }
        if self.past.len() > STRETCHES_MAX {
            self.past.pop_front();
        }
    }

    fn judge(&self) -> Option<(Detected, Evidence)> {
        let current = &self.current;
        match current.class {
            Class::Silence => self.judge_silence(current.ms()),
            Class::Tone => self.judge_tone(current),
            Class::Network | Class::Other => None,
        }
    }

    fn judge_tone(&self, tone: &Stretch) -> Option<(Detected, Evidence)> {
        let (hz, ms) = (tone.hz(), tone.ms());
        if (hz - 2_100.0).abs() < 20.0 && ms >= 800 && tone.spread() < 15.0 {
            return Some((Detected::FaxAnswering, tone.evidence()));
        }
        if (1_750.0..1_900.0).contains(&hz) && ms >= 200 {
            let mut before = self.past.iter().rev().filter(|it| !(it.class == Class::Silence && it.ms() <= 60));
            let mut is_step = |range: std::ops::Range<f32>| {
                before.next().is_some_and(|it| {
                    it.class == Class::Tone && range.contains(&it.hz()) && (180..=480).contains(&it.ms())
                })
            };
            if is_step(1_330.0..1_500.0) && is_step(870.0..1_030.0) {
                return Some((Detected::SpecialInformation, Evidence { repeats: 3, ..tone.evidence() }));
            }
        }
        None
    }

    fn judge_silence(&self, pause_ms: u32) -> Option<(Detected, Evidence)> {
        let tone = self.past.back().filter(|it| it.is_tone());
        if let Some(tone) = tone {
            let evidence = Evidence { pause_ms, ..tone.evidence() };
            if tone.class == Class::Tone && (tone.hz() - 1_100.0).abs() < 30.0 && (420..=600).contains(&tone.ms()) {
                return (pause_ms >= 200).then_some((Detected::FaxCalling, evidence));
            }
            if tone.is_of_network()
                && let Some(found) = self.judge_cadence(tone, pause_ms)
            {
                return Some(found);
            }
            if self.is_beep(tone, pause_ms) {
                return Some((Detected::Beep, evidence));
            }
        }
        (pause_ms >= SILENCE_MS).then(|| (Detected::Silence, Evidence { tone_ms: pause_ms, ..Evidence::default() }))
    }

    /// One clean tone that is neither part of a sequence nor of a cadence. Where it could be one of the network's, only
    /// after somebody has spoken, and once nothing of a cadence has followed.
    fn is_beep(&self, tone: &Stretch, pause_ms: u32) -> bool {
        let (hz, ms) = (tone.hz(), tone.ms());
        let is_clean = tone.is_steady();
        let is_long_enough = (120..=2_000).contains(&ms) && (380.0..2_250.0).contains(&hz);
        let is_part = |it: &Stretch| it.is_steady() || (it.class == Class::Network && it.frames >= 8);
        let mut before = self.past.iter().rev().skip(1);
        let in_sequence = match before.next() {
            Some(it) if it.class == Class::Silence && it.ms() < 2_500 => before.next().is_some_and(is_part),
            Some(it) => is_part(it),
            None => false,
        };
        let patience_ms = if tone.is_of_network() { 1_500 } else { 160 };
        let is_plausible = !tone.is_of_network() || self.has_heard_speech;
        is_clean && is_long_enough && !in_sequence && is_plausible && pause_ms >= patience_ms
    }

    /// Ringing, busy or congestion, by the tones and pauses so far; `last` is the tone that this pause follows.
    fn judge_cadence(&self, last: &Stretch, pause_ms: u32) -> Option<(Detected, Evidence)> {
        let mut tones: [u32; STRETCHES_MAX] = [0; STRETCHES_MAX];
        let mut pauses: [u32; STRETCHES_MAX] = [0; STRETCHES_MAX];
        let (mut count, mut gaps) = (0_usize, 0_usize);
        for stretch in self.past.iter().rev() {
            if stretch.is_of_network() && count == gaps {
                if let Some(slot) = tones.get_mut(count) {
                    *slot = stretch.ms();
                }
                count += 1;
            } else if stretch.class == Class::Silence && count == gaps + 1 {
                if let Some(slot) = pauses.get_mut(gaps) {
                    *slot = stretch.ms();
                }
                gaps += 1;
            } else {
                break;
            }
        }
        let repeats = u8::try_from(count).unwrap_or(u8::MAX);
        let evidence = Evidence { pause_ms, repeats, ..last.evidence() };
        let [first, second, third, ..] = tones;
        let [first_pause, second_pause, ..] = pauses;
        let is_double_ring = like(first, 400) && like(second, 400) && like(first_pause, 200);
        let is_ring = (700..=2_600).contains(&first) || is_double_ring;
        if is_ring && pause_ms >= 1_000 {
            return Some((Detected::Ringback, evidence));
        }
        let is_even = like(first, second) && like(second, third) && like(first_pause, second_pause);
        if count < 3 || !is_even || pause_ms < 100 || first > 850 || first_pause > 900 {
            return None;
        }
        let cycle = first + first_pause;
        let cycle_of = |it: &[crate::media::tones::Piece]| it.iter().map(|it| u32::from(it.ms)).sum::<u32>();
        let is_congestion = match self.country {
            Some(tones) => cycle.abs_diff(cycle_of(tones.congestion)) < cycle.abs_diff(cycle_of(tones.busy)),
            None => cycle < CONGESTION_CYCLE_MS,
        };
        let evidence = Evidence { pause_ms: first_pause, ..evidence };
        Some((if is_congestion { Detected::Congestion } else { Detected::Busy }, evidence))
    }
}

impl Stretch {
    const NONE: Self = Self {
        class: Class::Silence,
        frames: 0,
        hz_sum: 0.0,
        hz_squares: 0.0,
        rms_sum: 0.0,
        rms_last: 0.0,
        inner: 0,
        inner_sum: 0.0,
        inner_squares: 0.0,
    };

    fn of(kind: Kind, rms: f32) -> Self {
        let (class, hz) = match kind {
            Kind::Silence => (Class::Silence, 0.0),
            Kind::Tone { hz } => (Class::Tone, hz),
            Kind::Network => (Class::Network, 0.0),
            Kind::Other => (Class::Other, 0.0),
        };
        Self { class, frames: 1, hz_sum: hz, hz_squares: hz * hz, rms_sum: rms, rms_last: rms, ..Self::NONE }
    }

    /// Whether the next frame is more of the same.
    fn takes(&self, next: &Self) -> bool {
        match (self.class, next.class) {
            (Class::Tone, Class::Tone) => (self.hz() - next.hz()).abs() < 60.0,
            // Two frequencies that beat look like one now and then.
            (Class::Network, Class::Tone) | (Class::Tone, Class::Network) => {
                (self.is_of_network() || self.frames == 0) && next.is_of_network()
            }
            (a, b) => a == b,
        }
    }

    fn add(&mut self, next: &Self) {
        if next.class == Class::Network {
            self.class = Class::Network;
        }
        self.frames += next.frames;
        self.hz_sum += next.hz_sum;
        self.hz_squares += next.hz_squares;
        self.rms_sum += next.rms_sum;
        if self.frames > 2 {
            self.inner += 1;
            self.inner_sum += self.rms_last;
            self.inner_squares += self.rms_last * self.rms_last;
        }
        self.rms_last = next.rms_last;
    }

    /// One frequency, and as loud at the end as at the beginning: no voice does that.
    fn is_steady(&self) -> bool {
        let count = f32::from(u16::try_from(self.inner).unwrap_or(u16::MAX));
        let (mean, squares) = (self.inner_sum / count.max(1.0), self.inner_squares / count.max(1.0));
        let is_flat = self.inner >= 3 && (squares - mean * mean).max(0.0).sqrt() < 0.1 * mean;
        self.class == Class::Tone && is_flat && self.spread() < 0.01 * self.hz()
    }

    const fn ms(&self) -> u32 {
        self.frames.saturating_mul(Frame::MS)
    }

    fn mean(&self, sum: f32) -> f32 {
        sum / f32::from(u16::try_from(self.frames.max(1)).unwrap_or(u16::MAX))
    }

    fn hz(&self) -> f32 {
        self.mean(self.hz_sum)
    }

    fn spread(&self) -> f32 {
        (self.mean(self.hz_squares) - self.hz().powi(2)).max(0.0).sqrt()
    }

    const fn is_tone(&self) -> bool {
        matches!(self.class, Class::Tone | Class::Network)
    }

    /// Whether it can be a ringing or busy tone: two frequencies, or one as low as those of the table.
    fn is_of_network(&self) -> bool {
        self.class == Class::Network || (self.class == Class::Tone && (370.0..490.0).contains(&self.hz()))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
    fn evidence(&self) -> Evidence {
        Evidence {
            hz: if self.class == Class::Tone { self.hz() as u16 } else { 0 },
            tone_ms: self.ms(),
            pause_ms: 0,
            repeats: 1,
            rms: self.mean(self.rms_sum) as u16,
        }
    }
}

/// Alike but for the frames at both ends.
const fn like(a: u32, b: u32) -> bool {
    a > 0 && a.abs_diff(b) <= 60 + b / 10
}

/// After so much silence, it is told.
pub const SILENCE_MS: u32 = 10_000;
const STRETCHES_MAX: usize = 16;
/// A second.
const NOISE_FRAMES: u32 = 50;
/// Fewer in a second are where tones begin and end.
const UNTONED_FRAMES_MIN: u32 = 10;
/// What is louder than -22 dB of full scale is not taken for noise.
const NOISE_MAX: f32 = 2_500.0;
/// Busy tones are slow, congestion is fast, in most countries.
const CONGESTION_CYCLE_MS: u32 = 600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::tones::call_tones::ALL;
    use crate::media::tones::generator::{BEEP, FAX_ANSWERING, FAX_CALLING, SPECIAL_INFORMATION};
    use crate::media::tones::synthetic::{Noise, speech};
    use crate::media::tones::{Piece, ToneGenerator};

    #[test]
    fn tones_of_machines_are_told_at_once() {
        for noise in [0.0, 100.0, 300.0] {
            let fax = check(FAX_CALLING, false, noise, Detected::FaxCalling);
            assert!((690..=800).contains(&fax.at_ms), "{fax:?}");
            check(FAX_ANSWERING, false, noise, Detected::FaxAnswering);
            check(SPECIAL_INFORMATION, false, noise, Detected::SpecialInformation);
        }
    }

    #[test]
    fn tones_of_every_country_are_told_by_their_cadence() {
        let mut times = vec![];
        for tones in ALL {
            for (pieces, expected) in [
                (tones.ringback, Detected::Ringback),
                (tones.busy, Detected::Busy),
                (tones.congestion, Detected::Congestion),
            ] {
                // One tone for both, or a cadence that is not even.
                let is_uneven = pieces.len() > 2;
                if expected == Detected::Congestion && (tones.congestion == tones.busy || is_uneven) {
                    continue;
                }
                let found = run(Some(tones), pieces, 100.0);
                assert_eq!(found.map(|it| it.detected), Some(expected), "{} {expected:?}", tones.country);
                times.push(format!("{} {expected:?} {}", tones.country, found.map_or(0, |it| it.at_ms)));
            }
        }
        println!("{}", times.join(", "));
    }

    #[test]
    fn beeps_are_found_after_speech_and_nothing_else_is_one() {
        let mut found = 0;
        let mut late = vec![];
        for (seed, hz) in (0..).zip([440, 500, 700, 852, 1_000, 1_100, 1_400, 1_633, 1_900, 2_000]) {
            for ms in [160, 300, 800, 1_500] {
                let mut frames = speech(seed, 4_000, SampleRate::Hz8000);
                let mut beep = ToneGenerator::new(&[Piece::tone(hz, ms)], false, -14.0, SampleRate::Hz8000);
                frames.extend(std::iter::repeat_n(Frame::silence(SampleRate::Hz8000), 15));
                frames.extend(std::iter::from_fn(|| beep.next_frame()));
                frames.extend(std::iter::repeat_n(Frame::silence(SampleRate::Hz8000), 100));
                let heard = hear(None, frames.into_iter(), 60.0);
                let hit = heard.iter().find(|it| it.detected == Detected::Beep);
                found += u32::from(hit.is_some());
                if hit.is_none() {
                    println!("missed: {hz} Hz for {ms} ms: {heard:?}");
                }
                late.extend(hit.map(|it| it.at_ms.saturating_sub(4_300 + u32::from(ms))));
            }
        }
        late.sort_unstable();
        println!(
            "beeps found: {found} of 40; ms after their end: median {}, worst {:?}",
            late[late.len() / 2],
            late.last()
        );
        assert!(found >= 38, "{found}");
        check(BEEP, false, 0.0, Detected::Beep);
        let mut false_beeps = 0;
        for tones in ALL {
            for pieces in [tones.ringback, tones.busy, tones.congestion] {
                let heard = hear_tones(None, pieces, true, 50.0);
                false_beeps += heard.iter().filter(|it| it.detected == Detected::Beep).count();
            }
        }
        assert_eq!(false_beeps, 0);
    }

    #[test]
    fn speech_and_digits_are_no_tones() {
        let mut alarms = vec![];
        for seed in 0..15 {
            let mut noise = Noise::new(seed);
            let frames = speech(seed, 20_000, SampleRate::Hz8000);
            let frames = frames.into_iter().map(move |it| noise.add(&it, if seed % 2 == 0 { 200.0 } else { 0.0 }));
            alarms.extend(hear(None, frames, 0.0));
        }
        for digit in "0123456789*#".chars().filter_map(crate::rtp::Digit::from_char) {
            let mut tone = ToneGenerator::digit(digit, 200, SampleRate::Hz8000);
            let frames = std::iter::from_fn(|| tone.next_frame());
            alarms.extend(hear(None, frames.chain([Frame::silence(SampleRate::Hz8000); 50]), 0.0));
        }
        println!("false alarms in 5 minutes of synthesised speech and 12 digits: {alarms:?}");
        assert!(alarms.is_empty(), "{alarms:?}");
    }

    #[test]
    fn lasting_silence_is_told_once() {
        let heard = hear(None, std::iter::repeat_n(Frame::silence(SampleRate::Hz16000), 2_000), 0.0);
        assert!(heard.is_empty(), "another rate: {heard:?}");
        let heard = hear(None, std::iter::repeat_n(Frame::silence(SampleRate::Hz8000), 2_000), 0.0);
        assert_eq!(heard.iter().map(|it| (it.detected, it.at_ms)).collect::<Vec<_>>(), [(Detected::Silence, 10_000)]);
    }

    #[track_caller]
    fn check(pieces: &[Piece], repeats: bool, noise: f32, expected: Detected) -> Detection {
        let heard = hear_tones(None, pieces, repeats, noise);
        assert_eq!(heard.iter().map(|it| it.detected).collect::<Vec<_>>(), [expected], "{noise}");
        heard[0]
    }

    fn run(country: Option<&'static CallTones>, pieces: &[Piece], noise: f32) -> Option<Detection> {
        hear_tones(country, pieces, true, noise).into_iter().next()
    }

    fn hear_tones(country: Option<&'static CallTones>, pieces: &[Piece], repeats: bool, noise: f32) -> Vec<Detection> {
        let mut tone = ToneGenerator::new(pieces, repeats, -16.0, SampleRate::Hz8000);
        let silence = std::iter::repeat(Frame::silence(SampleRate::Hz8000));
        let frames = std::iter::from_fn(|| tone.next_frame()).chain(silence).take(450);
        hear(country, frames, noise)
    }

    fn hear(country: Option<&'static CallTones>, frames: impl Iterator<Item = Frame>, noise: f32) -> Vec<Detection> {
        let mut detector = CallProgress::new(SampleRate::Hz8000, country);
        let mut hiss = Noise::new(11);
        frames
            .filter_map(|it| {
                // Silence of a telephone line is quieter than what is spoken over it.
                let level = crate::media::levels::Level::of(&it).rms;
                let noisy = if level > 0 { hiss.add(&it, noise) } else { hiss.add(&it, noise.min(100.0)) };
                detector.handle_frame(if noise > 0.0 { &noisy } else { &it })
            })
            .collect()
    }
}
