//! What each part of the checks costs, as multiples of a calibration workload, because machines differ by four times. The
//! budgets are in docs/testing.md. It must not know what a part does.

use std::{
    collections::HashMap, fmt::Write as _, fs, hint::black_box, ops::RangeInclusive, path::PathBuf,
    time::Instant,
};

use crate::{Failure, root};

/// What a part took.
#[derive(Clone, Debug, PartialEq)]
struct Time {
    part: String,
    cpu_s: f64,
    wall_s: f64,
}

fn file() -> PathBuf {
    root().join(".tools/times.tsv")
}

/// Of `utime` and `stime`, and of `cutime` and `cstime`, behind the command's name (proc(5)).
const OWN: RangeInclusive<usize> = 11..=12;
const CHILDREN: RangeInclusive<usize> = 13..=14;

/// CPU seconds of this process, or of all that it has waited for and those that they waited for; 0 where there is no procfs.
fn cpu_s(fields: RangeInclusive<usize>) -> f64 {
    /// Of the clock of procfs on Linux.
    const TICK_S: f64 = 0.01;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let all: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    all.get(fields).unwrap_or_default().iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
        * TICK_S
}

/// Runs a part and notes what it took, also when it fails.
pub(crate) fn timed<T>(part: &str, run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let (cpu_before_s, since) = (cpu_s(CHILDREN), Instant::now());
    let done = run();
    let time = Time {
        part: part.to_owned(),
        cpu_s: cpu_s(CHILDREN) - cpu_before_s,
        wall_s: since.elapsed().as_secs_f64(),
    };
    let mut known = read();
    known.retain(|one| one.part != time.part);
    known.push(time);
    let written = write(&known);
    done.and_then(|done| written.map(|()| done))
}

/// Forgets what was noted, and measures this machine.
pub(crate) fn pace() -> Result<(), Failure> {
    let before_s = cpu_s(OWN);
    (0..ROUNDS).for_each(|_| workload());
    let seconds = (cpu_s(OWN) - before_s) / f64::from(ROUNDS);
    eprintln!("xtask: the workload that costs are told by takes {seconds:.2} CPU seconds here");
    write(&[Time { part: CALIBRATION.to_owned(), cpu_s: seconds, wall_s: seconds }])
}

const CALIBRATION: &str = "calibration";
const ROUNDS: u32 = 5;

/// What compilers and tests do: hashing, sorting and memory, on one thread.
fn workload() {
    const WORDS: u64 = 400_000;
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut counts: HashMap<String, u64> = HashMap::new();
    let mut numbers: Vec<u64> = (0..WORDS).map(|_| next()).collect();
    for number in &numbers {
        *counts.entry(format!("{:x}", number % 50_000)).or_default() += number >> 32;
    }
    numbers.sort_unstable();
    let mut text = String::new();
    for (word, count) in &counts {
        let _infallible = write!(text, "{word}={count};");
    }
    black_box((numbers, text));
}

/// Budgets by part, from the table of docs/testing.md: `| part | what | multiples |`.
fn budgets() -> HashMap<String, f64> {
    let text = fs::read_to_string(root().join("docs/testing.md")).unwrap_or_default();
    let of = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let budget = cells.get(3)?.replace(',', "").parse().ok()?;
        Some(((*cells.get(1)?).to_owned(), budget))
    };
    text.lines().filter_map(of).collect()
}

/// Prints what was noted since the calibration; a part beyond its budget is said, and the sum.
pub(crate) fn report() -> Result<(), Failure> {
    let known = read();
    let unit_s = known.iter().find(|time| time.part == CALIBRATION).map_or(f64::NAN, |time| time.cpu_s);
    let budgets = budgets();
    println!("{:<12} {:>9} {:>8} {:>9} {:>7}", "part", "CPU s", "wall s", "multiples", "budget");
    let parts: Vec<&Time> = known.iter().filter(|time| time.part != CALIBRATION).collect();
    let mut sum = Time { part: "all".to_owned(), cpu_s: 0.0, wall_s: 0.0 };
    for time in &parts {
        sum.cpu_s += time.cpu_s;
        sum.wall_s += time.wall_s;
    }
    for time in parts.into_iter().chain([&sum]) {
        let multiples = time.cpu_s / unit_s;
        let budget = budgets.get(&time.part).copied();
        let shown = budget.map_or("-".to_owned(), |budget| format!("{budget:.0}"));
        let over = match budget {
            Some(budget) if multiples > budget => "  over its budget",
            Some(_) => "",
            None => "  has no budget in docs/testing.md",
        };
        println!(
            "{:<12} {:>9.1} {:>8.1} {multiples:>9.0} {shown:>7}{over}",
            time.part, time.cpu_s, time.wall_s
        );
    }
    Ok(())
}

fn read() -> Vec<Time> {
    let text = fs::read_to_string(file()).unwrap_or_default();
    let of = |line: &str| {
        let mut cells = line.split('\t');
        let part = cells.next()?.to_owned();
        Some(Time { part, cpu_s: cells.next()?.parse().ok()?, wall_s: cells.next()?.parse().ok()? })
    };
    text.lines().filter_map(of).collect()
}

fn write(times: &[Time]) -> Result<(), Failure> {
    let lines: String =
        times.iter().map(|time| format!("{}\t{}\t{}\n", time.part, time.cpu_s, time.wall_s)).collect();
    let path = file();
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder.and_then(|()| fs::write(&path, lines)).map_err(|error| format!("{}: {error}", path.display()))
}
