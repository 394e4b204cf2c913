//! Finding repetition in a waveform, and using it to shorten audio without a click.
#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "signal processing on our own buffers, whose lengths each function checks first"
)]

/// The lag at which `samples[..window]` is most like `samples[lag..lag + window]`, among the lags from `least` to
/// `most`; `least` if the samples are too few for any.
pub fn best_lag(samples: &[i16], window: usize, least: usize, most: usize) -> usize {
    let Some(most) = samples.len().checked_sub(window).map(|it| it.min(most)) else {
        return least;
    };
    let head = &samples[..window];
    let product = |a: i16, b: i16| i64::from(i32::from(a) * i32::from(b));
    let mut energy: i64 = samples[least.min(most)..].iter().take(window).map(|it| product(*it, *it)).sum();
    let mut best = (least, f32::MIN);
    for lag in least..=most {
        let alike: i64 = head.iter().zip(&samples[lag..lag + window]).map(|(a, b)| product(*a, *b)).sum();
        let likeness = alike as f32 / (energy as f32 + 1.0).sqrt();
        if likeness > best.1 {
            best = (lag, likeness);
        }
        if let Some(entering) = samples.get(lag + window) {
            energy += product(*entering, *entering) - product(samples[lag], samples[lag]);
        }
    }
    best.0
}

/// Blends from `from` into `to` over the length of `to`, in place of `to`.
pub fn crossfade(from: impl Iterator<Item = i16>, to: &mut [i16]) {
    let len = to.len() as f32;
    for ((index, to), from) in to.iter_mut().enumerate().zip(from) {
        let weight = (index as f32 + 0.5) / len;
        *to = (f32::from(from) * (1.0 - weight) + f32::from(*to) * weight).round() as i16;
    }
}

/// Takes a piece out of the beginning of `samples`, as long as the waveform's own repetition there, and joins the rest.
/// Returns how many samples are left, at the beginning of `samples`: all, if they are fewer than 30 ms.
pub fn shorten(samples: &mut [i16], hz: u32) -> usize {
    let ms = hz as usize / 1_000;
    let window = 10 * ms;
    if samples.len() < 30 * ms {
        return samples.len();
    }
    let lag = best_lag(samples, window, 5 * ms, 20 * ms);
    let mut joint = [0; 160];
    let joint = &mut joint[..window.min(160)];
    joint.copy_from_slice(&samples[lag..lag + joint.len()]);
    crossfade(samples.iter().copied(), joint);
    let len = samples.len();
    samples.copy_within(lag.., 0);
    samples[..joint.len()].copy_from_slice(joint);
    len - lag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortening_a_tone_removes_whole_periods() {
        let tone = |at: usize| (8_000.0 * (std::f32::consts::TAU * at as f32 / 57.0).sin()) as i16;
        let mut samples: Vec<i16> = (0..400).map(tone).collect();
        let left = shorten(&mut samples, 8_000);
        assert_eq!(left, 400 - 57 * ((400 - left) / 57), "removed {}", 400 - left);
        assert!(left < 400);
        let error = (0..left).map(|at| (i32::from(samples[at]) - i32::from(tone(at))).abs()).max();
        assert!(error.is_some_and(|it| it <= 2), "{error:?}");
    }

    #[test]
    fn too_little_audio_is_left_alone() {
        let mut samples = [5; 239];
        assert_eq!(shorten(&mut samples, 8_000), 239);
        assert_eq!(best_lag(&samples, 240, 40, 160), 40);
    }
}
