//! The machine that measures, as the system describes it.

use std::{fs, io, path::Path};

/// What it is, by what is asked.
pub(crate) fn described(disk: &Path) -> io::Result<Vec<(String, String)>> {
    let facts = [
        ("processor", processor()?),
        ("memory", memory()?),
        ("kernel", read("/proc/sys/kernel/osrelease")?),
        ("disk", mounted(disk)?),
        ("load when it began", read("/proc/loadavg")?.split(' ').next().unwrap_or_default().into()),
    ];
    Ok(facts.into_iter().map(|(what, is)| (what.to_owned(), is)).collect())
}

fn read(file: impl AsRef<Path>) -> io::Result<String> {
    Ok(fs::read_to_string(file)?.trim().to_owned())
}

fn processor() -> io::Result<String> {
    let text = read("/proc/cpuinfo")?;
    let cores = text.lines().filter(|line| line.starts_with("processor")).count();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    let name = name.map_or("unknown", |name| name.trim_start_matches([' ', '\t', ':']));
    Ok(format!("{name}, {cores} cores"))
}

fn memory() -> io::Result<String> {
    let text = read("/proc/meminfo")?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.and_then(|total| total.split_whitespace().next());
    let kib: u64 = total.and_then(|total| total.parse().ok()).unwrap_or(0);
    Ok(format!("{} GiB", kib.div_ceil(1024 * 1024)))
}

/// What holds the files of a directory.
fn mounted(directory: &Path) -> io::Result<String> {
    let directory = directory.canonicalize()?;
    let mounts = read("/proc/self/mountinfo")?;
    let holds = |line: &str| -> Option<(usize, String)> {
        let (mount, kind) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        let mut kind = kind.split(' ');
        let (system, device) = (kind.next()?, kind.next()?);
        let is = directory.starts_with(point);
        is.then(|| (point.len(), format!("{system} on {}", device_kind(device))))
    };
    let held = mounts.lines().filter_map(holds).max_by_key(|(long, _)| *long);
    Ok(held.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind))
}

fn device_kind(device: &str) -> String {
    let name = device.rsplit('/').next().unwrap_or(device);
    let disk = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let kind = if disk.starts_with("vd") || disk.starts_with("xvd") {
        "a virtual disk"
    } else if name.starts_with("nvme") {
        "NVMe"
    } else {
        match read(format!("/sys/block/{disk}/queue/rotational")).as_deref() {
            Ok("1") => "a hard disk",
            Ok("0") => "a solid state disk",
            _ => "unknown",
        }
    };
    format!("{kind} ({name})")
}
