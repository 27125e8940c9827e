//! Examples with a few faults in them: what random bytes would hardly ever come near.

use proptest::collection::vec;
use proptest::prelude::*;

/// Most faults in one example.
const FAULTS_MAX: usize = 6;
/// What a careless writer or an attacker puts in.
const INSERTED: [&[u8]; 26] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"0.5",
    b"\xff",
    b"\xc0\x80",
    b"\n",
    b"\r\n\r\n",
    b"%",
    b"%ff",
    b"&",
    b"=",
    "é\u{301}\u{200b}\u{202e}ς🧑🏽‍🚀".as_bytes(),
    b"data: ",
    b"; private",
    b"\x00",
];

/// One change at a place, which is counted from the start and taken modulo the length.
#[derive(Clone, Debug)]
enum Fault {
    Replace(u8),
    Insert(usize),
    Remove(usize),
    Repeat(usize),
    Cut,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        any::<u8>().prop_map(Fault::Replace),
        (0..INSERTED.len()).prop_map(Fault::Insert),
        (1_usize..20).prop_map(Fault::Remove),
        (1_usize..80).prop_map(Fault::Repeat),
        Just(Fault::Cut),
    ]
}

/// One of `examples` with up to [`FAULTS_MAX`] faults, or bytes of no example at all.
pub(crate) fn damaged(examples: &[Vec<u8>]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let example = proptest::sample::select(examples.to_vec());
    let faults = vec((any::<u16>(), fault()), 0..=FAULTS_MAX);
    prop_oneof![
        15 => (example, faults).prop_map(|(mut bytes, faults)| {
            for (place, fault) in faults {
                let place = usize::from(place) % (bytes.len() + 1);
                apply(&mut bytes, place, &fault);
            }
            bytes
        }),
        1 => vec(any::<u8>(), 0..200),
    ]
}

fn apply(bytes: &mut Vec<u8>, place: usize, fault: &Fault) {
    let until = |length: usize| bytes.len().min(place + length);
    match *fault {
        Fault::Replace(byte) => {
            if let Some(replaced) = bytes.get_mut(place) {
                *replaced = byte;
            }
        }
        Fault::Insert(what) => drop(bytes.splice(place..place, INSERTED[what].iter().copied())),
        Fault::Remove(length) => drop(bytes.drain(place..until(length))),
        Fault::Repeat(length) => {
            let again = bytes[place..until(length)].to_vec();
            drop(bytes.splice(place..place, again));
        }
        Fault::Cut => bytes.truncate(place),
    }
}
