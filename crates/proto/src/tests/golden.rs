//! The bytes, the `Debug` and the JSON of every sample, one file a kind, in `tests/golden`.
//!
//! A golden never changes without a new kind number. Those of the frozen kinds live in `frozen/`;
//! [`frozen`](super::frozen) keeps their bytes a second time.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use crate::{
    frame, json, limits,
    message::{Kind, Message, Ref},
};

use super::frames;

/// The kinds up to this number never change at all.
pub(super) const LAST_FROZEN: u16 = 15;

fn folder(kind: Kind) -> PathBuf {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    if kind.number <= LAST_FROZEN { golden.join("frozen") } else { golden }
}

fn file(kind: Kind) -> String {
    format!("{:03}_{}", kind.number, kind.name)
}

fn hexdump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (at, row) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown: String = row
            .iter()
            .map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' })
            .collect();
        writeln!(out, "{:08x}  {:<47}  |{shown}|", at * 16, hex.join(" ")).unwrap();
    }
    out
}

fn rendered(samples: &[Message]) -> String {
    let blocks = (0..).zip(samples).map(|(at, message)| {
        format!(
            "{}\n{message:?}\n{}\n",
            hexdump(&message.to_frame(Ref(at)).unwrap()),
            json::encode(message, Ref(at)).unwrap(),
        )
    });
    blocks.collect::<Vec<_>>().join("\n\n")
}

/// One sample as it is committed: its frame and its JSON.
#[derive(Debug, Default)]
pub(super) struct Committed {
    pub(super) frame: Vec<u8>,
    pub(super) json: String,
}

/// What the committed file holds, read without any of the code that wrote it.
pub(super) fn committed(kind: Kind) -> Vec<Committed> {
    let path = folder(kind).join(file(kind)).with_extension("snap");
    let golden = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut samples = Vec::new();
    for line in golden.lines() {
        let row = line.split_once("  ").filter(|(offset, _)| {
            offset.len() == 8 && offset.chars().all(|digit| digit.is_ascii_hexdigit())
        });
        if let Some((offset, row)) = row {
            if offset == "00000000" {
                samples.push(Committed::default());
            }
            let (hex, _) = row.split_once("  ").unwrap();
            let frame = &mut samples.last_mut().unwrap().frame;
            frame.extend(hex.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()));
        } else if line.starts_with('{') {
            samples.last_mut().unwrap().json = line.to_owned();
        }
    }
    samples
}

pub(super) fn reader(kind: Kind) -> json::Reader {
    if kind.direction.reaches_server() { json::Reader::Server } else { json::Reader::Client }
}

#[test]
fn every_kind_is_written_as_its_golden_shows() {
    for (kind, samples) in Message::samples() {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(folder(kind));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(file(kind), rendered(&samples)));
    }
}

#[test]
fn the_committed_bytes_and_json_still_mean_what_they_meant() {
    for (kind, samples) in Message::samples() {
        let golden = committed(kind);
        assert_eq!(golden.len(), samples.len(), "{}", kind.name);
        for ((at, message), golden) in (0..).zip(samples).zip(golden) {
            let frame = frame::split(&golden.frame, limits::FRAME).unwrap().unwrap();
            assert_eq!(frame.size(), golden.frame.len());
            assert_eq!(frame.reference, Ref(at));
            assert_eq!(Message::decode(frame), Ok(message.clone()), "{} {at}", kind.name);
            assert_eq!(json::decode(&golden.json, reader(kind)), Ok((Ref(at), message)));
        }
    }
}

#[test]
fn no_golden_is_left_of_a_kind_that_is_gone() {
    let kept: BTreeSet<PathBuf> = frames()
        .into_iter()
        .map(|(kind, ..)| folder(kind).join(file(kind)).with_extension("snap"))
        .collect();
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for folder in [golden.clone(), golden.join("frozen")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_golden = path.extension().is_some_and(|extension| extension == "snap")
                && path.file_name().is_some_and(|name| name != "registry.snap");
            assert!(!is_golden || kept.contains(&path), "{path:?}: a number is never given up");
        }
    }
}
