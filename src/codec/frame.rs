//! [`Frame`]: the unit of linear audio that media sessions, recorders and agents exchange.

/// Samples a second of linear audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SampleRate {
    /// Narrow band: G.711.
    Hz8000,
    /// Wide band.
    Hz16000,
}

impl SampleRate {
    /// In hertz.
    pub const fn hz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz16000 => 16_000,
        }
    }

    /// Samples in one [`Frame`] of 20 ms.
    pub const fn frame_len(self) -> usize {
        match self {
            Self::Hz8000 => 160,
            Self::Hz16000 => 320,
        }
    }
}

/// 20 ms of mono 16-bit linear audio.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    rate: SampleRate,
    samples: [i16; 320],
}

impl Frame {
    /// How long every frame is, in milliseconds.
    pub const MS: u32 = 20;

    /// 20 ms of silence.
    pub const fn silence(rate: SampleRate) -> Self {
        Self { rate, samples: [0; 320] }
    }

    /// Copies `samples`; silence follows if there are fewer than 20 ms, and what is beyond 20 ms is left out.
    pub fn from_samples(rate: SampleRate, samples: &[i16]) -> Self {
        let mut frame = Self::silence(rate);
        for (to, from) in frame.samples_mut().iter_mut().zip(samples) {
            *to = *from;
        }
        frame
    }

    /// The rate of its samples.
    pub const fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Its samples: [`SampleRate::frame_len`] of them.
    pub fn samples(&self) -> &[i16] {
        self.samples.get(..self.rate.frame_len()).unwrap_or(&self.samples)
    }

    /// Its samples, to write.
    pub fn samples_mut(&mut self) -> &mut [i16] {
        let len = self.rate.frame_len();
        self.samples.get_mut(..len).unwrap_or(&mut [])
    }

    /// Adds `other`, of the same rate; what is too loud is clipped.
    pub fn mix_in(&mut self, other: &Self) {
        for (to, from) in self.samples_mut().iter_mut().zip(other.samples()) {
            *to = to.saturating_add(*from);
        }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({} Hz)", self.rate.hz())
    }
}
