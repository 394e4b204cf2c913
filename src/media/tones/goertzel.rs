//! Goertzel's algorithm: how much of one frequency is in a piece of audio.

/// Looks for one frequency.
#[derive(Clone, Copy, Debug)]
pub(in crate::media) struct Goertzel {
    coefficient: f32,
}

impl Goertzel {
    /// For a frequency in audio of a rate, both in hertz.
    pub(in crate::media) fn new(hz: f32, rate_hz: f32) -> Self {
        Self { coefficient: 2.0 * (std::f32::consts::TAU * hz / rate_hz).cos() }
    }

    /// What [`Goertzel::power`] says for each of four. One sample waits for the one before it, so that four take little longer
    /// than one.
    pub(in crate::media) fn powers(four: [Self; 4], samples: &[f32]) -> [f32; 4] {
        let [a, b, c, d] = four.map(|it| it.coefficient);
        let (
            [mut a_before, mut b_before, mut c_before, mut d_before],
            [mut a_last, mut b_last, mut c_last, mut d_last],
        ) = ([0.0_f32; 4], [0.0_f32; 4]);
        for sample in samples {
            let a_next = a * a_last + (sample - a_before);
            let b_next = b * b_last + (sample - b_before);
            let c_next = c * c_last + (sample - c_before);
            let d_next = d * d_last + (sample - d_before);
            (a_before, b_before, c_before, d_before) = (a_last, b_last, c_last, d_last);
            (a_last, b_last, c_last, d_last) = (a_next, b_next, c_next, d_next);
        }
        let power =
            |coefficient: f32, before: f32, last: f32| before * before + last * last - coefficient * before * last;
        [power(a, a_before, a_last), power(b, b_before, b_last), power(c, c_before, c_last), power(d, d_before, d_last)]
    }

    /// The squared magnitude of the frequency; a sine of amplitude `a` gives `(a * n / 2)^2` for `n` samples.
    pub(in crate::media) fn power(self, samples: &[f32]) -> f32 {
        let (mut before, mut last) = (0.0_f32, 0.0_f32);
        for sample in samples {
            // Not `mul_add`, which is a call where the processor at hand is not known to have it.
            let next = self.coefficient * last + (sample - before);
            before = last;
            last = next;
        }
        before * before + last * last - self.coefficient * before * last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_is_that_of_the_sine() {
        let sine = |hz: f32| -> Vec<f32> {
            (0..200_u16).map(|at| 1_000.0 * (std::f32::consts::TAU * hz * f32::from(at) / 8_000.0).sin()).collect()
        };
        let goertzel = Goertzel::new(800.0, 8_000.0);
        let expected = (1_000.0 * 200.0 / 2.0_f32).powi(2);
        assert!((goertzel.power(&sine(800.0)) / expected - 1.0).abs() < 0.01);
        assert!(goertzel.power(&sine(1_000.0)) / expected < 0.001);
        let four = [800.0, 1_000.0, 810.0, 120.0].map(|hz| Goertzel::new(hz, 8_000.0));
        assert_eq!(Goertzel::powers(four, &sine(800.0)), four.map(|it| it.power(&sine(800.0))));
    }
}
