//! Codecs, transcoding and resampling per frame of 20 ms, beside a plain copy of the frame: what moving the bytes alone costs.

use divan::{Bencher, black_box};
use hookswitch::codec::conceal::Concealer;
use hookswitch::codec::{
    AudioCodec, Converter, Decoder, Encoder, Frame, OpusSettings, Resampler, SampleRate, Transcoder,
};

fn main() {
    divan::main();
}

#[divan::bench]
fn copy_of_160_samples(bencher: Bencher<'_, '_>) {
    let frame = speech(SampleRate::Hz8000);
    let mut copy = [0_i16; 160];
    bencher.bench_local(|| {
        copy.copy_from_slice(black_box(frame.samples()));
        black_box(&copy);
    });
}

#[divan::bench(args = CODECS)]
fn encode(bencher: Bencher<'_, '_>, codec: AudioCodec) {
    let frame = speech(codec.rate());
    let mut encoder = Encoder::new(codec, OpusSettings::default());
    let mut payload = [0; 640];
    bencher.bench_local(|| {
        encoder.encode(black_box(frame.samples()), &mut payload);
        black_box(&payload);
    });
}

#[divan::bench(args = CODECS)]
fn decode(bencher: Bencher<'_, '_>, codec: AudioCodec) {
    let mut payload = [0; 640];
    let len = Encoder::new(codec, OpusSettings::default()).encode(speech(codec.rate()).samples(), &mut payload);
    let payload = payload.get(..len).unwrap_or(&[]);
    let mut decoder = Decoder::new(codec);
    let mut samples = [0; 320];
    bencher.bench_local(|| {
        decoder.decode(black_box(payload), &mut samples);
        black_box(&samples);
    });
}

/// One packet of 20 ms from the first codec to the second. Opus at complexity 5, 24 kbit/s, with error correction.
#[divan::bench(args = [
    (AudioCodec::Pcmu, AudioCodec::Pcma),
    (AudioCodec::Pcmu, AudioCodec::G722),
    (AudioCodec::G722, AudioCodec::Pcmu),
    (AudioCodec::Pcmu, AudioCodec::Opus),
    (AudioCodec::Opus, AudioCodec::Pcmu),
    (AudioCodec::G722, AudioCodec::Opus),
    (AudioCodec::Opus, AudioCodec::G722),
])]
fn transcode(bencher: Bencher<'_, '_>, (from, to): (AudioCodec, AudioCodec)) {
    let mut encoder = Encoder::new(from, OpusSettings::default());
    let mut payload = [0; 640];
    let len = encoder.encode(speech(from.rate()).samples(), &mut payload);
    let payload = payload.get(..len).unwrap_or(&[]);
    let mut transcoder = Transcoder::new(from, to, OpusSettings::default(), 20);
    let mut out = [0; 640];
    bencher.bench_local(|| {
        transcoder.push(black_box(payload));
        while transcoder.poll(&mut out).is_some() {
            black_box(&out);
        }
    });
}

#[divan::bench]
fn resample_8_to_48_khz(bencher: Bencher<'_, '_>) {
    let mut converter = Converter::new(8_000, 48_000).expect("both are supported");
    let frame = speech(SampleRate::Hz8000);
    let mut out = [0; 480];
    bencher.bench_local(|| {
        for piece in black_box(&frame).samples().chunks(80) {
            converter.process(piece, &mut out);
            black_box(&out);
        }
    });
}

#[divan::bench]
fn resample_8_to_16_khz(bencher: Bencher<'_, '_>) {
    resample(bencher, SampleRate::Hz8000, SampleRate::Hz16000);
}

#[divan::bench]
fn resample_16_to_8_khz(bencher: Bencher<'_, '_>) {
    resample(bencher, SampleRate::Hz16000, SampleRate::Hz8000);
}

#[divan::bench]
fn conceal_the_first_lost_frame(bencher: Bencher<'_, '_>) {
    let mut concealer = Concealer::new(SampleRate::Hz8000);
    let mut frame = speech(SampleRate::Hz8000);
    concealer.hear(frame.samples_mut());
    concealer.hear(frame.samples_mut());
    bencher.with_inputs(|| concealer.clone()).bench_local_values(|mut concealer| {
        let mut samples = [0; 160];
        concealer.invent(&mut samples);
        black_box(samples);
    });
}

fn resample(bencher: Bencher<'_, '_>, from: SampleRate, to: SampleRate) {
    let frame = speech(from);
    let mut resampler = Resampler::new(from, to);
    bencher.bench_local(|| black_box(resampler.process(black_box(&frame))));
}

const CODECS: [AudioCodec; 5] =
    [AudioCodec::Pcmu, AudioCodec::Pcma, AudioCodec::G722, AudioCodec::Opus, AudioCodec::L16(SampleRate::Hz16000)];

/// Something with more than one frequency.
#[expect(clippy::cast_possible_truncation, reason = "the amplitude fits")]
fn speech(rate: SampleRate) -> Frame {
    let mut frame = Frame::silence(rate);
    for (at, sample) in (0_u16..).zip(frame.samples_mut()) {
        let phase = std::f32::consts::TAU * 130.0 * f32::from(at) / 8_000.0;
        *sample = (6_000.0 * (phase.sin() + 0.4 * (3.0 * phase).sin() + 0.2 * (7.0 * phase).sin())) as i16;
    }
    frame
}
