//! [`Mixer`]: several legs heard together, each listener with a mix of its own.
//!
//! Every 20 ms each member gives what it said and gets what it is to hear: everyone but itself, as its role allows. A
//! listener hears and is not heard; a whisperer is heard by one member alone. The mix is made at the highest rate of its
//! members, and legs of another rate are resampled at their edge. What is too loud is turned down by a limiter that needs
//! no look-ahead, so the mix adds no delay of its own.
//!
//! A tick allocates nothing. Its cost grows with the number of members, not with its square: what a member hears is the
//! sum of all less its own share. Only whispers are looked for one by one.

use crate::codec::{Converter, Frame, SampleRate};
use crate::limits::MIXER_MEMBERS_MAX;

/// Names a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u32);

/// Who hears a member, and whom it hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Heard by all, hears all but whispers to others. Whoever barges in is one.
    Member,
    /// Hears what members say to each other, and is heard by nobody: a supervisor who listens.
    Listener,
    /// Hears what members say, and is heard by this member alone: a supervisor who whispers.
    WhisperTo(MemberId),
    /// Neither hears nor is heard.
    Held,
}

/// [`MIXER_MEMBERS_MAX`] members are there, or one of this name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mix has no place for this member")]
pub struct MixerFull;

/// See the module.
#[derive(Debug, Default)]
pub struct Mixer {
    members: Vec<Member>,
    /// Of the mix.
    rate: Option<SampleRate>,
    /// What all members said, at the rate of the mix, not limited.
    sum: Block,
}

#[derive(Debug)]
struct Member {
    id: MemberId,
    role: Role,
    rate: SampleRate,
    is_muted: bool,
    /// In 256ths.
    gain: i32,
    /// To and from the rate of the mix, if that is another.
    edges: Option<Box<Edges>>,
    /// What it said in this tick, at the rate of the mix.
    said: Block,
    /// Whether it said anything.
    spoke: bool,
    limiter: Limiter,
}

#[derive(Debug)]
struct Edges {
    inward: Converter,
    outward: Converter,
}

/// 20 ms at the highest rate there is, in more bits than a sample has.
#[derive(Clone, Debug)]
struct Block(Box<[i32]>);

impl Default for Block {
    fn default() -> Self {
        Self(vec![0; BLOCK_LEN].into())
    }
}

impl Mixer {
    /// Of nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets a leg in. This is where memory is allocated.
    ///
    /// # Errors
    ///
    /// [`MixerFull`].
    pub fn join(&mut self, id: MemberId, role: Role, rate: SampleRate) -> Result<(), MixerFull> {
        if self.members.len() >= MIXER_MEMBERS_MAX || self.members.iter().any(|it| it.id == id) {
            return Err(MixerFull);
        }
        self.members.push(Member {
            id,
            role,
            rate,
            is_muted: false,
            gain: UNITY,
            edges: None,
            said: Block::default(),
            spoke: false,
            limiter: Limiter::default(),
        });
        self.choose_rate();
        Ok(())
    }

    /// Lets a leg go. Who whispered to it hears and is heard by nobody in its place.
    pub fn leave(&mut self, id: MemberId) {
        self.members.retain(|it| it.id != id);
        self.choose_rate();
    }

    /// Changes who hears a member and whom it hears, from the next tick on.
    pub fn set_role(&mut self, id: MemberId, role: Role) {
        if let Some(member) = self.member(id) {
            member.role = role;
        }
    }

    /// A member that is muted hears and is not heard.
    pub fn set_muted(&mut self, id: MemberId, is_muted: bool) {
        if let Some(member) = self.member(id) {
            member.is_muted = is_muted;
        }
    }

    /// How loud a member is for the others, in 256ths of what it sends; at most 16 times as loud.
    pub fn set_gain(&mut self, id: MemberId, gain: u16) {
        if let Some(member) = self.member(id) {
            member.gain = i32::from(gain.min(16 * 256));
        }
    }

    /// The rate of a member's frames; `None` if it is not there.
    pub fn rate_of(&self, id: MemberId) -> Option<SampleRate> {
        self.members.iter().find(|it| it.id == id).map(|it| it.rate)
    }

