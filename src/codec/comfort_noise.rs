//! Comfort noise (RFC 3389): what silence sounded like, in a few bytes, and noise that sounds the same.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "signal processing; every cast is of a value that was brought into range before"
)]

/// Its encoding name in an rtpmap.
pub const NAME: &str = "CN";

/// What silence sounds like: its level, and the shape of its spectrum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Silence {
    /// How far it is below the loudest square wave, in decibels, 0 to 127.
    level_db: u8,
    /// Reflection coefficients of an all-pole filter; those that are not sent are zero.
    reflection: [f32; ORDER_MAX],
}

impl Silence {
    /// Reads a payload; `None` if it is empty. Coefficients beyond the twelfth are left out (§3.3).
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (level, coefficients) = payload.split_first()?;
        let mut reflection = [0.0; ORDER_MAX];
        for (to, from) in reflection.iter_mut().zip(coefficients) {
            // 255 is reserved.
            *to = 258.0 * (f32::from((*from).min(254)) - 127.0) / 32_768.0;
        }
        Some(Self { level_db: level & 0x7f, reflection })
    }

    /// Of some silence: 20 ms or more, at any rate.
    pub fn of(samples: &[i16]) -> Self {
        let mut correlation = [0.0_f32; ORDER_SENT + 1];
        for (lag, sum) in correlation.iter_mut().enumerate() {
            let pairs = samples.iter().zip(samples.get(lag..).unwrap_or(&[]));
            *sum = pairs.map(|(a, b)| f32::from(*a) * f32::from(*b)).sum();
        }
        let [power, ..] = correlation;
        let rms = (power / samples.len().max(1) as f32).sqrt();
        let level_db = (-20.0 * (rms.max(0.01) / OVERLOAD).log10()).round().clamp(0.0, 127.0) as u8;
        Self { level_db, reflection: reflection_of(&correlation) }
    }

    /// Writes the payload to the beginning of `buffer` and returns its length; what does not fit is left out.
    pub fn write(&self, buffer: &mut [u8]) -> usize {
        let coefficients = self.reflection.iter().take(ORDER_SENT);
        let coefficients = coefficients.map(|it| (it * 32_768.0 / 258.0 + 127.0).round().clamp(0.0, 254.0) as u8);
        let bytes = std::iter::once(self.level_db).chain(coefficients);
        buffer.iter_mut().zip(bytes).map(|(to, from)| *to = from).count()
    }

    /// How far it is below the loudest square wave, in decibels, 0 to 127.
    pub const fn level_db(&self) -> u8 {
        self.level_db
    }
}

/// Makes noise that sounds like a [`Silence`]; from one to the next it passes within 20 ms or so.
#[derive(Clone, Debug)]
pub struct NoiseGenerator {
    silence: Silence,
    amplitude: f32,
    backward: [f32; ORDER_MAX],
    random: u32,
}

impl NoiseGenerator {
    /// Begins with `silence`.
    pub fn new(silence: Silence) -> Self {
        Self { silence, amplitude: amplitude_of(&silence), backward: [0.0; ORDER_MAX], random: 0x2545_f491 }
    }

    /// Goes on with another.
    pub const fn update(&mut self, silence: Silence) {
        self.silence = silence;
    }

    /// Fills `samples`.
    pub fn fill(&mut self, samples: &mut [i16]) {
        let wanted = amplitude_of(&self.silence);
        for sample in samples {
            self.amplitude += (wanted - self.amplitude) / 128.0;
            let mut forward = self.next_random() * self.amplitude;
            // The lattice of the synthesis filter, from the last stage to the first.
            let mut above = None;
            for (reflection, backward) in self.silence.reflection.iter().zip(&mut self.backward).rev() {
                forward -= reflection * *backward;
                let out = reflection * forward + *backward;
                if let Some(above) = above.replace(backward) {
                    *above = out;
                }
            }
            if let Some(first) = above {
                *first = forward;
            }
            *sample = forward.round() as i16;
        }
    }

    /// Uniform between -1 and 1. Nobody gains from guessing noise.
    fn next_random(&mut self) -> f32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random as f32 / 2_147_483_648.0 - 1.0
    }
}

