//! Sixteen bytes at a time: which of them end a run inside a string, and which are whitespace.
//!
//! On x86-64 with SSE2, which every such processor has; elsewhere with words of eight bytes ([`words`]), which is also what the tests
//! hold the other one to. The answer is one bit per byte, the first byte lowest.
//!
//! This file holds `unsafe` because a function that names its vector extension may only be called where the caller vouches for it. The
//! invariant is on the type: a chunk is a `&[u8; 16]`, so that all sixteen bytes may be read, and nothing is written.
#![allow(unsafe_code)] // SSE2 intrinsics, present on every x86-64 processor (see above).

/// Bytes looked at together.
pub(super) const LANES: usize = 16;
/// Bytes of a block, for long runs.
pub(super) const BLOCK: usize = 4 * LANES;

/// What the bytes of a chunk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// A quote, a backslash or a control character. Of the bits, only the lowest that is set is sure.
    pub(super) special: u64,
    /// 128 or more, anywhere in the chunk: not zero if there is any.
    pub(super) above_ascii: u64,
}

/// Looks at a chunk of a string.
#[inline(always)]
pub(super) fn look(chunk: &[u8; LANES]) -> Look {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE2 is part of x86-64, so that the processor has what the function was compiled for.
    return unsafe { sse2::look(chunk) };
    #[cfg(not(target_arch = "x86_64"))]
    return words::look(chunk);
}

/// Looks at a block of a string.
#[inline(always)]
pub(super) fn look_far(block: &[u8; BLOCK]) -> Look {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as in `look`.
    return unsafe { sse2::look_far(block) };
    #[cfg(not(target_arch = "x86_64"))]
    return words::look_far(block);
}

/// The bytes of a chunk that are no whitespace; of the bits, only the lowest that is set is sure.
#[inline(always)]
pub(super) fn ink(chunk: &[u8; LANES]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as in `look`.
    return unsafe { sse2::ink(chunk) };
    #[cfg(not(target_arch = "x86_64"))]
    return words::ink(chunk);
}