    /// The rate at which is mixed; `None` without members.
    pub const fn rate(&self) -> Option<SampleRate> {
        self.rate
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is there.
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes what a member said in this tick; who is not heard of says nothing. A frame of another rate than the member
    /// joined with is not taken.
    pub fn say(&mut self, id: MemberId, frame: &Frame) {
        let len = self.rate.map_or(0, SampleRate::frame_len);
        if let Some(member) = self.member(id).filter(|it| it.rate == frame.rate()) {
            member.take(frame, len);
        }
    }

    /// Ends the tick: `hear` gets what each member is to hear. Nothing is given to who is held.
    pub fn tick(&mut self, mut hear: impl FnMut(MemberId, &Frame)) {
        let Some(rate) = self.rate else {
            return;
        };
        let len = rate.frame_len();
        for member in &mut self.members {
            member.fill_in(len);
        }
        let mut sum = std::mem::take(&mut self.sum.0);
        sum.iter_mut().take(len).for_each(|it| *it = 0);
        for member in self.members.iter().filter(|it| it.is_heard_by_all()) {
            add(&mut sum, &member.said.0, len);
        }
        let has_whispers = self.members.iter().any(|it| it.spoke && matches!(it.role, Role::WhisperTo(_)));
        for index in 0..self.members.len() {
            if let Some((id, frame)) = self.mix_for(index, &sum, has_whispers, rate) {
                hear(id, &frame);
            }
        }
        self.sum.0 = sum;
        for member in &mut self.members {
            member.spoke = false;
        }
    }

    /// What the member at `index` is to hear of `sum`.
    fn mix_for(
        &mut self,
        index: usize,
        sum: &[i32],
        has_whispers: bool,
        rate: SampleRate,
    ) -> Option<(MemberId, Frame)> {
        let len = rate.frame_len();
        let mut mix = [0; BLOCK_LEN];
        let listener = self.members.get(index).filter(|it| it.role != Role::Held)?;
        let id = listener.id;
        for (to, from) in mix.iter_mut().take(len).zip(sum) {
            *to = *from;
        }
        if listener.is_heard_by_all() {
            for (to, own) in mix.iter_mut().take(len).zip(&listener.said.0) {
                *to -= own;
            }
        }
        for member in self.members.iter().filter(|_| has_whispers) {
            if member.role == Role::WhisperTo(id) && member.spoke && !member.is_muted {
                add(&mut mix, &member.said.0, len);
            }
        }
        let listener = self.members.get_mut(index)?;
        let mut frame = Frame::silence(rate);
        for (to, from) in frame.samples_mut().chunks_mut(STEP_LEN).zip(mix.chunks(STEP_LEN)) {
            listener.limiter.limit(from, to);
        }
        Some((id, listener.give(frame)))
    }

    fn member(&mut self, id: MemberId) -> Option<&mut Member> {
        self.members.iter_mut().find(|it| it.id == id)
    }

    /// Mixes at the highest rate from here on; the edges of all whom that changes begin anew.
    fn choose_rate(&mut self) {
        let rate = self.members.iter().map(|it| it.rate).max();
        let is_new = rate != self.rate;
        self.rate = rate;
        let Some(rate) = rate else {
            return;
        };
        for member in &mut self.members {
            if member.rate == rate {
                member.edges = None;
            } else if is_new || member.edges.is_none() {
                member.edges = Edges::between(member.rate, rate);
            }
        }
    }
}

impl Member {
    const fn is_heard_by_all(&self) -> bool {
        matches!(self.role, Role::Member) && self.spoke && !self.is_muted
    }

    fn take(&mut self, frame: &Frame, len: usize) {
        let mut inner = [0; BLOCK_LEN];
        let inner = inner.get_mut(..len).unwrap_or(&mut []);
        match &mut self.edges {
            None => inner.iter_mut().zip(frame.samples()).for_each(|(to, from)| *to = *from),
            Some(edges) => convert(&mut edges.inward, frame.samples(), inner),
        }
        let gain = self.gain;
        for (to, from) in self.said.0.iter_mut().zip(inner) {
            *to = i32::from(*from) * gain / UNITY;
        }
        self.spoke = true;
    }

    /// A resampler has 5 ms in it that must come out even if nothing more goes in.
    fn fill_in(&mut self, len: usize) {
        if !self.spoke && self.edges.is_some() {
            self.take(&Frame::silence(self.rate), len);
        }
    }

