//! Bytes made from others: always the same ones, in the same order.

/// Longer inputs find nothing that these don't.
const LONGEST: usize = 4_096;

/// Bytes that have a meaning to somebody: bounds of numbers, ESC, quotes, brackets, both control introducers.
const TELLING: [u8; 16] =
    [0, 1, 6, 0x1b, b'"', b'#', b'%', b':', b'[', b'\\', b'{', 0x7f, 0x80, 0x9b, 0xc2, 0xff];

/// A xorshift generator (Marsaglia, 2003), and what it does to bytes.
pub(crate) struct Mutator(u64);

impl Mutator {
    pub(crate) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// One of the seeds, changed in a few places.
    pub(crate) fn mutated(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(5) {
            self.mutate(&mut bytes, seeds);
        }
        bytes.truncate(LONGEST);
        bytes
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let end = at + self.below(bytes.len() - at + 1);
        match self.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end.min(at + 8))),
            2 => bytes.insert(at, self.byte()),
            3 => bytes.insert(at, TELLING[self.below(TELLING.len())]),
            // A part once more, or another seed's part in its place.
            4 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            5 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                bytes.splice(at..end, other[from..].iter().copied());
            }
            _ if at == bytes.len() => bytes.push(self.byte()),
            6 => bytes[at] = self.byte(),
            _ => bytes[at] ^= 1 << self.below(8),
        }
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[2]
    }

    /// A number below `end`, which isn't 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap() % end
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
