//! [`Resampler`] and [`Converter`]: from one sample rate to another, in frames of 20 ms or pieces of 10 ms: by a half-band
//! filter between 8 and 16 kHz, by FFT between all others.
//!
//! The settings are the ones that keep the voice band whole: 3 ms of delay with the filter and 5 ms with the FFT, no loss at
//! 3.4 kHz, images and aliases 94 dB down.

use audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use super::half_band::{Doubler, Halver, PIECE_LEN, to_sample};
use super::{Frame, SampleRate};

/// Converts a stream between any of 8,000, 16,000, 24,000, 32,000, 44,100 and 48,000 Hz in pieces of 10 ms. Delays by 5 ms,
/// by 3 ms between 8,000 and 16,000 Hz; allocates only when made.
pub struct Converter {
    way: Way,
    input_len: usize,
    output_len: usize,
}

enum Way {
    Double(Box<Doubler>),
    Halve(Box<Halver>),
    Fft(Box<Transform>),
}

struct Transform {
    fft: Fft<f32>,
    input: Box<[f32]>,
    output: Box<[f32]>,
}

/// A rate that no [`Converter`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no converter for {0} Hz")]
pub struct UnsupportedRate(pub u32);

impl Converter {
    /// A converter at the beginning of a stream; both rates in hertz.
    ///
    /// # Errors
    ///
    /// [`UnsupportedRate`], if one of them is.
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self, UnsupportedRate> {
        let check = |hz: u32| match hz {
            8_000 | 16_000 | 24_000 | 32_000 | 44_100 | 48_000 => usize::try_from(hz).or(Err(UnsupportedRate(hz))),
            _ => Err(UnsupportedRate(hz)),
        };
        let (from, to) = (check(from_hz)?, check(to_hz)?);
        let way = match (from_hz, to_hz) {
            (8_000, 16_000) => Way::Double(Box::new(Doubler::new())),
            (16_000, 8_000) => Way::Halve(Box::new(Halver::new())),
            _ => {
                let fft = Fft::new_custom(from, to, from / 100, 1, 1, WindowFunction::Blackman, FixedSync::Input);
                let fft = fft.or(Err(UnsupportedRate(from_hz)))?;
                let (input, output) = (vec![0.0; from / 100].into(), vec![0.0; to / 100].into());
                Way::Fft(Box::new(Transform { fft, input, output }))
            }
        };
        Ok(Self { way, input_len: from / 100, output_len: to / 100 })
    }

    /// Samples of 10 ms that go in.
    pub const fn input_len(&self) -> usize {
        self.input_len
    }

    /// Samples of 10 ms that come out.
    pub const fn output_len(&self) -> usize {
        self.output_len
    }

    /// Converts the next 10 ms of the stream; what `from` lacks is silence, and what does not fit `to` is left out.
    pub fn process(&mut self, from: &[i16], to: &mut [i16]) {
        match &mut self.way {
            Way::Double(doubler) => {
                whole(from, to, |from: &[i16; PIECE_LEN], to| doubler.process(from, to));
            }
            Way::Halve(halver) => whole(from, to, |from, to: &mut [i16; PIECE_LEN]| halver.process(from, to)),
            Way::Fft(transform) => transform.process(from, to),
        }
    }

    /// Forgets the stream; what comes next begins a new one.
    pub fn reset(&mut self) {
        match &mut self.way {
            Way::Double(doubler) => **doubler = Doubler::new(),
            Way::Halve(halver) => **halver = Halver::new(),
            Way::Fft(transform) => transform.fft.reset(),
        }
    }
}

/// Has `process` work on whole pieces, in place where they are whole.
fn whole<const N: usize, const M: usize>(from: &[i16], to: &mut [i16], process: impl FnOnce(&[i16; N], &mut [i16; M])) {
    if let (Some(from), Some(to)) = (from.first_chunk(), to.first_chunk_mut()) {
        return process(from, to);
    }
    let (mut all_from, mut all_to) = ([0; N], [0; M]);
    for (to, from) in all_from.iter_mut().zip(from) {
        *to = *from;
    }
    process(&all_from, &mut all_to);
    for (to, from) in to.iter_mut().zip(all_to) {
        *to = from;
    }
}