    fn give(&mut self, mixed: Frame) -> Frame {
        let Some(edges) = &mut self.edges else {
            return mixed;
        };
        let mut frame = Frame::silence(self.rate);
        convert(&mut edges.outward, mixed.samples(), frame.samples_mut());
        frame
    }
}

impl Edges {
    fn between(outside: SampleRate, inside: SampleRate) -> Option<Box<Self>> {
        let inward = Converter::new(outside.hz(), inside.hz()).ok()?;
        let outward = Converter::new(inside.hz(), outside.hz()).ok()?;
        Some(Box::new(Self { inward, outward }))
    }
}

fn convert(converter: &mut Converter, from: &[i16], to: &mut [i16]) {
    let to = to.chunks_mut(converter.output_len());
    for (from, to) in from.chunks(converter.input_len()).zip(to) {
        converter.process(from, to);
    }
}

fn add(sum: &mut [i32], what: &[i32], len: usize) {
    for (to, from) in sum.iter_mut().take(len).zip(what) {
        *to = to.saturating_add(*from);
    }
}

/// Turns down what would not fit into a sample: at once when it gets too loud, and slowly up again.
#[derive(Clone, Copy, Debug)]
struct Limiter {
    gain: f32,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { gain: 1.0 }
    }
}

impl Limiter {
    /// Limits a step of the mix.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "sums of a few hundred samples; float to integer casts saturate, which is clipping"
    )]
    fn limit(&mut self, from: &[i32], to: &mut [i16]) {
        let peak = from.iter().map(|it| it.unsigned_abs()).max().unwrap_or(0) as f32;
        let wanted = if peak > CEILING { CEILING / peak } else { 1.0 };
        let before = self.gain;
        self.gain = wanted.min(before + (1.0 - before) * RELEASE);
        if before >= 1.0 && self.gain >= 1.0 {
            for (to, from) in to.iter_mut().zip(from) {
                *to = i16::try_from(*from).unwrap_or(if *from < 0 { i16::MIN } else { i16::MAX });
            }
            return;
        }
        // Down at once, so that nothing is clipped; up along a line, so that nothing clicks.
        let start = before.min(self.gain);
        let step = (self.gain - start) / from.len().max(1) as f32;
        let mut gain = start;
        for (to, from) in to.iter_mut().zip(from) {
            gain += step;
            *to = (*from as f32 * gain).round() as i16;
        }
    }
}

/// 20 ms at the highest rate of a frame.
const BLOCK_LEN: usize = 960;
/// What the limiter looks at: 5 ms at 8 kHz.
const STEP_LEN: usize = 40;
const UNITY: i32 = 256;
/// Half a decibel below full scale.
const CEILING: f32 = 30_900.0;
/// Of the way back up, in each step.
const RELEASE: f32 = 0.04;

#[cfg(test)]
mod tests {
    use super::*;

    const A: MemberId = MemberId(1);
    const B: MemberId = MemberId(2);
    const C: MemberId = MemberId(3);
    const S: MemberId = MemberId(9);

    #[test]
    fn everyone_hears_the_others() {
        check(&[(A, Role::Member, 1), (B, Role::Member, 10), (C, Role::Member, 100)], "1:110 2:101 3:11");
    }

    #[test]
    fn a_supervisor_listens_whispers_and_barges_in() {
        let two = [(A, Role::Member, 1), (B, Role::Member, 10)];
        let with = |role| [two[0], two[1], (S, role, 1_000)];
        check(&with(Role::Listener), "1:10 2:1 9:11");
        check(&with(Role::WhisperTo(B)), "1:10 2:1001 9:11");
        check(&with(Role::Member), "1:1010 2:1001 9:11");
        check(&with(Role::Held), "1:10 2:1");
        check(&with(Role::WhisperTo(C)), "1:10 2:1 9:11");
    }

    #[test]
    fn muting_gain_and_leaving() {
        let mut mixer = mixer(&[(A, Role::Member, 0), (B, Role::Member, 0), (C, Role::Member, 0)]);
        mixer.set_muted(A, true);
        mixer.set_gain(B, 512);
        assert_eq!(hear(&mut mixer, &[(A, 1), (B, 10), (C, 100)]), "1:120 2:100 3:20");
        mixer.set_muted(A, false);
        mixer.leave(C);
        assert_eq!(hear(&mut mixer, &[(A, 1), (B, 10), (C, 100)]), "1:20 2:1");
        // Who says nothing is silent, and what was said before is not said again.
        assert_eq!(hear(&mut mixer, &[(A, 1)]), "1:0 2:1");
        assert_eq!(mixer.join(A, Role::Member, SampleRate::Hz8000), Err(MixerFull));
    }

