//! G.722 at 64 kbit/s (ITU-T G.722): two bands of 4 kHz, split and joined by quadrature mirror filters, each coded as
//! adaptive differences of 6 and 2 bits a sample. Names in capitals are those of the recommendation.
//!
//! Exact to the bit, but for streams that no encoder makes: where one product or a partial sum of the zero predictor
//! leaves 16 bits, only the whole sum saturates, as in most implementations.
#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "signal processing on our own buffers, whose lengths are constants; tables are made at compile time"
)]

/// Encodes one stream.
#[derive(Clone, Debug)]
pub struct Encoder {
    low: Band,
    high: Band,
    /// The last samples of what came before.
    history: [i16; TAPS - 2],
}

/// Decodes one stream.
#[derive(Clone, Debug)]
pub struct Decoder {
    low: Band,
    high: Band,
    /// The last sums and differences of the two bands.
    sums: [i16; PHASE_TAPS - 1],
    differences: [i16; PHASE_TAPS - 1],
}

impl Default for Encoder {
    fn default() -> Self {
        Self { low: Band::new(LOW_DETS[0]), high: Band::new(HIGH_DETS[0]), history: [0; TAPS - 2] }
    }
}

impl Encoder {
    /// Encodes pairs of samples, as many as both have room for, to a byte each, and returns how many bytes that is.
    pub fn encode(&mut self, samples: &[i16], payload: &mut [u8]) -> usize {
        let len = payload.len().min(samples.len() / 2);
        let mut window = [0; TAPS - 2 + 2 * BLOCK_LEN];
        window[..TAPS - 2].copy_from_slice(&self.history);
        let payload = &mut payload[..len];
        for (samples, payload) in samples[..2 * len].chunks(2 * BLOCK_LEN).zip(payload.chunks_mut(BLOCK_LEN)) {
            window[TAPS - 2..][..samples.len()].copy_from_slice(samples);
            let mut bands = [(0, 0); BLOCK_LEN];
            let at = (0..samples.len()).step_by(2);
            for (bands, window) in bands.iter_mut().zip(at.filter_map(|it| window[it..].first_chunk())) {
                *bands = split(window);
            }
            // Without detours through memory from sample to sample.
            let (mut low, mut high) = (self.low.clone(), self.high.clone());
            for (code, (x_low, x_high)) in payload.iter_mut().zip(bands) {
                *code = low.encode_low(x_low) | high.encode_high(x_high) << 6;
            }
            (self.low, self.high) = (low, high);
            window.copy_within(samples.len()..samples.len() + TAPS - 2, 0);
        }
        self.history.copy_from_slice(&window[..TAPS - 2]);
        len
    }
}

impl Default for Decoder {
    fn default() -> Self {
        let (low, high) = (Band::new(LOW_DETS[0]), Band::new(HIGH_DETS[0]));
        Self { low, high, sums: [0; PHASE_TAPS - 1], differences: [0; PHASE_TAPS - 1] }
    }
}

impl Decoder {
    /// Decodes bytes, as many as `samples` has room for, to two samples each, and returns how many samples that is.
    pub fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> usize {
        const BEFORE: usize = PHASE_TAPS - 1;
        let len = payload.len().min(samples.len() / 2);
        let (mut sums, mut differences) = ([0; BEFORE + BLOCK_LEN], [0; BEFORE + BLOCK_LEN]);
        sums[..BEFORE].copy_from_slice(&self.sums);
        differences[..BEFORE].copy_from_slice(&self.differences);
        let samples = &mut samples[..2 * len];
        for (payload, samples) in payload[..len].chunks(BLOCK_LEN).zip(samples.chunks_mut(2 * BLOCK_LEN)) {
            let (mut low, mut high) = (self.low.clone(), self.high.clone());
            let new = sums[BEFORE..].iter_mut().zip(&mut differences[BEFORE..]);
            for (code, (sum, difference)) in payload.iter().zip(new) {
                let (r_low, r_high) = (low.decode_low(code & 0x3f), high.decode_high(code >> 6));
                // Both have 15 bits.
                *sum = r_low.wrapping_add(r_high) as i16;
                *difference = r_low.wrapping_sub(r_high) as i16;
            }
            (self.low, self.high) = (low, high);
            let windows = sums.array_windows().zip(differences.array_windows());
            for (pair, (sums, differences)) in samples.as_chunks_mut::<2>().0.iter_mut().zip(windows) {
                *pair = join(sums, differences);
            }
            sums.copy_within(payload.len()..payload.len() + BEFORE, 0);
            differences.copy_within(payload.len()..payload.len() + BEFORE, 0);
        }
        self.sums.copy_from_slice(&sums[..BEFORE]);
        self.differences.copy_from_slice(&differences[..BEFORE]);
        2 * len
    }
}

