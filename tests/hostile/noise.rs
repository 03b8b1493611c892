//! Frames that are none, made of those that are.

use std::fs;

use helpline_proto::message::KINDS;

/// A small generator of noise (SplitMix64), the same in every run.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

/// The frames that the protocol's own tests keep: one of each kind at least.
pub(crate) fn goldens() -> Vec<Vec<u8>> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/proto/tests/golden");
    let mut goldens = Vec::new();
    for directory in [root.to_owned(), format!("{root}/frozen")] {
        for file in fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "snap") {
                goldens.extend(dumped(&fs::read_to_string(file).unwrap()));
            }
        }
    }
    assert!(goldens.len() >= KINDS.len(), "{} goldens", goldens.len());
    goldens.retain(|frame| frame.len() < 1000);
    goldens.sort();
    goldens
}

/// The bytes of the hexdumps in a file.
fn dumped(file: &str) -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for line in file.lines() {
        let Some((offset, rest)) = line.split_once("  ") else { continue };
        let (Ok(offset), 8) = (usize::from_str_radix(offset, 16), offset.len()) else { continue };
        let digits = rest.split("  |").next().unwrap();
        let bytes = digits.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap());
        if offset == 0 {
            frames.push(Vec::new());
        }
        frames.last_mut().unwrap().extend(bytes);
    }
    frames
}

/// One malformed frame, or one that has no place where it comes.
pub(crate) fn malformed(noise: &mut Noise, goldens: &[Vec<u8>]) -> Vec<u8> {
    let golden = &goldens[noise.below(goldens.len())];
    let mut frame = golden.clone();
    match noise.below(6) {
        // Nothing but noise, 0xFF alone included.
        0 => {
            let count = 1 + noise.below(64);
            frame = noise.bytes(count);
            if noise.below(4) == 0 {
                frame = vec![0xff];
            }
        }
        // A byte is another.
        1 => {
            let at = noise.below(frame.len());
            frame[at] = noise.byte();
        }
        // The length lies.
        2 => {
            let length = u32::try_from(noise.next() >> (32 + noise.below(32))).unwrap();
            frame[..4].copy_from_slice(&length.to_be_bytes());
        }
        // Something inside lies: a count, a number, a tag.
        3 => {
            let at = noise.below(frame.len());
            let end = (at + 8).min(frame.len());
            frame[at..end].fill(0xff);
        }
        // It is cut short, its length true or not.
        4 => {
            frame.truncate(noise.below(frame.len()).max(1));
            if let (2, Ok(length)) = (noise.below(3), u32::try_from(frame.len().saturating_sub(4)))
                && frame.len() >= 10
            {
                frame[..4].copy_from_slice(&length.to_be_bytes());
            }
        }
        // A number nobody has, with or without a wish for an answer.
        _ => {
            let number = 200 + u16::from(noise.byte());
            frame[4..6].copy_from_slice(&number.to_be_bytes());
            frame[9] = noise.byte();
        }
    }
    frame
}
