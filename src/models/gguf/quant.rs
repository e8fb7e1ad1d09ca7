//! How ggml writes numbers: plain, or in blocks of 32 with a scale. Layouts from `ggml/src/ggml-common.h`.

use half::{bf16, f16};

/// Numbers that share a scale.
pub(crate) const BLOCK: usize = 32;

/// How a tensor's numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quant {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
}

impl Quant {
    /// For people.
    pub(crate) const NAMES: &str = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0";

    /// By ggml's number of the type.
    pub(crate) fn new(kind: u32) -> Option<Self> {
        Some(match kind {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            30 => Self::Bf16,
            _ => return None,
        })
    }

    /// Numbers and bytes of what is written together.
    fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (BLOCK, 18),
            Self::Q4_1 => (BLOCK, 20),
            Self::Q5_0 => (BLOCK, 22),
            Self::Q5_1 => (BLOCK, 24),
            Self::Q8_0 => (BLOCK, 34),
        }
    }

    /// Bytes of so many numbers; nothing where they do not fill their blocks.
    pub(crate) fn bytes(self, numbers: usize) -> Option<usize> {
        let (per_block, bytes) = self.block();
        if numbers.is_multiple_of(per_block) { (numbers / per_block).checked_mul(bytes) } else { None }
    }

    /// Appends the plain numbers that `bytes` (whole blocks) stand for.
    pub(crate) fn dequantise(self, bytes: &[u8], into: &mut Vec<f32>) {
        for block in bytes.chunks_exact(self.block().1) {
            match self {
                Self::F32 => into.push(f32::from_le_bytes([block[0], block[1], block[2], block[3]])),
                Self::F16 => into.push(half_at(block, 0)),
                Self::Bf16 => into.push(bf16::from_le_bytes([block[0], block[1]]).to_f32()),
                Self::Q4_0 => nibbles(&block[2..], 0, half_at(block, 0), -8.0 * half_at(block, 0), into),
                Self::Q4_1 => nibbles(&block[4..], 0, half_at(block, 0), half_at(block, 2), into),
                Self::Q5_0 => {
                    nibbles(&block[6..], high_bits(block, 2), half_at(block, 0), -16.0 * half_at(block, 0), into);
                }
                Self::Q5_1 => nibbles(&block[8..], high_bits(block, 4), half_at(block, 0), half_at(block, 2), into),
                Self::Q8_0 => {
                    let scale = half_at(block, 0);
                    into.extend(block[2..].iter().map(|&byte| scale * f32::from(byte.cast_signed())));
                }
            }
        }
    }
}

/// The 16-bit float at `at`.
pub(crate) fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn high_bits(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// 32 numbers `scale · q + offset`: the low four bits of `q` from 16 bytes, the first 16 numbers in their low halves,
/// the fifth bit from `high`.
///
/// With plain indices: this runs a hundred million times for a small model, in unoptimised builds too.
fn nibbles(bytes: &[u8], high: u32, scale: f32, offset: f32, into: &mut Vec<f32>) {
    const HALF: usize = BLOCK / 2;
    let mut numbers = [0.0; BLOCK];
    let mut at = 0;
    while at < HALF {
        let low = u32::from(bytes[at] & 0x0F) | (high >> at & 1) << 4;
        let upper = u32::from(bytes[at] >> 4) | (high >> (at + HALF) & 1) << 4;
        numbers[at] = scale * low as f32 + offset;
        numbers[at + HALF] = scale * upper as f32 + offset;
        at += 1;
    }
    into.extend_from_slice(&numbers);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Vector {
        #[serde(rename = "type")]
        kind: u32,
        name: String,
        bytes: String,
        values: Vec<f32>,
    }

    #[test]
    fn blocks_are_read_as_their_makers_read_them() {
        let vectors = include_str!("../../../tests/fixtures/models/quants.json");
        let vectors: Vec<Vector> = serde_json::from_str(vectors).expect("vectors");
        assert_eq!(vectors.len(), 8);
        for vector in vectors {
            let quant = Quant::new(vector.kind).expect("a known type");
            let bytes = hex::decode(&vector.bytes).expect("hex");
            assert_eq!(quant.bytes(vector.values.len()), Some(bytes.len()), "{}", vector.name);
            let mut values = Vec::new();
            quant.dequantise(&bytes, &mut values);
            assert_eq!(values.len(), vector.values.len(), "{}", vector.name);
            for (ours, theirs) in values.iter().zip(&vector.values) {
                assert!((ours - theirs).abs() <= 1e-6 * theirs.abs().max(1.0), "{}: {ours} {theirs}", vector.name);
            }
        }
        assert_eq!(Quant::Q8_0.bytes(33), None);
    }
}
