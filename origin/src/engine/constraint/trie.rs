//! A trie of bytes.

/// The node before the first byte.
pub(super) const ROOT: u32 = 0;

/// Words, letter by letter. Nodes are numbered from [`ROOT`].
#[derive(Clone, Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: Vec<(u8, u32)>,
    is_end: bool,
    ends_below: u32,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Trie {
    /// A trie of these words.
    pub(super) fn of<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Self {
        let mut trie = Self::default();
        words.into_iter().for_each(|word| trie.insert(word.as_ref()));
        trie
    }

    /// Adds a word, if it is a new one.
    pub(super) fn insert(&mut self, word: &str) {
        let is_known = self.path(word).last().is_some_and(|node| self.is_end(*node));
        if word.is_empty() || is_known {
            return;
        }
        let mut node = ROOT;
        self.node_mut(node).ends_below += 1;
        for byte in word.bytes() {
            node = match self.child(node, byte) {
                Some(child) => child,
                None => self.grow(node, byte),
            };
            self.node_mut(node).ends_below += 1;
        }
        self.node_mut(node).is_end = true;
    }

    fn grow(&mut self, node: u32, byte: u8) -> u32 {
        let child = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(Node::default());
        self.node_mut(node).children.push((byte, child));
        child
    }

    fn node_mut(&mut self, node: u32) -> &mut Node {
        &mut self.nodes[node as usize]
    }

    /// The node after `byte`.
    pub(super) fn child(&self, node: u32, byte: u8) -> Option<u32> {
        self.nodes[node as usize].children.iter().find(|(next, _)| *next == byte).map(|(_, child)| *child)
    }

    /// The nodes after a node.
    pub(super) fn children(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        self.nodes[node as usize].children.iter().map(|(_, child)| *child)
    }

    /// The nodes of a word, the root left out, as far as they go.
    pub(super) fn path(&self, word: &str) -> Vec<u32> {
        let mut path = Vec::with_capacity(word.len());
        let mut node = ROOT;
        for byte in word.bytes() {
            match self.child(node, byte) {
                Some(child) => node = child,
                None => return Vec::new(),
            }
            path.push(node);
        }
        path
    }

    /// Does a word end here?
    pub(super) fn is_end(&self, node: u32) -> bool {
        self.nodes[node as usize].is_end
    }

    /// Words that end here or below.
    pub(super) fn ends_below(&self, node: u32) -> u32 {
        self.nodes[node as usize].ends_below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_once_and_found_to_their_end() {
        let mut trie = Trie::default();
        ["sea", "seaside", "sea", "", "sun"].into_iter().for_each(|word| trie.insert(word));
        assert_eq!(trie.ends_below(ROOT), 3);
        let sea = trie.path("sea");
        assert!(trie.is_end(sea[2]) && trie.ends_below(sea[2]) == 2 && !trie.is_end(sea[1]));
        assert!(trie.path("seal").is_empty() && trie.child(ROOT, b'x').is_none());
    }
}