/// The predictor and the quantiser of one band.
#[derive(Clone, Debug)]
struct Band {
    /// The logarithm of the quantiser's scale, NB, and the scale, DET.
    nb: i32,
    det: i32,
    /// The next sample as predicted, S, and what the zeros contribute to it, SZ.
    s: i32,
    sz: i32,
    /// The coefficients of the poles, A1 and A2, and the last two samples twice, as they are reconstructed: R.
    a: [i32; 2],
    r: [i32; 2],
    /// The signs of the last two samples as reconstructed without poles, P: 0 or -1.
    p: [i32; 2],
    /// The coefficients of the zeros, B, and the last differences twice, D. Two more lanes than there are, which stay zero
    /// in `d`, fill a register.
    b: [i16; 8],
    d: [i16; 8],
}

impl Band {
    const fn new(det: i32) -> Self {
        Self { nb: 0, det, s: 0, sz: 0, a: [0; 2], r: [0; 2], p: [0; 2], b: [0; 8], d: [0; 8] }
    }

    /// Blocks 1L, QUANTL: codes a sample of the low band.
    #[inline]
    fn encode_low(&mut self, x: i32) -> u8 {
        let e = x.wrapping_sub(self.s);
        let sign = e >> 31;
        let magnitude = (e ^ sign) as u64;
        // A decision level is q * DET >> 12: the largest q whose level is reached, without dividing by DET.
        let scaled = u128::from((magnitude << 12) | 0xfff) * u128::from(RECIPROCALS[nb_place(self.nb) % LOW_SCALES]);
        let reached = ((scaled >> 64) as usize).min(LEVELS - 1);
        let code = LOW_CODES[(2 * reached) | (sign & 1) as usize];
        self.follow_low(code);
        code
    }

    /// Blocks 5L and 6L: the sample of the low band that a code stands for, in 15 bits.
    #[inline]
    fn decode_low(&mut self, code: u8) -> i32 {
        let sample = self.s.wrapping_add(scale(self.det, QM6[usize::from(code & 63)]));
        self.follow_low(code);
        limit(sample)
    }

    /// Blocks 2L to 4L. The predictor sees the four highest bits of a code.
    #[inline]
    fn follow_low(&mut self, code: u8) {
        let coarse = usize::from(code >> 2 & 15);
        let d = scale(self.det, QM4[coarse]);
        self.nb = next_nb(self.nb, WL[coarse], LOW_NB_MAX);
        self.det = LOW_DETS[nb_place(self.nb) % LOW_SCALES];
        self.predict(d);
    }

    /// Block 1H: codes a sample of the high band.
    #[inline]
    fn encode_high(&mut self, x: i32) -> u8 {
        let e = x.wrapping_sub(self.s);
        let sign = e >> 31;
        let is_near = (e ^ sign) < self.det.wrapping_mul(Q2) >> 12;
        let code = (!sign & 2) as u8 | u8::from(is_near);
        self.decode_high(code);
        code
    }

    /// Blocks 2H to 5H: the sample of the high band that a code stands for, in 15 bits.
    #[inline]
    fn decode_high(&mut self, code: u8) -> i32 {
        let code = usize::from(code & 3);
        let d = scale(self.det, QM2[code]);
        let sample = self.s.wrapping_add(d);
        self.nb = next_nb(self.nb, WH[code], HIGH_NB_MAX);
        self.det = HIGH_DETS[nb_place(self.nb) % HIGH_SCALES];
        self.predict(d);
        limit(sample)
    }

    /// Block 4: adapts to a difference, and predicts the next sample.
    #[inline]
    fn predict(&mut self, d: i32) {
        // RECONS, PARREC
        let r = saturate(self.s.wrapping_add(d));
        let p = self.sz.wrapping_add(d) >> 31;
        let (other, other_before) = (p ^ self.p[0], p ^ self.p[1]);
        self.p = [p, self.p[0]];
        // UPPOL2, UPPOL1
        let [a1, a2] = self.a;
        let quarter = signed(saturate(a1 << 2), !other).min(32_767) >> 7;
        let a2 = quarter.wrapping_add(signed(128, other_before)).wrapping_add(scale(a2, 32_512));
        let a2 = a2.clamp(-12_288, 12_288);
        let a1_max = 15_360_i32.wrapping_sub(a2);
        let a1 = signed(192, other).wrapping_add(scale(a1, 32_640)).clamp(a1_max.wrapping_neg(), a1_max);
        // FILTEP
        self.a = [a1, a2];
        self.r = [saturate(r << 1), self.r[0]];
        let poles = saturate((a1.wrapping_mul(self.r[0]) >> 15).wrapping_add(a2.wrapping_mul(self.r[1]) >> 15));
        self.sz = self.zeros(d);
        self.s = saturate(poles.wrapping_add(self.sz));
    }

