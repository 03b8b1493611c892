//! The machine's clock is stepped. Timers are another clock's, order is by number, times are for display.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use helpline_tests::{Home, Peer, Server, ServerSetup, have, linux, tool};

/// A library that a program is started with: its clock is off by as many seconds as a file says.
const STEPPED: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("CLOCK_STEP");
    FILE *file = result == 0 && clock == CLOCK_REALTIME && path ? fopen(path, "r") : NULL;
    long seconds = 0;
    if (file) {
        if (fscanf(file, "%ld", &seconds) == 1) now->tv_sec += seconds;
        fclose(file);
    }
    return result;
}
"#;

const DAY: i64 = 24 * 60 * 60;

/// Builds the library; none where that can't be done.
fn library(home: &Home) -> Option<PathBuf> {
    let (source, library) = (home.path().join("stepped.c"), home.path().join("stepped.so"));
    fs::write(&source, STEPPED).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
    let built = compiler.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    built.then_some(library)
}

fn step(file: &Path, seconds: i64) {
    // At once, so that nobody reads half of it.
    let new = file.with_extension("new");
    fs::write(&new, seconds.to_string()).unwrap();
    fs::rename(new, file).unwrap();
}

#[test]
fn a_clock_stepped_by_a_day_ends_nothing_and_keeps_the_order() {
    if !have(linux("LD_PRELOAD")) || !have(tool("cc")) {
        return;
    }
    let home = Home::new();
    let Some(library) = library(&home) else {
        assert!(!have(Some("cc can't build a library here".to_owned())));
        return;
    };
    assert!(env::var_os("LD_PRELOAD").is_none());
    let clock = home.path().join("clock");
    step(&clock, 0);
    let with_clock = |setup: ServerSetup| {
        let setup = setup.env("LD_PRELOAD", library.to_str().unwrap());
        setup.env("CLOCK_STEP", clock.to_str().unwrap())
    };
    let mut server = with_clock(Server::with().graces(4, 60, 60)).start();
    let (mut caller, mut operator) = Peer::pair(server.address());
    let mut waiting = Peer::caller(server.address(), "Bea");
    waiting.expect_place();
    let mut behind = Peer::caller(server.address(), "Cleo");
    behind.expect_place();
    let mut times = Vec::new();
    for (round, seconds) in [0, DAY, -DAY, 365 * DAY, 0].into_iter().enumerate() {
        // Somebody is away while the clock is stepped: the grace is what it was.
        waiting.go_away();
        caller.go_away();
        operator.expect_away();
        step(&clock, seconds);
        operator.say(&format!("round {round}"));
        times.push(operator.expect_text(&format!("round {round}")).at.0);
        caller.come_back();
        caller.expect_text(&format!("round {round}"));
        waiting.come_back();
        assert_eq!(waiting.expect_place().position, 1);
        Peer::chat(&mut caller, &mut operator, &format!("chat {round}"));
        if round == 2 {
            server.crash();
            server = server.again().start();
            for peer in [&mut caller, &mut operator, &mut waiting, &mut behind] {
                peer.come_back();
            }
        }
    }
    for (step, wanted) in times.windows(2).zip([DAY, -2 * DAY, 366 * DAY, -365 * DAY]) {
        let stepped = (step[1] - step[0]) / 1000;
        assert!((stepped - wanted).abs() < 600, "the clock was stepped: {stepped}, {wanted}");
    }
    assert_eq!(caller.entries(), operator.entries());
    // And a grace is still over when it is over.
    let begun = Instant::now();
    waiting.vanish();
    while behind.expect_place().position != 1 {}
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(3) && took < Duration::from_secs(40), "{took:?}");
}
