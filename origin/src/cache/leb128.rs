//! Whole numbers in as few bytes as they need: seven bits each, the lowest first, the eighth says that more follow.

const BITS: u32 = 7;
const MORE: u8 = 0x80;

/// Writes 1 to 10 bytes.
pub(super) fn write_leb128(into: &mut Vec<u8>, mut number: u64) {
    while number >= u64::from(MORE) {
        // The low seven bits, and that more follow.
        into.push(number.to_le_bytes()[0] | MORE);
        number >>= BITS;
    }
    into.push(number.to_le_bytes()[0]);
}

/// Takes a number from the front; none when it is cut off or needs more than 64 bits.
pub(super) fn read_leb128(from: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(BITS as usize) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u64::from(byte & !MORE);
        if bits.leading_zeros() < shift {
            return None;
        }
        number |= bits << shift;
        if byte & MORE == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(number: u64, after: u8) {
            let mut written = Vec::new();
            write_leb128(&mut written, number);
            prop_assert!(written.len() <= 10);
            written.push(after);
            let mut rest = written.as_slice();
            prop_assert_eq!(read_leb128(&mut rest), Some(number));
            prop_assert_eq!(rest, &[after][..]);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();
            let _ = read_leb128(&mut rest);
        }
    }

    #[test]
    fn what_is_cut_off_or_too_large_is_no_number() {
        for bytes in [&[][..], &[0x80], &[0xff; 11], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]] {
            assert_eq!(read_leb128(&mut { bytes }), None, "{bytes:?}");
        }
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(read_leb128(&mut &largest[..]), Some(u64::MAX));
    }
}