/// How many bytes come before the first that is special, or the end.
#[inline]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    let (chunks, rest) = bytes.as_chunks::<LANES>();
    for (place, chunk) in chunks.iter().enumerate() {
        let special = look(chunk).special;
        if special != 0 {
            return place * LANES + special.trailing_zeros() as usize;
        }
    }
    // What is left is looked at with a quote behind it.
    let mut last = [b'"'; LANES];
    last[..rest.len()].copy_from_slice(rest);
    bytes.len() - rest.len() + look(&last).special.trailing_zeros() as usize
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use super::{BLOCK, LANES, Look};
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(chunk: &[u8; LANES]) -> __m128i {
        // SAFETY: the reference is to sixteen bytes that may be read, and the load asks for no alignment.
        unsafe { _mm_loadu_si128(chunk.as_ptr().cast()) }
    }

    /// All bits of each byte that is special.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn special(bytes: __m128i) -> __m128i {
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        _mm_or_si128(_mm_or_si128(quote, backslash), control)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn bits(bytes: __m128i) -> u64 {
        u64::from(_mm_movemask_epi8(bytes).cast_unsigned())
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn look(chunk: &[u8; LANES]) -> Look {
        let bytes = load(chunk);
        Look { special: bits(special(bytes)), above_ascii: bits(bytes) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn look_far(block: &[u8; BLOCK]) -> Look {
        let (chunks, _) = block.as_chunks::<LANES>();
        let bytes = [load(&chunks[0]), load(&chunks[1]), load(&chunks[2]), load(&chunks[3])];
        let above = _mm_or_si128(_mm_or_si128(bytes[0], bytes[1]), _mm_or_si128(bytes[2], bytes[3]));
        let found = [special(bytes[0]), special(bytes[1]), special(bytes[2]), special(bytes[3])];
        let any = _mm_or_si128(_mm_or_si128(found[0], found[1]), _mm_or_si128(found[2], found[3]));
        let above_ascii = bits(above);
        if bits(any) == 0 {
            return Look { special: 0, above_ascii };
        }
        let special = bits(found[0]) | bits(found[1]) << 16 | bits(found[2]) << 32 | bits(found[3]) << 48;
        Look { special, above_ascii }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn ink(chunk: &[u8; LANES]) -> u64 {
        let bytes = load(chunk);
        let is = |byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8));
        let line = _mm_or_si128(is(b'\n'), is(b'\r'));
        let space = _mm_or_si128(is(b' '), is(b'\t'));
        bits(_mm_or_si128(line, space)) ^ 0xffff
    }
}

/// The same in words of eight bytes, without `unsafe`.
#[cfg(any(test, not(target_arch = "x86_64")))]
mod words {
    use super::{BLOCK, LANES, Look};

    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = LOW << 7;

    pub(super) fn look(chunk: &[u8; LANES]) -> Look {
        let words = split(chunk);
        Look { special: lowest(words.map(special)), above_ascii: (words[0] | words[1]) & HIGH }
    }

    pub(super) fn look_far(block: &[u8; BLOCK]) -> Look {
        let mut far = Look { special: 0, above_ascii: 0 };
        let (chunks, _) = block.as_chunks::<LANES>();
        for (place, chunk) in chunks.iter().enumerate() {
            let near = look(chunk);
            far.above_ascii |= near.above_ascii;
            far.special |= near.special << (place * LANES);
        }
        far
    }

    pub(super) fn ink(chunk: &[u8; LANES]) -> u64 {
        let ink = |word: u64| {
            let spaces = [b' ', b'\n', b'\r', b'\t'].map(|byte| zeros(word ^ (LOW * u64::from(byte))));
            !(spaces[0] | spaces[1] | spaces[2] | spaces[3]) & HIGH
        };
        lowest(split(chunk).map(ink))
    }

    fn split(chunk: &[u8; LANES]) -> [u64; 2] {
        let (words, _) = chunk.as_chunks::<8>();
        [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
    }

    /// The high bit of each special byte. Bits above the lowest one may be wrong (a borrow), the lowest is exact.
    fn special(word: u64) -> u64 {
        let quote = (word ^ (LOW * u64::from(b'"'))).wrapping_sub(LOW);
        let backslash = (word ^ (LOW * u64::from(b'\\'))).wrapping_sub(LOW);
        let control = word.wrapping_sub(LOW * 0x20);
        (quote | backslash | control) & !word & HIGH
    }

    /// The high bit of each byte that is zero, exactly.
    fn zeros(word: u64) -> u64 {
        !(((word & !HIGH) + !HIGH) | word) & HIGH
    }

    /// One bit for the first byte whose high bit is set, or none.
    fn lowest(high: [u64; 2]) -> u64 {
        match high {
            [0, 0] => 0,
            [0, second] => 1 << (8 + second.trailing_zeros() / 8),
            [first, _] => 1 << (first.trailing_zeros() / 8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By the definition.
    fn plain(bytes: &[u8]) -> (Option<usize>, bool, Option<usize>) {
        let special = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        let ink = bytes.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
        (special, !bytes.is_ascii(), ink)
    }

    fn first(bits: u64) -> Option<usize> {
        (bits != 0).then(|| bits.trailing_zeros() as usize)
    }

    fn agree(bytes: &[u8; BLOCK]) {
        for chunk in bytes.as_chunks::<LANES>().0 {
            let (special, above, ink_at) = plain(chunk);
            for seen in [look(chunk), words::look(chunk)] {
                assert_eq!((first(seen.special), seen.above_ascii != 0), (special, above), "{chunk:?}");
            }
            assert_eq!((first(ink(chunk)), first(words::ink(chunk))), (ink_at, ink_at), "{chunk:?}");
        }
        let (special, above, _) = plain(bytes);
        for seen in [look_far(bytes), words::look_far(bytes)] {
            assert_eq!((first(seen.special), seen.above_ascii != 0), (special, above), "{bytes:?}");
        }
    }

    #[test]
    fn every_byte_is_known_at_every_place() {
        for byte in 0..=255 {
            for place in 0..BLOCK {
                let mut text = [b'x'; BLOCK];
                text[place] = byte;
                agree(&text);
                let mut space = [b' '; BLOCK];
                space[place] = byte;
                agree(&space);
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_known(bytes in prop::collection::vec(prop::sample::select(b"\"\\ \n\t\r\x1f!#[]\x80\xa2\xdc\xffx".to_vec()), BLOCK)) {
            agree(bytes.first_chunk().expect("a block"));
            for length in 0..=BLOCK {
                let plain = plain(&bytes[..length]).0.unwrap_or(length);
                prop_assert_eq!(plain_len(&bytes[..length]), plain);
            }
        }
    }
}
