//! Figures of the proofs, for whoever writes reports: one JSON object a line, in the file that
//! `HELPLINE_PROOFS` names.

use std::{env, fs::OpenOptions, io::Write as _};

use serde_json::Value;

/// Prints a figure, and appends it to the file if there is to be one.
pub(crate) fn figure(figure: &Value) {
    println!("{figure}");
    if let Some(file) = env::var_os("HELPLINE_PROOFS") {
        let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
        // In one write: proofs run beside each other.
        file.write_all(format!("{figure}\n").as_bytes()).unwrap();
    }
}
