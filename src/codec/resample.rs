//! [`Resampler`] and [`Converter`]: from one sample rate to another by FFT, in frames of 20 ms or pieces of 10 ms.
//!
//! The settings are the ones that keep the voice band whole: 5 ms of delay, no loss at 3.4 kHz, images and aliases
//! 94 dB down.

use audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use super::{Frame, SampleRate};

/// Converts a stream between any of 8,000, 16,000, 24,000, 32,000, 44,100 and 48,000 Hz in pieces of 10 ms. Delays by 5 ms;
/// allocates only when made.
pub struct Converter {
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
        let fft = Fft::new_custom(from, to, from / 100, 1, 1, WindowFunction::Blackman, FixedSync::Input);
        let fft = fft.or(Err(UnsupportedRate(from_hz)))?;
        Ok(Self { fft, input: vec![0.0; from / 100].into(), output: vec![0.0; to / 100].into() })
    }

    /// Samples of 10 ms that go in.
    pub fn input_len(&self) -> usize {
        self.input.len()
    }

    /// Samples of 10 ms that come out.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Converts the next 10 ms of the stream; what `from` lacks is silence, and what does not fit `to` is left out.
    pub fn process(&mut self, from: &[i16], to: &mut [i16]) {
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

    /// Forgets the stream; what comes next begins a new one.
    pub fn reset(&mut self) {
        self.fft.reset();
    }
}

impl std::fmt::Debug for Converter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Converter({} to {} Hz)", self.input.len() * 100, self.output.len() * 100)
    }
}

/// Converts a stream of frames of one rate to frames of another. Delays by 5 ms; allocates only when made.
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

#[expect(clippy::cast_possible_truncation, reason = "float to integer casts saturate, which is clipping")]
fn to_sample(value: f32) -> i16 {
    // As `round`, which is a call where the processor at hand is not known to have it.
    (value + 0.5_f32.copysign(value)) as i16
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
    fn a_tone_keeps_its_pitch_and_level_and_is_five_ms_late() {
        // 1083.3 Hz is no multiple of 100 Hz, which would fall on an FFT bin and flatter the filter.
        check(SampleRate::Hz8000, SampleRate::Hz16000, 1_083.3, 60.0);
        check(SampleRate::Hz16000, SampleRate::Hz8000, 1_083.3, 60.0);
        check(SampleRate::Hz8000, SampleRate::Hz16000, 3_383.3, 50.0);
        check(SampleRate::Hz16000, SampleRate::Hz8000, 3_383.3, 50.0);
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
            let want = tone(to, hz, index, 0.005);
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
