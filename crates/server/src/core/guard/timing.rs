//! Whether it shows in the time it takes how wrong a token is.

use std::{env, hint::black_box, time::Instant};

use super::*;

/// Looks timed together, as one takes hardly longer than reading the clock.
const AT_ONCE: u32 = 32;

/// How much longer one kind of look takes than the other: Welch's t, and the difference in nanoseconds a look.
/// Both are timed in turns, and the slowest tenth, in which somebody else had the processor, is left out. Each look
/// is at fresh copies, so that the one kind doesn't lie better in memory than the other.
fn difference(
    times: usize,
    asked: [(&Name, &Secret); 2],
    look: impl Fn(&Name, &Secret),
) -> (f64, f64) {
    let mut took = [Vec::with_capacity(times), Vec::with_capacity(times)];
    for round in 0..times {
        for turn in 0..2 {
            let which = (turn + round) % 2;
            let (name, token) = (asked[which].0.clone(), asked[which].1.clone());
            let begun = Instant::now();
            for _ in 0..AT_ONCE {
                look(&name, &token);
            }
            took[which].push(begun.elapsed().as_nanos());
        }
    }
    let [(mean, spread), (other_mean, other_spread)] = took.map(|mut took| {
        took.sort_unstable();
        took.truncate(times * 9 / 10);
        let count = took.len() as f64;
        let took = took.iter().map(|nanos| *nanos as f64 / f64::from(AT_ONCE));
        let mean = took.clone().sum::<f64>() / count;
        let variance = took.map(|nanos| (nanos - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    });
    ((mean - other_mean) / (spread + other_spread).sqrt(), mean - other_mean)
}

#[test]
fn how_wrong_a_token_is_does_not_show_in_the_time() {
    let asked = env::var("HELPLINE_TIMING").ok();
    let times = asked.as_ref().map_or(5_000, |times| times.parse().expect("how many"));
    let token = format!("{}f", "0123456789abcde".repeat(5).get(..63).unwrap());
    let account = |name: &str| Account {
        name: Name::new(name).unwrap(),
        role: Role::Operator,
        token: SecretHash::of(&Secret::new(token.as_str()).unwrap()),
        disabled: false,
    };
    let mut guard = Guard::new(Policy::default(), Arc::default());
    guard.set(Access { accounts: vec![account("Wei"), account("Li")], ..Access::default() });
    let nearly = Secret::new(token.replace('f', "0")).unwrap();
    let not_at_all = Secret::new("f".repeat(64)).unwrap();
    let far = Origin::Address("192.0.2.7".parse().unwrap());
    let (wei, eve) = (Name::new("Wei").unwrap(), Name::new("Eve").unwrap());
    let look = |name: &Name, token: &Secret| {
        assert!(black_box(guard.recognise(far, black_box(name), black_box(Some(token)))).is_err());
    };
    // A few measurements, beside others who have work to do here, only show what is gross.
    let differ = |tries: &[(f64, f64)]| {
        tries.iter().all(|(t, nanos)| nanos.abs() >= 1000.0 || asked.is_some() && t.abs() >= 4.5)
    };
    let pair = [(&wei, &nearly), (&wei, &not_at_all)];
    // Without an iterator between: where a frame lies on the stack shows as nanoseconds, too.
    let tokens = [(); 3].map(|()| difference(times, pair, look));
    println!("{times} measurements of a token that is nearly right: t and ns {tokens:?}");
    assert!(!differ(&tokens), "a token that is nearly right: t and ns {tokens:?}");
    // To look a name up takes a moment. What is to be seen of that from outside is nothing.
    let (t, nanos) = difference(times, [(&wei, &not_at_all), (&eve, &not_at_all)], look);
    println!("a known name, compared with an unknown one: t {t:.1}, {nanos:.1} ns");
    assert!(nanos.abs() < 1000.0, "an unknown name takes {nanos} ns less");
}
