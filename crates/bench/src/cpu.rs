//! CPU time and resident memory of processes, from /proc.

use anyhow::Context;

/// Clock ticks of a second in /proc/PID/stat, the same on every Linux.
const TICKS: f64 = 100.0;

/// CPU seconds, user and system, that a process has used.
pub(super) fn seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .context("/proc is needed to measure CPU time")?;
    // The name may hold blanks; what follows its bracket does not.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / TICKS)
}

/// Resident mebibytes of a process.
pub(super) fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS in kB")?;
    Ok(kib / 1_024.0)
}
