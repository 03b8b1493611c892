//! A disk without room: the batch is rolled back, and the store goes on when there is room again.

use super::*;

/// Set for the test's own second process: the directory of a small disk.
const SMALL_DISK: &str = "HELPLINE_SMALL_DISK";

fn long(call: u64, seq: u32) -> Write {
    said(call, seq, Side::Caller, seq, &"x".repeat(16 * 1024))
}

#[test]
fn a_batch_without_room_leaves_the_store_as_it_was() {
    let directory = directory();
    let mut store = open(directory.path());
    store.commit(&[opened(1), long(1, 1)]).unwrap();
    let kept = store.snapshot().unwrap();
    store.database.pragma_update(None, "max_page_count", 1).unwrap();
    for _ in 0..3 {
        let batch = [opened(2), long(2, 1), said(1, 2, Side::Caller, 2, "two"), long(1, 3)];
        let error = store.commit(&batch).unwrap_err();
        assert!(error.is_rolled_back(), "{error}");
        assert_eq!(store.snapshot().unwrap(), kept);
        assert_eq!(store.page(id(1), Seq(0), WHOLE).unwrap().len(), 1);
        assert_eq!(killed(directory.path()).1.snapshot().unwrap(), kept);
    }
    store.database.pragma_update(None, "max_page_count", 1 << 20).unwrap();
    store.commit(&[opened(2), long(2, 1), long(1, 2)]).unwrap();
    let (_elsewhere, mut again) = killed(directory.path());
    assert_eq!(again.snapshot().unwrap(), store.snapshot().unwrap());
    assert_eq!(again.page(id(1), Seq(0), WHOLE).unwrap().len(), 2);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_a_batch_rolled_back() {
    use std::process::Command;

    if let Some(small) = std::env::var_os(SMALL_DISK) {
        return fill(Path::new(&small));
    }
    let may = Command::new("unshare").args(["-Urnm", "true"]).output();
    if !may.is_ok_and(|done| done.status.success()) {
        let checks = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!checks, "missing where CI=true: unshare -Urnm");
        println!("not run: no way to mount a small disk");
        return;
    }
    let small = tempfile::tempdir().unwrap();
    // Room for a log that is copied back from time to time.
    let mount = r#"mount -t tmpfs -o size=18m helpline "$0" && exec "$@""#;
    let done = Command::new("unshare")
        .args(["-Urnm", "sh", "-c", mount])
        .arg(small.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "store::tests::full::a_full_disk_is_a_batch_rolled_back"])
        .env(SMALL_DISK, small.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}{done:?}");
}

/// Fills the disk three times, and makes a little room each time.
fn fill(small: &Path) {
    let ballast = |n: u32| small.join(format!("ballast{n}"));
    for n in 0..4 {
        std::fs::write(ballast(n), vec![1; if n < 3 { 1 << 20 } else { 6 << 20 }]).unwrap();
    }
    let mut store = open(small);
    store.commit(&[opened(1)]).unwrap();
    let (mut seq, mut full) = (0, 0);
    for n in 0..3 {
        let last = loop {
            let kept = store.snapshot().unwrap();
            let batch: Vec<_> = (1..=3).map(|more| long(1, seq + more)).collect();
            match store.commit(&batch) {
                Ok(()) => seq += 3,
                Err(error) => {
                    assert!(error.is_rolled_back(), "{error:?}");
                    assert_eq!(store.snapshot().unwrap(), kept);
                    full += 1;
                    if full % 4 == 0 {
                        break kept;
                    }
                }
            }
        };
        // The log can't be emptied either; that isn't the store's end.
        store.commit(&[]).unwrap();
        assert_eq!(store.page(id(1), Seq(0), WHOLE).unwrap().len(), usize::try_from(seq).unwrap());
        let (_elsewhere, mut killed) = killed(small);
        assert_eq!(killed.snapshot().unwrap(), last);
        let whole = killed.page(id(1), Seq(0), WHOLE).unwrap();
        assert_eq!(whole.len(), usize::try_from(seq).unwrap());
        std::fs::remove_file(ballast(n)).unwrap();
    }
    store.commit(&[long(1, seq + 1)]).unwrap();
    drop(store);
    // The log can't be copied back before there is room for that, too.
    let error = try_open(small).unwrap_err();
    assert!(!error.is_rolled_back(), "{error}");
    std::fs::remove_file(ballast(3)).unwrap();
    let last = usize::try_from(seq + 1).unwrap();
    assert_eq!(open(small).page(id(1), Seq(0), WHOLE).unwrap().len(), last);
    println!("{seq} long lines were recorded");
}