    #[test]
    fn shouting_is_limited_without_wrapping_or_clicks() {
        let ids: Vec<_> = (0..8).map(MemberId).collect();
        let mut mixer = Mixer::new();
        for id in &ids {
            mixer.join(*id, Role::Member, SampleRate::Hz8000).unwrap();
        }
        let mut heard: Vec<i16> = vec![];
        for tick in 0..100 {
            let loud = (20..40).contains(&tick);
            for id in &ids {
                let frame = tone(tick, if loud { 20_000.0 } else { 3_000.0 }, SampleRate::Hz8000);
                mixer.say(*id, &frame);
            }
            mixer.tick(|id, frame| {
                if id == ids[0] {
                    heard.extend(frame.samples());
                }
            });
        }
        let peak = |range: std::ops::Range<usize>| heard[range].iter().map(|it| it.unsigned_abs()).max().unwrap();
        let before = peak(0..20 * 160);
        assert!(before.abs_diff(21_000) < 200, "{before}");
        let during = peak(20 * 160..40 * 160);
        assert!((30_000..=31_000).contains(&during), "{during}");
        assert!(peak(80 * 160..100 * 160).abs_diff(before) < 400, "it comes back");
        // A tone at full scale changes by less than its steepest slope and the step of the limiter.
        let steepest = heard.windows(2).skip(20 * 160).map(|it| it[0].abs_diff(it[1])).max().unwrap();
        assert!(steepest < 14_000, "{steepest}");
    }

    #[test]
    fn legs_of_other_rates_meet_at_the_highest() {
        let mut mixer = Mixer::new();
        mixer.join(A, Role::Member, SampleRate::Hz8000).unwrap();
        assert_eq!(mixer.rate(), Some(SampleRate::Hz8000));
        mixer.join(B, Role::Member, SampleRate::Hz16000).unwrap();
        mixer.join(C, Role::Listener, SampleRate::Hz8000).unwrap();
        assert_eq!(mixer.rate(), Some(SampleRate::Hz16000));
        let mut powers = [(A, 0.0), (B, 0.0), (C, 0.0)];
        for tick in 0..50 {
            mixer.say(A, &tone(tick, 4_000.0, SampleRate::Hz8000));
            mixer.say(B, &tone(tick, 2_000.0, SampleRate::Hz16000));
            mixer.tick(|id, frame| {
                let power = frame.samples().iter().map(|it| f64::from(*it).powi(2)).sum::<f64>();
                let entry = powers.iter_mut().find(|it| it.0 == id).unwrap();
                entry.1 += power / frame.samples().len() as f64 / 50.0;
            });
        }
        let amplitude = |index: usize| (2.0_f64 * powers[index].1).sqrt();
        assert!((amplitude(0) - 2_000.0).abs() < 100.0, "A hears {}", amplitude(0));
        assert!((amplitude(1) - 4_000.0).abs() < 100.0, "B hears {}", amplitude(1));
        assert!(amplitude(2) > 2_000.0, "C hears both: {}", amplitude(2));
        mixer.leave(B);
        assert_eq!((mixer.rate(), mixer.len()), (Some(SampleRate::Hz8000), 2));
    }

    /// One tick in which each says its number; what each hears, as `name:number`.
    #[track_caller]
    fn check(members: &[(MemberId, Role, i16)], expected: &str) {
        let mut mixer = mixer(members);
        let said: Vec<_> = members.iter().map(|(id, _, value)| (*id, *value)).collect();
        assert_eq!(hear(&mut mixer, &said), expected);
    }

    fn mixer(members: &[(MemberId, Role, i16)]) -> Mixer {
        let mut mixer = Mixer::new();
        for (id, role, _) in members {
            mixer.join(*id, *role, SampleRate::Hz8000).unwrap();
        }
        mixer
    }

    fn hear(mixer: &mut Mixer, said: &[(MemberId, i16)]) -> String {
        for (id, value) in said {
            mixer.say(*id, &Frame::from_samples(SampleRate::Hz8000, &[*value; 160]));
        }
        let mut heard = vec![];
        mixer.tick(|id, frame| {
            assert!(frame.samples().iter().all(|it| it == &frame.samples()[0]));
            heard.push(format!("{}:{}", id.0, frame.samples()[0]));
        });
        heard.join(" ")
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the amplitude fits")]
    fn tone(tick: usize, amplitude: f64, rate: SampleRate) -> Frame {
        let mut frame = Frame::silence(rate);
        for (at, sample) in frame.samples_mut().iter_mut().enumerate() {
            let seconds = tick as f64 / 50.0 + at as f64 / f64::from(rate.hz());
            *sample = (amplitude * (std::f64::consts::TAU * 437.0 * seconds).sin()).round() as i16;
        }
        frame
    }
}
