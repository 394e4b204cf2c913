//! G.711: logarithmic coding of 16-bit linear audio in 8 bits a sample, by tables that the compiler fills in.
//!
//! Linear values are those of ITU-T G.191: 14 bits of µ-law and 13 bits of A-law, scaled to 16. Negative values are
//! mirrored around -0.5 (one's complement), so that the two zeros of µ-law stand for 0 and -1 when encoding.
#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "table look-ups whose index cannot exceed the table, in the innermost loops"
)]

/// Decodes µ-law; returns how many samples were written, the shorter of both lengths.
pub fn decode_ulaw(payload: &[u8], samples: &mut [i16]) -> usize {
    decode(&ULAW_TO_LINEAR, payload, samples)
}

/// Decodes A-law; returns how many samples were written, the shorter of both lengths.
pub fn decode_alaw(payload: &[u8], samples: &mut [i16]) -> usize {
    decode(&ALAW_TO_LINEAR, payload, samples)
}

/// Encodes µ-law; returns how many bytes were written, the shorter of both lengths.
pub fn encode_ulaw(samples: &[i16], payload: &mut [u8]) -> usize {
    for (to, from) in payload.iter_mut().zip(samples) {
        *to = LINEAR_TO_ULAW[usize::from(from.cast_unsigned() >> 2)];
    }
    payload.len().min(samples.len())
}

/// Encodes A-law; returns how many bytes were written, the shorter of both lengths.
pub fn encode_alaw(samples: &[i16], payload: &mut [u8]) -> usize {
    for (to, from) in payload.iter_mut().zip(samples) {
        *to = LINEAR_TO_ALAW[usize::from(from.cast_unsigned() >> 4)];
    }
    payload.len().min(samples.len())
}

fn decode(table: &[i16; 256], payload: &[u8], samples: &mut [i16]) -> usize {
    for (to, from) in samples.iter_mut().zip(payload) {
        *to = table[usize::from(*from)];
    }
    payload.len().min(samples.len())
}

static ULAW_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = ulaw_to_linear(code as u8);
        code += 1;
    }
    table
};

static ALAW_TO_LINEAR: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = alaw_to_linear(code as u8);
        code += 1;
    }
    table
};

/// By the upper 14 bits of a sample.
static LINEAR_TO_ULAW: [u8; 1 << 14] = {
    let mut table = [0; 1 << 14];
    let mut index = 0;
    while index < table.len() {
        table[index] = linear_to_ulaw((index as u16).wrapping_shl(2).cast_signed());
        index += 1;
    }
    table
};

/// By the upper 12 bits of a sample.
static LINEAR_TO_ALAW: [u8; 1 << 12] = {
    let mut table = [0; 1 << 12];
    let mut index = 0;
    while index < table.len() {
        table[index] = linear_to_alaw((index as u16).wrapping_shl(4).cast_signed());
        index += 1;
    }
    table
};

const fn ulaw_to_linear(code: u8) -> i16 {
    let code = !code;
    let segment = (code >> 4) & 7;
    let step = (code & 15) as i16;
    let magnitude = (((step << 1) + 33) << segment) - 33;
    if code & 0x80 == 0 { magnitude << 2 } else { -(magnitude << 2) }
}

const fn linear_to_ulaw(sample: i16) -> u8 {
    let magnitude = (if sample < 0 { !sample } else { sample } >> 2) + 33;
    let magnitude = if magnitude > 0x1fff { 0x1fff } else { magnitude };
    // The bias guarantees that bit 5 or a higher one is set; the segment is how far above bit 5 the highest one is.
    let segment = (10 - magnitude.leading_zeros()) as u8;
    let step = ((magnitude >> (segment + 1)) & 15) as u8;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4) | step)
}

const fn alaw_to_linear(code: u8) -> i16 {
    let code = code ^ 0x55;
    let segment = (code >> 4) & 7;
    let step = (code & 15) as i16;
    let magnitude = if segment == 0 { (step << 4) + 8 } else { ((step << 4) + 0x108) << (segment - 1) };
    if code & 0x80 == 0 { -magnitude } else { magnitude }
}

const fn linear_to_alaw(sample: i16) -> u8 {
    let magnitude = if sample < 0 { !sample } else { sample } >> 4;
    let segment = if magnitude < 16 { 0 } else { (12 - magnitude.leading_zeros()) as u8 };
    let step = if segment == 0 { magnitude } else { magnitude >> (segment - 1) } as u8 & 15;
    let sign = if sample < 0 { 0 } else { 0x80 };
    (sign | (segment << 4) | step) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // The corners of G.711 tables 1 and 2, scaled to 16 bits.
        for (code, linear) in [(0xff, 0), (0x7f, 0), (0x80, 32_124), (0x00, -32_124), (0xfe, 8), (0xef, 132)] {
            assert_eq!(ulaw_to_linear(code), linear, "{code:#x}");
        }
        for (code, linear) in [(0xd5, 8), (0x55, -8), (0xaa, 32_256), (0x2a, -32_256), (0xd4, 24), (0xc5, 264)] {
            assert_eq!(alaw_to_linear(code), linear, "{code:#x}");
        }
        let mut silence = [0; 2];
        encode_ulaw(&[0, 0], &mut silence);
        assert_eq!(silence, [0xff, 0xff]);
        encode_alaw(&[0, 0], &mut silence);
        assert_eq!(silence, [0xd5, 0xd5]);
    }

    #[test]
    fn every_code_survives_decoding_and_encoding() {
        for code in 0..=255 {
            let mut back = [0];
            encode_alaw(&[ALAW_TO_LINEAR[usize::from(code)]], &mut back);
            assert_eq!(back, [code]);
            encode_ulaw(&[ULAW_TO_LINEAR[usize::from(code)]], &mut back);
            assert_eq!(back, [if code == 0x7f { 0xff } else { code }]); // the negative zero of µ-law
        }
    }

    #[test]
    fn every_sample_becomes_a_code_of_its_interval() {
        check(&ULAW_TO_LINEAR, encode_ulaw, 1 << 2, 32_124);
        check(&ALAW_TO_LINEAR, encode_alaw, 1 << 4, 32_256);
    }

    /// Within a segment a sample becomes the nearest code; at the edge between two segments the standard's decision
    /// value is half the smaller step above the lower code.
    #[track_caller]
    fn check(to_linear: &[i16; 256], encode: fn(&[i16], &mut [u8]) -> usize, resolution: i32, largest: i32) {
        let mut values: Vec<i32> = to_linear.iter().map(|it| i32::from(*it)).collect();
        values.sort_unstable();
        values.dedup();
        let mut before = i32::MIN;
        for sample in i16::MIN..=i16::MAX {
            let mut code = [0];
            encode(&[sample], &mut code);
            let value = i32::from(to_linear[usize::from(code[0])]);
            let at = values.binary_search(&value).unwrap();
            let (below, above) = (values[at.saturating_sub(1)], values[(at + 1).min(values.len() - 1)]);
            let error = (value - i32::from(sample).clamp(-largest, largest)).abs();
            assert!(2 * error <= (value - below).max(above - value) + 2 * resolution, "{sample} became {value}");
            assert!(before <= value, "{sample}");
            before = value;
        }
    }
}