/// The amplitude of uniform noise that the filter turns into the level wanted.
fn amplitude_of(silence: &Silence) -> f32 {
    let rms = OVERLOAD * 10.0_f32.powf(-f32::from(silence.level_db) / 20.0);
    let loss: f32 = silence.reflection.iter().map(|it| 1.0 - it * it).product();
    rms * (3.0 * loss).sqrt()
}

/// The recursion of Levinson and Durbin, from autocorrelation to reflection coefficients.
fn reflection_of(correlation: &[f32; ORDER_SENT + 1]) -> [f32; ORDER_MAX] {
    let mut reflection = [0.0; ORDER_MAX];
    let mut predictor = [0.0_f32; ORDER_SENT];
    let [mut error, lags @ ..] = *correlation;
    // A floor of white noise 40 dB below keeps the filter stable.
    error *= 1.0001;
    for (order, lag) in lags.iter().enumerate() {
        if error < 1.0 {
            break;
        }
        let done = predictor.iter().take(order);
        let known = lags.iter().take(order).rev();
        let sum: f32 = lag + done.zip(known).map(|(a, r)| a * r).sum::<f32>();
        let next = (-sum / error).clamp(-0.98, 0.98);
        let before = predictor;
        for (to, from) in predictor.iter_mut().take(order).zip(before.iter().take(order).rev()) {
            *to += next * from;
        }
        if let (Some(last), Some(to)) = (predictor.get_mut(order), reflection.get_mut(order)) {
            *last = next;
            *to = next;
        }
        error *= 1.0 - next * next;
    }
    reflection
}

/// §3.3: twelve are enough for anyone.
const ORDER_MAX: usize = 12;
const ORDER_SENT: usize = 8;
const OVERLOAD: f32 = 32_768.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_the_level_and_the_colour_of_the_silence() {
        for (level, tilt) in [(300.0, 0.0), (80.0, 0.7), (1_000.0, -0.5)] {
            let original = coloured(level, tilt);
            let mut payload = [0; 20];
            let len = Silence::of(&original).write(&mut payload);
            assert_eq!(len, 1 + ORDER_SENT);
            let mut noise = vec![0; 8_000];
            NoiseGenerator::new(Silence::parse(&payload[..len]).unwrap()).fill(&mut noise);
            let (a, b) = (measure(&original), measure(&noise));
            assert!((a.0 - b.0).abs() < 1.5 && (a.1 - b.1).abs() < 0.1, "{a:?} {b:?}");
        }
    }

    #[test]
    fn payloads_of_any_length_are_taken() {
        assert_eq!(Silence::parse(&[]), None);
        let plain = Silence::parse(&[0xc0]).unwrap();
        assert_eq!((plain.level_db(), plain.reflection), (64, [0.0; 12]));
        for filling in 0..=255 {
            let mut noise = vec![0; 4_000];
            let mut generator = NoiseGenerator::new(Silence::parse(&[filling; 40]).unwrap());
            generator.fill(&mut noise);
            generator.update(Silence::parse(&[127]).unwrap());
            generator.fill(&mut noise);
            generator.fill(&mut noise);
            let loudest = noise.iter().map(|it| it.unsigned_abs()).max().unwrap_or(0);
            assert!(loudest <= 1, "{filling}: {loudest}");
        }
        assert_eq!(Silence::of(&[]).level_db(), 127);
        assert_eq!(Silence::of(&[0; 160]).level_db(), 127);
        assert_eq!(Silence::of(&[i16::MIN; 160]).level_db(), 0);
    }

    /// Level in decibels, and correlation of neighbours.
    fn measure(samples: &[i16]) -> (f32, f32) {
        let power: f32 = samples.iter().map(|it| f32::from(*it).powi(2)).sum();
        let next: f32 = samples.windows(2).map(|it| f32::from(it[0]) * f32::from(it[1])).sum();
        (10.0 * (power / samples.len() as f32).log10(), next / power)
    }

    fn coloured(level: f32, tilt: f32) -> Vec<i16> {
        let mut random = 7_u32;
        let mut last = 0.0;
        (0..8_000)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                last = tilt * last + random as f32 / 2_147_483_648.0 - 1.0;
                (level * last) as i16
            })
            .collect()
    }
}
