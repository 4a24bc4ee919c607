//! What the machine lets this process have. It must not know what it is for.

use std::fs;

/// At most so much is taken by itself, in bytes.
const BYTES_MAX: usize = 4 << 30;
/// Where nothing says how much there is.
const BYTES_UNKNOWN: usize = 4 << 30;

/// Half of what the machine, or this process's control group, has.
pub(crate) fn half_of_memory() -> usize {
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max");
    let group = group.ok().and_then(|text| text.trim().parse::<usize>().ok());
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok()
    });
    let all = machine.map_or(BYTES_UNKNOWN, |kilobytes| kilobytes << 10);
    (group.map_or(all, |group| group.min(all)) / 2).min(BYTES_MAX)
}
