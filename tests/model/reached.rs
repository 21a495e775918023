//! The states a search has reached: each once, in the order they were found, with the state each
//! was reached from. One vector and an open-addressed index over it, because the states outnumber
//! everything else in memory and a map would keep every one of them twice.

use std::hash::{Hash, Hasher};

const FREE: u32 = u32::MAX;

struct Node<State> {
    state: State,
    parent: u32,
    hash: u64,
}

/// All states found so far.
pub(crate) struct Reached<State> {
    nodes: Vec<Node<State>>,
    slots: Vec<u32>,
}

impl<State: Copy + Eq + Hash> Reached<State> {
    /// Begins with one state that was reached from nowhere.
    pub(crate) fn new(initial: State) -> Self {
        let mut reached = Self { nodes: Vec::new(), slots: vec![FREE; 1 << 12] };
        reached.add(initial, 0);
        reached
    }

    /// How many distinct states are known.
    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The state found as number `index`.
    pub(crate) fn state(&self, index: usize) -> Option<State> {
        self.nodes.get(index).map(|node| node.state)
    }

    /// Remembers a state unless it is known already.
    pub(crate) fn add(&mut self, state: State, parent: usize) {
        let hash = hash(&state);
        let slot = self.slot(&state, hash);
        if self.slots[slot] != FREE {
            return;
        }
        self.slots[slot] = self.nodes.len() as u32;
        self.nodes.push(Node { state, parent: parent as u32, hash });
        if self.nodes.len() * 2 > self.slots.len() {
            self.grow();
        }
    }

    /// The states that lead from the first one to number `index`.
    pub(crate) fn path(&self, index: usize) -> Vec<State> {
        let mut path = vec![self.nodes[index].state];
        let mut index = index;
        while index != 0 {
            index = self.nodes[index].parent as usize;
            path.push(self.nodes[index].state);
        }
        path.reverse();
        path
    }

    fn slot(&self, state: &State, hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] != FREE {
            let node = &self.nodes[self.slots[slot] as usize];
            if node.hash == hash && node.state == *state {
                break;
            }
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        let size = self.slots.len() * 4;
        let mut slots = vec![FREE; size];
        for (index, node) in self.nodes.iter().enumerate() {
            let mut slot = node.hash as usize & (size - 1);
            while slots[slot] != FREE {
                slot = (slot + 1) & (size - 1);
            }
            slots[slot] = index as u32;
        }
        self.slots = slots;
    }
}

fn hash<State: Hash>(state: &State) -> u64 {
    let mut hasher = WordHasher::default();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Gathers eight bytes before it mixes them: states are made of single bytes, and the standard
/// hasher would cost most of the search in a debug build.
#[derive(Default)]
struct WordHasher {
    word: u64,
    gathered: u32,
    mixed: u64,
}

impl WordHasher {
    fn mix(&mut self) {
        self.mixed = (self.mixed.rotate_left(23) ^ self.word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.word = 0;
        self.gathered = 0;
    }
}

impl Hasher for WordHasher {
    fn write_u8(&mut self, byte: u8) {
        self.word = self.word << 8 | byte as u64;
        self.gathered += 1;
        if self.gathered == 8 {
            self.mix();
        }
    }

    fn write_isize(&mut self, discriminant: isize) {
        self.write_u8(discriminant as u8);
    }

    fn write_usize(&mut self, _length: usize) {
        // Only the lengths of arrays arrive here, and those never differ.
    }

    fn write(&mut self, mut bytes: &[u8]) {
        while let [first, rest @ ..] = bytes {
            self.write_u8(*first);
            bytes = rest;
        }
    }

    fn finish(&self) -> u64 {
        let last = (self.mixed.rotate_left(23) ^ self.word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        last ^ last >> 29
    }
}