    /// UPZERO, DELAYA and FILTEZ, on all coefficients at once.
    #[inline]
    fn zeros(&mut self, d: i32) -> i32 {
        let sign = (d >> 31) as i16;
        let step: i16 = if d == 0 { 0 } else { 128 };
        for (b, before) in self.b.iter_mut().zip(self.d) {
            let other = (before >> 15) ^ sign;
            // By 32,640 / 32,768; what is between the steps of that never leaves 16 bits.
            let leak = (i32::from(*b).wrapping_mul(-256) >> 16) as i16;
            *b = b.wrapping_add(leak).wrapping_add((step ^ other).wrapping_sub(other));
        }
        let [first, second, third, fourth, fifth, ..] = self.d;
        self.d = [saturate(d << 1) as i16, first, second, third, fourth, fifth, 0, 0];
        let terms = self.b.iter().zip(self.d).map(|(b, d)| i32::from(*b).wrapping_mul(i32::from(d)) >> 15);
        saturate(terms.fold(0, i32::wrapping_add))
    }
}

/// The transmit quadrature mirror filter: the newest samples of both bands, in 15 bits.
#[inline]
fn split(window: &[i16; TAPS]) -> (i32, i32) {
    (limit(dot(window, &LOW_TAPS) >> 14), limit(dot(window, &HIGH_TAPS) >> 14))
}

/// The receive quadrature mirror filter: two samples.
#[inline]
fn join(sums: &[i16; PHASE_TAPS], differences: &[i16; PHASE_TAPS]) -> [i16; 2] {
    [saturate(dot(differences, &REVERSED) >> 11) as i16, saturate(dot(sums, &QMF) >> 11) as i16]
}

#[inline]
fn dot<const N: usize>(samples: &[i16; N], taps: &[i16; N]) -> i32 {
    let products = samples.iter().zip(taps).map(|(a, b)| i32::from(*a).wrapping_mul(i32::from(*b)));
    products.fold(0, i32::wrapping_add)
}

#[inline]
const fn scale(a: i32, b: i32) -> i32 {
    a.wrapping_mul(b) >> 15
}

/// `value` if `sign` is 0, and its negative if that is -1.
#[inline]
const fn signed(value: i32, sign: i32) -> i32 {
    (value ^ sign).wrapping_sub(sign)
}

