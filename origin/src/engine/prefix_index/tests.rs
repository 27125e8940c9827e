//! The index against looking at every row.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn prompt(ids: &[u32]) -> Arc<[u32]> {
    ids.into()
}

/// A prompt of `shared` entries that many have and `own` that few do.
fn long(shared: usize, own: u32, own_len: usize) -> Arc<[u32]> {
    (0..shared as u32).chain((0..own_len as u32).map(|index| 1_000 * own + index)).collect()
}

const fn read(row: u32, positions: usize) -> Beginning {
    Beginning::Read(Prefix { row: Row(row), positions })
}

#[test]
fn what_begins_alike_is_found_as_far_as_it_does() {
    let mut index = PrefixIndex::new(1_000);
    index.note_read(Row(1), &long(30, 1, 10));
    index.note_read(Row(2), &long(50, 2, 10));
    assert_eq!(index.find(&long(30, 3, 10)), read(1, 30));
    assert_eq!(index.find(&long(50, 3, 10)), read(2, 50));
    assert_eq!(index.find(&long(PREFIX_TOKENS_MIN - 1, 3, 50)), Beginning::Unknown);
}

#[test]
fn one_entry_is_always_left_to_be_read() {
    let mut index = PrefixIndex::new(1_000);
    index.note_read(Row(1), &long(30, 1, 0));
    assert_eq!(index.find(&long(30, 1, 0)), read(1, 29));
    assert_eq!(index.find(&[]), Beginning::Unknown);
}

#[test]
fn what_is_being_read_is_worth_waiting_for_when_it_is_much_more() {
    let mut index = PrefixIndex::new(1_000);
    index.note_read(Row(1), &long(40, 1, 10));
    index.note_coming(Row(2), &long(40, 2, 30));
    assert_eq!(index.find(&long(40, 2, 31)), Beginning::Coming(Row(2)));
    assert_eq!(index.find(&long(40, 3, 30)), read(1, 40));
    index.note_read(Row(2), &long(40, 2, 30));
    assert_eq!(index.find(&long(40, 2, 31)), read(2, 70));
    index.forget(Row(2), &long(40, 2, 30));
    assert_eq!(index.find(&long(40, 2, 31)), read(1, 40));
}

#[test]
fn the_kept_row_that_was_not_used_for_longest_goes_first() {
    let mut index = PrefixIndex::new(100);
    let prompts: Vec<Arc<[u32]>> =
        (0..4).map(|topic| (0..40).map(|entry| topic * 100 + entry).collect()).collect();
    assert!(index.keep(Row(0), &prompts[0]).is_empty() && index.keep(Row(1), &prompts[1]).is_empty());
    assert_eq!(index.find(&prompts[0]), read(0, 39));
    assert_eq!(index.keep(Row(2), &prompts[2]), [Row(1)]);
    assert_eq!(index.kept_positions(), 80);
    assert_eq!((index.give_up(), index.give_up(), index.give_up()), (Some(Row(0)), Some(Row(2)), None));
    assert_eq!(index.find(&prompts[0]), Beginning::Unknown);
}

#[test]
fn what_adds_nothing_is_not_kept() {
    let mut index = PrefixIndex::new(1_000);
    assert!(index.keep(Row(1), &long(60, 1, 0)).is_empty());
    assert_eq!(index.keep(Row(2), &long(60, 1, 0)), [Row(2)]);
    assert_eq!(index.keep(Row(3), &long(60, 3, PREFIX_TOKENS_MIN - 1)), [Row(3)]);
    assert!(index.keep(Row(4), &long(60, 3, PREFIX_TOKENS_MIN)).is_empty());
    assert_eq!(index.keep(Row(5), &prompt(&[1; PREFIX_TOKENS_MIN - 1])), [Row(5)], "too short");
}

#[test]
fn switched_off_it_shares_and_keeps_nothing() {
    let mut index = PrefixIndex::new(0);
    index.note_coming(Row(1), &long(60, 1, 0));
    index.note_read(Row(1), &long(60, 1, 0));
    assert_eq!(index.find(&long(60, 2, 3)), Beginning::Unknown);
    assert_eq!(index.keep(Row(1), &long(60, 1, 0)), [Row(1)]);
}

/// What happens to rows.
#[derive(Clone, Debug)]
enum Event {
    Read(Vec<u32>),
    /// Of the rows that are held, the one of that index.
    Keep(usize),
    Forget(usize),
    Find(Vec<u32>),
    GiveUp,
}

/// Prompts that begin alike, further or less far.
fn ids() -> impl Strategy<Value = Vec<u32>> {
    (10usize..60, prop::collection::vec(0u32..2, 0..20))
        .prop_map(|(alike, own)| (0..alike as u32).chain(own).collect())
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        ids().prop_map(Event::Read),
        any::<usize>().prop_map(Event::Keep),
        any::<usize>().prop_map(Event::Forget),
        ids().prop_map(Event::Find),
        Just(Event::GiveUp),
    ]
}

proptest! {
    #[test]
    fn a_look_up_finds_what_looking_at_every_row_finds(
        events in prop::collection::vec(event(), 1..120), kept_max in 1usize..400,
    ) {
        let mut index = PrefixIndex::new(kept_max);
        let mut held: BTreeMap<Row, Arc<[u32]>> = BTreeMap::new();
        let mut kept: BTreeMap<Row, Arc<[u32]>> = BTreeMap::new();
        for (name, event) in (0u32..).zip(events) {
            let nth = |rows: &BTreeMap<Row, Arc<[u32]>>, index: usize| {
                rows.keys().nth(index % rows.len().max(1)).copied()
            };
            match event {
                Event::Read(ids) => {
                    let ids = prompt(&ids);
                    index.note_coming(Row(name), &ids);
                    index.note_read(Row(name), &ids);
                    held.insert(Row(name), ids);
                }
                Event::Keep(which) => {
                    let Some(row) = nth(&held, which) else { continue };
                    let Some(ids) = held.remove(&row) else { continue };
                    kept.insert(row, Arc::clone(&ids));
                    for closed in index.keep(row, &ids) {
                        prop_assert!(kept.remove(&closed).is_some(), "only what was kept is closed");
                    }
                    let positions: usize = kept.values().map(|ids| ids.len()).sum();
                    prop_assert_eq!(index.kept_positions(), positions);
                    prop_assert!(positions <= kept_max);
                }
                Event::Forget(which) => {
                    let Some(row) = nth(&held, which) else { continue };
                    let Some(ids) = held.remove(&row) else { continue };
                    index.forget(row, &ids);
                }
                Event::GiveUp => {
                    let gone = index.give_up();
                    prop_assert_eq!(gone.is_none(), kept.is_empty());
                    gone.into_iter().for_each(|row| { kept.remove(&row); });
                }
                Event::Find(ids) => {
                    let rows = held.iter().chain(&kept).filter(|(_, known)| known.len() >= PREFIX_TOKENS_MIN);
                    let shared = |known: &[u32]| common_len(known, &ids[..ids.len() - 1]);
                    let longest = rows.map(|(_, known)| shared(known)).max().unwrap_or(0);
                    match index.find(&ids) {
                        Beginning::Unknown => prop_assert!(longest < PREFIX_TOKENS_MIN),
                        Beginning::Read(Prefix { row, positions }) => {
                            prop_assert_eq!(positions, longest);
                            let known = held.get(&row).or_else(|| kept.get(&row));
                            prop_assert_eq!(known.map(|known| shared(known)), Some(longest));
                        }
                        Beginning::Coming(_) => prop_assert!(false, "nothing is coming"),
                    }
                }
            }
        }
    }
}
