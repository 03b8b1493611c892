//! A proof: something done so many times, from a seed, with figures at its end.

use std::{
    env,
    fs::OpenOptions,
    hash::{BuildHasher as _, RandomState},
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

/// One run of a proof. When it fails, it says how to do the same again.
///
/// Its size and its seed are variables of the environment. Where `HELPLINE_PROOFS` names a file, the figures
/// are appended to it, one JSON object a line.
#[derive(Debug)]
pub struct Proof {
    name: &'static str,
    seed: u64,
    /// What it was told, to be told again.
    told: Vec<(&'static str, String)>,
    begun: Instant,
}

impl Proof {
    /// Begins with the seed in `HELPLINE_SEED`, or any.
    ///
    /// # Panics
    /// The seed given is no number.
    #[must_use]
    pub fn begin(name: &'static str) -> Self {
        let seed = env::var("HELPLINE_SEED").map_or_else(
            |_| RandomState::new().hash_one(()),
            |given| given.parse().expect("HELPLINE_SEED is a number"),
        );
        println!("{name}: HELPLINE_SEED={seed}");
        Self { name, seed, told: Vec::new(), begun: Instant::now() }
    }

    /// Where chance begins. How threads and processes take turns isn't in it: the same seed gives the same
    /// talk and the same faults, not the same run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How often something is done: as the environment says, or as by default.
    ///
    /// # Panics
    /// The environment gives no number.
    pub fn times(&mut self, variable: &'static str, by_default: usize) -> usize {
        let times = env::var(variable)
            .map_or(by_default, |given| given.parse().expect("how often is given as a number"));
        self.told(variable, times.to_string());
        times
    }

    /// Notes another variable that does the same again.
    pub fn told(&mut self, variable: &'static str, value: String) {
        self.told.push((variable, value));
    }

    /// How long it has run.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.begun.elapsed()
    }

    /// How to do the same again.
    #[must_use]
    pub fn again(&self) -> String {
        let told = self.told.iter().map(|(name, value)| format!("{name}={value} "));
        let told: String = told.collect();
        let test = thread::current().name().unwrap_or_default().to_owned();
        format!("HELPLINE_SEED={} {told}cargo test --package helpline-tests -- {test}", self.seed)
    }

    /// It holds: prints the figures, and appends them to the file that `HELPLINE_PROOFS` names.
    ///
    /// # Panics
    /// That file can't be written.
    pub fn holds(self, figures: &[(&str, Value)]) {
        let mut line = Map::from_iter([("proof".to_owned(), json!(self.name))]);
        line.extend(figures.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        line.insert("seconds".to_owned(), json!(self.begun.elapsed().as_secs()));
        figures_of(&line.into());
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{} does not hold; again: {}", self.name, self.again());
        }
    }
}

/// Prints the figures of a proof, and appends them to the file that `HELPLINE_PROOFS` names, if it does.
///
/// # Panics
/// That file can't be written.
pub fn figures_of(run: &Value) {
    println!("{run}");
    if let Some(file) = env::var_os("HELPLINE_PROOFS") {
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        // In one write: proofs run beside each other.
        file.write_all(format!("{run}\n").as_bytes()).unwrap();
    }
}

/// The value that so many percent of some are not above: 50 for the middle one, 99 for all but the worst.
///
/// # Panics
/// There are none.
#[must_use]
pub fn percentile(of: &mut [Duration], percent: usize) -> Duration {
    of.sort_unstable();
    of[(of.len() * percent).div_ceil(100).clamp(1, of.len()) - 1]
}
