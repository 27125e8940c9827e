//! What origins tell each other on the channel.

use lede_shared::cache_key::CacheKey;
use lede_shared::purge::PurgeScope;

use super::dropped::read_key;

/// Longest message that is looked at.
const BYTES_MAX: usize = 256;

/// A message. Anybody who reaches Redis may write one; none makes an answer wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// `epoch 1767225600000 model:lede-nano-2`: this was purged.
    Epoch(PurgeScope, u64),
    /// `drop` and a key of 64 hexadecimal digits: this entry is to be forgotten.
    Drop(CacheKey),
}

impl Message {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= BYTES_MAX)?;
        let (kind, rest) = text.split_once(' ')?;
        match kind {
            "epoch" => {
                let (epoch, scope) = rest.split_once(' ')?;
                Some(Self::Epoch(scope.parse().ok()?, epoch.parse().ok()?))
            }
            "drop" => read_key(rest.as_bytes()).map(Self::Drop),
            _ => None,
        }
    }

    pub(super) fn write(&self) -> String {
        match self {
            Self::Epoch(scope, epoch) => format!("epoch {epoch} {scope}"),
            Self::Drop(key) => format!("drop {key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_read_as_they_are_written() {
        let epoch = Message::Epoch("model:hub/lede-nano:2".parse().unwrap(), 1_767_225_600_000);
        assert_eq!(epoch.write(), "epoch 1767225600000 model:hub/lede-nano:2");
        for message in [epoch, Message::Drop(CacheKey([7; 32]))] {
            assert_eq!(Message::read(message.write().as_bytes()), Some(message));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_there_does_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Message::read(&bytes);
        }

        #[test]
        fn what_is_almost_a_message_is_none_or_one(text in "(epoch|drop)? ?[0-9a-f]{0,70} ?(all|model:)?") {
            if let Some(message) = Message::read(text.as_bytes()) {
                prop_assert_eq!(Message::read(message.write().as_bytes()), Some(message));
            }
        }
    }
}