/// To 16 bits.
#[inline]
fn saturate(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

/// To 15 bits.
#[inline]
fn limit(value: i32) -> i32 {
    value.clamp(-16_384, 16_383)
}

/// LOGSCL and LOGSCH.
#[inline]
fn next_nb(nb: i32, step: i32, max: i32) -> i32 {
    (nb.wrapping_mul(127) >> 7).wrapping_add(step).clamp(0, max)
}

#[inline]
const fn nb_place(nb: i32) -> usize {
    (nb >> 6) as usize
}

/// SCALEL and SCALEH for every 64th NB: 2^`shift_max` is what the largest is divided by.
const fn dets<const N: usize>(shift_max: usize) -> [i32; N] {
    let mut dets = [0; N];
    let mut at = 0;
    while at < N {
        let (mantissa, exponent) = (ILB[at % 32], at / 32);
        let wide = mantissa << 1;
        dets[at] = (wide >> (shift_max + 1 - exponent)) << 2;
        at += 1;
    }
    dets
}

/// For each DET of the low band, 2^64 divided by it, rounded up.
const fn reciprocals() -> [u64; LOW_SCALES] {
    let mut reciprocals = [0; LOW_SCALES];
    let mut at = 0;
    while at < LOW_SCALES {
        reciprocals[at] = u64::MAX / LOW_DETS[at] as u64 + 1;
        at += 1;
    }
    reciprocals
}

/// The codes of the low band, of positive differences and negative ones, by the level that they reach: the interval that it
/// is in counts down.
const fn low_codes() -> [u8; 2 * LEVELS] {
    let mut codes = [0; 2 * LEVELS];
    let (mut level, mut interval) = (0, 0_u8);
    while level < LEVELS {
        while (interval as usize) < Q6.len() && Q6[interval as usize] <= level {
            interval += 1;
        }
        codes[2 * level] = 62 - interval;
        codes[2 * level + 1] = if interval < 3 { 64 - interval } else { 34 - interval };
        level += 1;
    }
    codes
}

const fn reversed() -> [i16; PHASE_TAPS] {
    let mut reversed = QMF;
    let mut at = 0;
    while at < PHASE_TAPS {
        reversed[at] = QMF[PHASE_TAPS - 1 - at];
        at += 1;
    }
    reversed
}

/// Of both phases in turn, the first multiplied by `sign`.
const fn taps(sign: i16) -> [i16; TAPS] {
    let mut taps = [0; TAPS];
    let mut at = 0;
    while at < PHASE_TAPS {
        taps[2 * at] = QMF[at] * sign;
        taps[2 * at + 1] = REVERSED[at];
        at += 1;
    }
    taps
}

const TAPS: usize = 24;
const PHASE_TAPS: usize = TAPS / 2;
/// Bytes that are coded in one go.
const BLOCK_LEN: usize = 160;
const LOW_NB_MAX: i32 = 18_432;
const HIGH_NB_MAX: i32 = 22_528;
const LOW_SCALES: usize = nb_place(LOW_NB_MAX) + 1;
const HIGH_SCALES: usize = nb_place(HIGH_NB_MAX) + 1;
/// One more than the largest of [`Q6`].
const LEVELS: usize = 2_920;

static LOW_DETS: [i32; LOW_SCALES] = dets(8);
static HIGH_DETS: [i32; HIGH_SCALES] = dets(10);
static RECIPROCALS: [u64; LOW_SCALES] = reciprocals();
static LOW_CODES: [u8; 2 * LEVELS] = low_codes();
static LOW_TAPS: [i16; TAPS] = taps(1);
static HIGH_TAPS: [i16; TAPS] = taps(-1);
static REVERSED: [i16; PHASE_TAPS] = reversed();
const QMF: [i16; PHASE_TAPS] = [3, -11, 12, 32, -210, 951, 3_876, -805, 362, -156, 53, -11];

/// Decision levels.
const Q6: [usize; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1_023, 1_121, 1_219,
    1_339, 1_458, 1_612, 1_765, 1_980, 2_195, 2_557, 2_919,
];
const Q2: i32 = 564;

/// What codes of 2, 4 and 6 bits stand for.
const QM2: [i32; 4] = [-7_408, -1_616, 7_408, 1_616];
const QM4: [i32; 16] =
    [0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288, 4_240, 2_584, 1_200, 0];
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232, -9_360,
    -8_576, -7_856, -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008, -3_576, -3_168, -2_776, -2_400, -2_032,
    -1_688, -1_360, -1_040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512, 12_280, 11_192, 10_232, 9_360, 8_576,
    7_856, 7_192, 6_576, 6_000, 5_456, 4_944, 4_464, 4_008, 3_576, 3_168, 2_776, 2_400, 2_032, 1_688, 1_360, 1_040,
    728, 432, 136, -432, -136,
];

/// By how much a code moves NB.
const WL: [i32; 16] = [-60, 3_042, 1_198, 538, 334, 172, 58, -30, 3_042, 1_198, 538, 334, 172, 58, -30, -60];
const WH: [i32; 4] = [798, -214, 798, -214];
/// 2,048 times 2 to the power of so many 32nds.
const ILB: [i32; 32] = [
    2_048, 2_093, 2_139, 2_186, 2_233, 2_282, 2_332, 2_383, 2_435, 2_489, 2_543, 2_599, 2_656, 2_714, 2_774, 2_834,
    2_896, 2_960, 3_025, 3_091, 3_158, 3_228, 3_298, 3_371, 3_444, 3_520, 3_597, 3_676, 3_756, 3_838, 3_922, 4_008,
];