impl Transform {
    fn process(&mut self, from: &[i16], to: &mut [i16]) {
        self.input.fill(0.0);
        for (to, from) in self.input.iter_mut().zip(from) {
            *to = f32::from(*from);
        }
        let (input_len, output_len) = (self.input.len(), self.output.len());
        let input = InterleavedSlice::new(&self.input, 1, input_len).expect("the buffer is as long as it says");
        let output = InterleavedSlice::new_mut(&mut self.output, 1, output_len);
        let mut output = output.expect("the buffer is as long as it says");
        self.fft.process_into_buffer(&input, &mut output, None).expect("both buffers hold exactly 10 ms");
        for (to, from) in to.iter_mut().zip(&self.output) {
            *to = to_sample(*from);
        }
    }
}

impl std::fmt::Debug for Converter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Converter({} to {} Hz)", self.input_len * 100, self.output_len * 100)
    }
}

/// Converts a stream of frames of one rate to frames of another. Delays by 3 ms; allocates only when made.
#[derive(Debug)]
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    /// `None` if both rates are the same.
    converter: Option<Converter>,
}

impl Resampler {
    /// A converter at the beginning of a stream.
    pub fn new(from: SampleRate, to: SampleRate) -> Self {
        let converter =
            (from != to).then(|| Converter::new(from.hz(), to.hz()).expect("every rate of frames is supported"));
        Self { from, to, converter }
    }

    /// The rate of the frames that go in.
    pub const fn from(&self) -> SampleRate {
        self.from
    }

    /// The rate of the frames that come out.
    pub const fn to(&self) -> SampleRate {
        self.to
    }

    /// Converts the next frame of the stream. A frame of another rate than [`Resampler::new`] was told becomes silence.
    pub fn process(&mut self, frame: &Frame) -> Frame {
        let Some(converter) = &mut self.converter else {
            return *frame;
        };
        let mut converted = Frame::silence(self.to);
        if frame.rate() != self.from {
            return converted;
        }
        let to = converted.samples_mut().chunks_mut(converter.output_len());
        for (from, to) in frame.samples().chunks(converter.input_len()).zip(to) {
            converter.process(from, to);
        }
        converted
    }

    /// Forgets the stream; the next frame begins a new one.
    pub fn reset(&mut self) {
        if let Some(converter) = &mut self.converter {
            converter.reset();
        }
    }
}

/// Brings a stream of frames to one rate, whatever rate they come at: that of a leg may change.
#[derive(Debug)]
pub struct AtRate {
    rate: SampleRate,
    resampler: Option<Resampler>,
}

impl AtRate {
    /// For frames at `rate`.
    pub const fn new(rate: SampleRate) -> Self {
        Self { rate, resampler: None }
    }

