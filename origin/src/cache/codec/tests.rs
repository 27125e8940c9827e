use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// An answer of the embedded model.
const CAPTION: &str = r##"{"id":"cap_4d0fc272194dce03129221b6","caption":"Strike the match. Look at our sleepy hotel medal full of character.","hashtags":["#hotelmedal","#hotel","#medal"],"variants":[{"caption":"Strike the match. Look at our sleepy hotel medal full of character.","hook":"Strike the match. Look at our sleepy hotel medal full of character.","hashtags":["#hotelmedal","#hotel","#medal"],"post_text":"Strike the match. Look at our sleepy hotel medal full of character.\n\n#hotelmedal #hotel #medal","counts":{"characters":95,"hashtags":3}}],"policy_version":"2025-12","warnings":[],"model":"lede-nano-2","usage":{"prompt_tokens":14,"completion_tokens":49}"##;

fn entry(body: &[u8]) -> Entry {
    let freshness = FreshnessRecord {
        created_ms: UnixMillis(1_795_291_200_000),
        fresh_for_ms: 86_400_000,
        stale_while_revalidate_ms: 3_600_000,
        stale_if_error_ms: 86_400_000,
    };
    Entry { body: Bytes::copy_from_slice(body), freshness, device_ms: 412 }
}

/// With a checksum that fits, so that what lies behind it is reached.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= PREFIX_BYTES {
        let sum = checksum(&bytes).to_le_bytes();
        bytes[2..PREFIX_BYTES].copy_from_slice(&sum);
    }
    bytes
}

#[test]
fn a_caption_takes_less_than_a_half_of_its_json() {
    let encoded = encode(&entry(CAPTION.as_bytes()));
    assert!(encoded.len() * 2 < CAPTION.len(), "{} of {}", encoded.len(), CAPTION.len());
    assert_eq!(decode(&encoded), Ok(entry(CAPTION.as_bytes())));
    assert_eq!(freshness_of(&encoded), Some(entry(b"").freshness));
}

#[test]
fn what_is_short_or_does_not_become_shorter_lies_as_it_is() {
    let noise: Vec<u8> = (0..200u32).map(|index| crc32fast::hash(&index.to_le_bytes()).to_le_bytes()[0]).collect();
    for body in [&b"{}"[..], b"", &[b'x'; COMPRESSED_BYTES_MIN - 1], &noise] {
        let encoded = encode(&entry(body));
        assert_eq!(encoded[1], 0);
        assert!(encoded.ends_with(body));
        assert_eq!(decode(&encoded), Ok(entry(body)));
    }
}

/// Bytes as they lie on somebody's disk: a change of the form has to raise the version.
#[test]
fn golden_vectors_are_read_and_written() {
    let raw = "020043d61bd580f4c6fd9f3480b8992980dddb0180b899299c037b7d";
    let encoded = encode(&entry(b"{}"));
    assert_eq!(hex::encode(&encoded), raw);
    assert_eq!(decode(&encoded), Ok(entry(b"{}")));
}

/// The dictionary belongs to the form. With a new one this number changes, and everything kept is a miss once.
#[test]
fn the_dictionary_is_the_one_that_is_known() {
    assert_eq!((*DICTIONARY_ID, DICTIONARY.len()), (4_284_286_547, 32_768));
}

#[test]
fn another_version_or_dictionary_is_not_read() {
    let encoded = encode(&entry(CAPTION.as_bytes())).to_vec();
    for place in [0, 1, PREFIX_BYTES] {
        let mut other = encoded.clone();
        other[place] ^= 0x40;
        assert_eq!(decode(&sealed(other)), Err(CodecError::OtherVersion), "byte {place}");
    }
}

#[test]
fn a_length_that_is_a_lie_is_not_believed() {
    for (length, error) in [
        (BODY_BYTES_MAX as u64 + 1, CodecError::TooLong),
        (u64::MAX, CodecError::TooLong),
        (BODY_BYTES_MAX as u64, CodecError::Damaged),
        (0, CodecError::Damaged),
    ] {
        let mut bytes = vec![VERSION, COMPRESSED, 0, 0, 0, 0];
        bytes.extend_from_slice(&DICTIONARY_ID.to_le_bytes());
        bytes.extend_from_slice(&[1; 5]);
        write_leb128(&mut bytes, length);
        bytes.extend_from_slice(&compressed(CAPTION.as_bytes()).unwrap());
        assert_eq!(decode(&sealed(bytes)), Err(error), "{length}");
    }
    let long = encode(&entry(&vec![b'x'; BODY_BYTES_MAX + 1]));
    assert_eq!(decode(&long), Err(CodecError::TooLong));
    let longest = entry(&vec![b'x'; BODY_BYTES_MAX]);
    assert_eq!(decode(&encode(&longest)), Ok(longest));
}

#[test]
fn every_byte_counts() {
    let encoded = encode(&entry(CAPTION.as_bytes()));
    for place in 0..encoded.len() {
        let mut changed = encoded.to_vec();
        changed[place] ^= 1;
        assert!(decode(&changed).is_err(), "byte {place}");
        assert!(decode(&encoded[..place]).is_err(), "cut at {place}");
    }
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        (0..CAPTION.len(), 0..200usize)
            .prop_map(|(at, length)| CAPTION.as_bytes()[at..CAPTION.len().min(at + length)].to_vec()),
        vec(any::<u8>(), 0..40),
    ];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn an_entry_is_read_as_it_was_written(
        body in body(), created: u64, fresh: u64, revalidate: u64, on_error: u64, device_ms: u32,
    ) {
        let freshness = FreshnessRecord {
            created_ms: UnixMillis(created), fresh_for_ms: fresh,
            stale_while_revalidate_ms: revalidate, stale_if_error_ms: on_error,
        };
        let entry = Entry { body: body.into(), freshness, device_ms };
        let encoded = encode(&entry);
        prop_assert_eq!(freshness_of(&encoded), Some(freshness));
        prop_assert_eq!(decode(&encoded), Ok(entry));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = (decode(&bytes), freshness_of(&bytes));
        let _ = decode(&sealed(bytes));
    }

    /// Behind a checksum that fits: what somebody wrote who knows the form.
    #[test]
    fn no_forged_block_makes_it_panic(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(&entry(CAPTION.as_bytes())).to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let forged = sealed(bytes.clone());
        if let Ok(entry) = decode(&forged) {
            prop_assert!(entry.body.len() <= BODY_BYTES_MAX);
        }
        bytes.truncate(cut.index(bytes.len()));
        let _ = decode(&sealed(bytes));
    }
}
