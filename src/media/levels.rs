//! How loud audio is.

use crate::codec::Frame;

/// The level of a piece of audio, on the scale of its samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Root mean square, rounded down.
    pub rms: u16,
    /// The largest magnitude.
    pub peak: u16,
}

impl Level {
    /// Of a frame.
    pub fn of(frame: &Frame) -> Self {
        Self::of_samples(frame.samples())
    }

    /// Of samples; the level of none is zero.
    pub fn of_samples(samples: &[i16]) -> Self {
        let square = |it: &i16| u64::from(it.unsigned_abs()).pow(2);
        let count = u64::try_from(samples.len()).unwrap_or(u64::MAX).max(1);
        let mean = samples.iter().map(square).sum::<u64>() / count;
        let peak = samples.iter().map(|it| it.unsigned_abs()).max().unwrap_or(0);
        Self { rms: u16::try_from(mean.isqrt()).unwrap_or(u16::MAX), peak }
    }

    /// So quiet that nobody notices a little more or less of it: under -48 dB of full scale.
    pub const fn is_quiet(self) -> bool {
        self.rms < QUIET_RMS
    }
}

const QUIET_RMS: u16 = 130;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::SampleRate;

    #[test]
    fn levels_of_silence_and_of_full_scale() {
        let silence = Level::of(&Frame::silence(SampleRate::Hz8000));
        assert!(silence == Level::default() && silence.is_quiet());
        assert_eq!(Level::of_samples(&[]), Level::default());
        let loudest = Level::of_samples(&[i16::MIN; 160]);
        assert!(loudest == Level { rms: 32_768, peak: 32_768 } && !loudest.is_quiet());
        assert_eq!(Level::of_samples(&[3, -4]), Level { rms: 3, peak: 4 });
    }
}