    /// The rate of the frames that come out.
    pub const fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Converts the next frame of the stream.
    pub fn process(&mut self, frame: &Frame) -> Frame {
        if frame.rate() == self.rate {
            self.resampler = None;
            return *frame;
        }
        let new = || Resampler::new(frame.rate(), self.rate);
        self.resampler.get_or_insert_with(new).process(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_keeps_its_pitch_and_level_and_is_three_ms_late() {
        // 1083.3 Hz is no multiple of 100 Hz, which would fall on an FFT bin and flatter the filter.
        check(SampleRate::Hz8000, SampleRate::Hz16000, 1_083.3, 60.0);
        check(SampleRate::Hz16000, SampleRate::Hz8000, 1_083.3, 60.0);
        check(SampleRate::Hz8000, SampleRate::Hz16000, 3_383.3, 60.0);
        check(SampleRate::Hz16000, SampleRate::Hz8000, 3_383.3, 60.0);
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_disappears() {
        let mut resampler = Resampler::new(SampleRate::Hz16000, SampleRate::Hz8000);
        let loudest = (0..10).map(|index| resampler.process(&tone(SampleRate::Hz16000, 4_783.3, index, 0.0)));
        let loudest = loudest.skip(2).flat_map(|it| it.samples().to_vec()).map(i16::unsigned_abs).max();
        assert!(loudest.is_some_and(|it| it < 5), "{loudest:?}");
    }

    #[test]
    fn clipping_saturates_and_other_rates_are_silent() {
        assert_eq!((to_sample(40_000.0), to_sample(-40_000.0), to_sample(f32::NAN)), (i16::MAX, i16::MIN, 0));
        let mut resampler = Resampler::new(SampleRate::Hz16000, SampleRate::Hz8000);
        let frame = tone(SampleRate::Hz8000, 500.0, 0, 0.0);
        assert_eq!(resampler.process(&frame), Frame::silence(SampleRate::Hz8000));
        let mut same = Resampler::new(SampleRate::Hz8000, SampleRate::Hz8000);
        assert_eq!(same.process(&frame), frame);
    }

    #[test]
    fn pieces_of_48_khz_come_and_go() {
        for (from_hz, to_hz) in [(48_000, 8_000), (8_000, 48_000), (48_000, 16_000), (16_000, 48_000)] {
            let mut converter = Converter::new(from_hz, to_hz).unwrap();
            let sample = |at: usize, hz: u32, delay: f64| {
                let seconds = f64::from(u32::try_from(at).unwrap()) / f64::from(hz) - delay;
                10_000.0 * (std::f64::consts::TAU * 1_083.3 * seconds).sin()
            };
            let (from_len, to_len) = (converter.input_len(), converter.output_len());
            let (mut signal, mut noise) = (0.0, 0.0);
            for index in 0..40 {
                let from: Vec<i16> =
                    (0..from_len).map(|it| to_wide(sample(index * from_len + it, from_hz, 0.0))).collect();
                let mut to = vec![0; to_len];
                converter.process(&from, &mut to);
                for (at, got) in to.iter().enumerate().filter(|_| index >= 4) {
                    let want = sample(index * to_len + at, to_hz, 0.005);
                    signal += want.powi(2);
                    noise += (f64::from(*got) - want).powi(2);
                }
            }
            let snr = 10.0 * (signal / noise).log10();
            assert!(snr > 60.0, "{from_hz} {to_hz}: {snr}");
        }
        assert_eq!(Converter::new(11_025, 8_000).err(), Some(UnsupportedRate(11_025)));
        assert_eq!(Converter::new(8_000, 0).err(), Some(UnsupportedRate(0)));
    }

    #[expect(clippy::cast_possible_truncation, reason = "the amplitude fits")]
    fn to_wide(value: f64) -> i16 {
        value.round() as i16
    }

    #[track_caller]
    fn check(from: SampleRate, to: SampleRate, hz: f64, snr_db: f64) {
        let mut resampler = Resampler::new(from, to);
        let (mut signal, mut noise) = (0.0, 0.0);
        for index in 0..20 {
            let got = resampler.process(&tone(from, hz, index, 0.0));
            let want = tone(to, hz, index, 0.003);
            if index >= 2 {
                for (got, want) in got.samples().iter().zip(want.samples()) {
                    signal += f64::from(*want).powi(2);
                    noise += (f64::from(*got) - f64::from(*want)).powi(2);
                }
            }
        }
        let snr = 10.0 * (signal / noise).log10();
        assert!(snr > snr_db, "{from:?} {to:?} {hz}: {snr}");
    }

    /// The `index`th frame of a tone that began `delay` seconds after the first.
    #[expect(clippy::cast_possible_truncation, reason = "the amplitude fits")]
    fn tone(rate: SampleRate, hz: f64, index: u32, delay: f64) -> Frame {
        let mut frame = Frame::silence(rate);
        for (at, sample) in (0..).map(f64::from).zip(frame.samples_mut()) {
            let seconds = f64::from(index) * 0.02 + at / f64::from(rate.hz()) - delay;
            *sample = (10_000.0 * (std::f64::consts::TAU * hz * seconds).sin()).round() as i16;
        }
        frame
    }
}