#[cfg(test)]
mod tests {
    use rand::{Rng, RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    #[test]
    fn codes_and_samples_are_those_of_ffmpeg() {
        // `ffmpeg -f s16le -ar 16000 -ac 1 -i - -c:a g722 -f g722 -`, and back; `tests/peers/codecs.rs` asks it again.
        let codes = encoded(&voice());
        assert_eq!(hash(codes.iter().map(|it| u64::from(*it))), 0xf825_55c6_c207_6b5b);
        assert_eq!(hash(decoded(&codes).iter().map(|it| u64::from(it.cast_unsigned()))), 0x1350_a567_e681_1fd3);
        let noise: Vec<u8> = (0..8_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert_eq!(hash(decoded(&noise).iter().map(|it| u64::from(it.cast_unsigned()))), 0x4fa1_53bf_1be9_e42f);
    }

    #[test]
    fn what_is_louder_than_fits_is_limited_in_each_band() {
        // Bands that are not limited overshoot full scale, and the predictor follows them.
        let square: Vec<i16> = (0..3_200).map(|at| if at / 40 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let heard = decoded(&encoded(&square));
        let error = |delay: usize| {
            let pairs = square.iter().zip(&heard[delay..]).skip(1_600);
            pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>()
        };
        let power = 1_600.0 * 32_767.0_f64.powi(2);
        let snr = (15..30).map(|it| 10.0 * (power / error(it)).log10()).fold(f64::MIN, f64::max);
        assert!(snr > 12.0, "{snr}");
    }

    #[test]
    fn pieces_of_any_length_are_the_same_stream() {
        let (voice, mut rng) = (voice(), ChaCha12Rng::seed_from_u64(722));
        let (codes, heard) = (encoded(&voice), decoded(&encoded(&voice)));
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let (mut at, mut again, mut heard_again) = (0, vec![], vec![]);
        while at < voice.len() {
            let len = (2 * rng.random_range(0..700)).min(voice.len() - at);
            let (mut payload, mut samples) = (vec![0; len], vec![0; len + 7]);
            let written = encoder.encode(&voice[at..at + len], &mut payload);
            assert_eq!(written, len / 2);
            assert_eq!(decoder.decode(&payload[..written], &mut samples), len);
            assert!(samples[len..].iter().all(|it| *it == 0));
            again.extend_from_slice(&payload[..written]);
            heard_again.extend_from_slice(&samples[..len]);
            at += len;
        }
        assert!(again == codes && heard_again == heard);
    }

    #[test]
    fn no_more_is_written_than_fits_and_anything_can_be_decoded() {
        let mut rng = ChaCha12Rng::seed_from_u64(64);
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let mut payload = [7; 90];
        assert_eq!(encoder.encode(&[100; 400], &mut payload[..80]), 80);
        assert_eq!(encoder.encode(&[100; 21], &mut payload[..80]), 10);
        assert_eq!(payload[80..], [7; 10]);
        let mut samples = [7; 400];
        assert_eq!(decoder.decode(&[0; 300], &mut samples[..351]), 350);
        assert_eq!((samples[350..].iter().all(|it| *it == 7), decoder.decode(&[], &mut samples)), (true, 0));
        for _ in 0..2_000 {
            let mut payload = [0; 160];
            rng.fill_bytes(&mut payload);
            // One value for long drives every coefficient to its bound.
            let payload = if rng.random_bool(0.3) { [payload[0]; 160] } else { payload };
            decoder.decode(&payload, &mut samples);
            let samples: Vec<i16> = (0..320).map(|_| if rng.random_bool(0.5) { i16::MIN } else { i16::MAX }).collect();
            encoder.encode(&samples, &mut [0; 160]);
        }
    }

    fn encoded(samples: &[i16]) -> Vec<u8> {
        let mut payload = vec![0; samples.len() / 2];
        Encoder::default().encode(samples, &mut payload);
        payload
    }

    fn decoded(payload: &[u8]) -> Vec<i16> {
        let mut samples = vec![0; 2 * payload.len()];
        Decoder::default().decode(payload, &mut samples);
        samples
    }

    /// A second of something between a vowel and noise, in whole numbers, so that it is the same everywhere.
    fn voice() -> Vec<i16> {
        let mut noise = 1_u32;
        let sample = |at: i32| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let saw = |period: i32| at % period * 8_000 / period - 4_000;
            let loudness = (at % 3_200 - 1_600).abs();
            let sum = saw(123) + saw(41) / 2 + (noise >> 20).cast_signed() - 2_048;
            i16::try_from(sum * loudness / 1_600).unwrap()
        };
        (0..16_000).map(sample).collect()
    }

    /// FNV-1a, word by word.
    fn hash(words: impl Iterator<Item = u64>) -> u64 {
        words.fold(0xcbf2_9ce4_8422_2325, |hash, it| (hash ^ it).wrapping_mul(0x0100_0000_01b3))
    }
}
