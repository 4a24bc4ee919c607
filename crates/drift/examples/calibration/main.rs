//! How often drift is called where there is none, and how soon where there is: the tables of docs/calibration.md, made through the lane
//! protocol with the default settings. `cargo xtask calibrate` runs the short form, `--long` is the one that is quoted. It must not know how
//! the judge judges.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table is what it is for")]

mod before;
mod changes;
mod data;
mod lane;
mod power;
mod rivals;
mod speed;
mod still;

use std::process::ExitCode;

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let long = asked.iter().any(|word| word == "--long");
    // Streams of each row without change: a thousand in the form that is quoted.
    let streams = asked.iter().find_map(|word| word.strip_prefix("--streams=")?.parse().ok());
    let asked_streams: Option<u64> = streams;
    let streams = streams.or(long.then_some(1_000));
    let law = asked.iter().find_map(|word| word.strip_prefix("--law="));
    let only = asked.iter().find(|word| !word.starts_with("--")).map_or("", String::as_str);
    let mut sound = true;
    if only.is_empty() || only == "still" {
        sound &= still::table(streams, law);
    }
    if only.is_empty() || only == "before" {
        sound &= before::table(streams, law);
    }
    if only.is_empty() || only == "power" {
        sound &= power::table(long, asked_streams, law);
    }
    if only == "rivals" || (only.is_empty() && long) {
        rivals::table(long);
    }
    if only.is_empty() || only == "speed" {
        speed::table();
    }
    if sound {
        ExitCode::SUCCESS
    } else {
        eprintln!("a bound does not hold");
        ExitCode::FAILURE
    }
}
