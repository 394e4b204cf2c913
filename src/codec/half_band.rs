//! [`Doubler`] and [`Halver`]: twice and half the sample rate by a half-band filter, of which every other tap is zero: what
//! lies between two samples is worked out, and the other samples are those that came.
//!
//! Nothing is lost up to seven eighths of the narrower band, 3.5 kHz of 4; images and aliases of that are 98 dB down.
#![expect(clippy::indexing_slicing, reason = "signal processing on our own buffers, whose lengths are constants")]

/// Doubles the rate of a stream. Delays by [`DELAY_LEN`].
#[derive(Clone, Debug)]
pub(super) struct Doubler {
    before: [f32; SPAN - 1],
}

/// Halves the rate of a stream. Delays by [`DELAY_LEN`].
#[derive(Clone, Debug)]
pub(super) struct Halver {
    /// The second samples of the last pairs, and the first ones.
    odd: [f32; SPAN],
    even: [f32; DELAY_LEN],
}

impl Doubler {
    /// At the beginning of a stream.
    pub(super) const fn new() -> Self {
        Self { before: [0.0; SPAN - 1] }
    }

    /// Takes the next samples, and gives twice as many.
    pub(super) fn process(&mut self, from: &[i16; PIECE_LEN], to: &mut [i16; 2 * PIECE_LEN]) {
        let mut window = [0.0; SPAN - 1 + PIECE_LEN];
        window[..SPAN - 1].copy_from_slice(&self.before);
        for (to, from) in window[SPAN - 1..].iter_mut().zip(from) {
            *to = f32::from(*from);
        }
        let between = between(&window);
        // Those that lie before what is between, in the middle of each window.
        let here = &window[SPAN / 2 - 1..];
        for ((to, here), between) in to.as_chunks_mut::<2>().0.iter_mut().zip(here).zip(between) {
            *to = [to_sample(*here), to_sample(between)];
        }
        self.before.copy_from_slice(&window[PIECE_LEN..]);
    }
}

impl Halver {
    /// At the beginning of a stream.
    pub(super) const fn new() -> Self {
        Self { odd: [0.0; SPAN], even: [0.0; DELAY_LEN] }
    }

    /// Takes the next samples, and gives half as many.
    pub(super) fn process(&mut self, from: &[i16; 2 * PIECE_LEN], to: &mut [i16; PIECE_LEN]) {
        let (mut odd, mut even) = ([0.0; SPAN + PIECE_LEN], [0.0; DELAY_LEN + PIECE_LEN]);
        odd[..SPAN].copy_from_slice(&self.odd);
        even[..DELAY_LEN].copy_from_slice(&self.even);
        let new = even[DELAY_LEN..].iter_mut().zip(&mut odd[SPAN..]);
        for ((even, odd), [first, second]) in new.zip(from.as_chunks::<2>().0) {
            (*even, *odd) = (f32::from(*first), f32::from(*second));
        }
        // The last odd one is not needed yet.
        let between = between(odd.first_chunk().unwrap_or(&[0.0; SPAN - 1 + PIECE_LEN]));
        for ((to, here), between) in to.iter_mut().zip(even).zip(between) {
            *to = to_sample(0.5 * (here + between));
        }
        self.odd.copy_from_slice(&odd[PIECE_LEN..]);
        self.even.copy_from_slice(&even[PIECE_LEN..]);
    }
}

/// What lies half way between the two samples in the middle of each window of [`SPAN`].
fn between(samples: &[f32; SPAN - 1 + PIECE_LEN]) -> [f32; PIECE_LEN] {
    let mut all = [0.0; PIECE_LEN];
    for (at, sums) in (0..PIECE_LEN).step_by(LANES).zip(all.as_chunks_mut::<LANES>().0) {
        for (index, tap) in TAPS.iter().enumerate() {
            let (first, last) = (&samples[at + index..][..LANES], &samples[at + SPAN - 1 - index..][..LANES]);
            for ((sum, first), last) in sums.iter_mut().zip(first).zip(last) {
                *sum += tap * (first + last);
            }
        }
    }
    all
}

/// The nearest sample; what is too loud is clipped.
#[expect(clippy::cast_possible_truncation, reason = "float to integer casts saturate, which is clipping")]
pub(super) fn to_sample(value: f32) -> i16 {
    // As `round`, which is a call where the processor at hand is not known to have it.
    (value + 0.5_f32.copysign(value)) as i16
}

/// Samples at the lower rate that are converted in one go: 10 ms at 8 kHz.
pub(super) const PIECE_LEN: usize = 80;
/// At the lower rate: 3 ms at 8 kHz.
pub(super) const DELAY_LEN: usize = SPAN / 2;
const SPAN: usize = 2 * TAPS.len();
/// Sums that are worked on at once.
const LANES: usize = 16;

/// From the outermost inwards: the half of an equiripple filter (Parks and McClellan) that is flat up to 7/16 of its rate.
const TAPS: [f32; 24] = [
    -3.559_389_4e-5,
    7.912_771e-5,
    -0.000_163_189_62,
    0.000_301_548_86,
    -0.000_516_581_4,
    0.000_836_134_9,
    -0.001_294_069_6,
    0.001_930_798_3,
    -0.002_793_914_2,
    0.003_939_067_5,
    -0.005_431_336,
    0.007_347_554,
    -0.009_780_325,
    0.012_845_022,
    -0.016_692_044,
    0.021_528_812,
    -0.027_660_506,
    0.035_569_64,
    -0.046_083_637,
    0.060_766_798,
    -0.082_984_77,
    0.121_523_3,
    -0.208_679_56,
    0.635_436_24,
];
