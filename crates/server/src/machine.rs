//! What the machine lets this process have. It must not know what it is for.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// At most so much is taken by itself, in bytes.
const BYTES_MAX: usize = 4 << 30;
/// Where nothing says how much there is.
const BYTES_UNKNOWN: usize = 4 << 30;

/// Half of what the machine, or this process's control groups, have.
pub(crate) fn half_of_memory() -> usize {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = least_of(&own, Path::new("/sys/fs/cgroup"));
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok()
    });
    let all = machine.map_or(BYTES_UNKNOWN, |kilobytes| kilobytes << 10);
    (group.map_or(all, |group| group.min(all)) / 2).min(BYTES_MAX)
}

/// The least that a group of this process, or one around it, allows: in either version of control groups.
fn least_of(own: &str, root: &Path) -> Option<usize> {
    let mut least = None;
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (root, files): (PathBuf, &[&str]) = match controllers {
            "" => (root.to_owned(), &["memory.max", "memory.high"]),
            controllers if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), &["memory.limit_in_bytes"])
            }
            _ => continue,
        };
        // Within a namespace of groups the path may not be there; the root then is this process's own.
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let allows =
                |file: &&str| fs::read_to_string(root.join(group).join(file)).ok()?.trim().parse().ok();
            least = files.iter().filter_map(allows).chain(least).min();
        }
    }
    least
}

/// What this machine is called; empty when it has no name that a router may have.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    name.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter)).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_all_groups_around_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("system.slice/acgs.service/memory.max", "max\n");
        write("system.slice/acgs.service/memory.high", "400\n");
        write("system.slice/memory.max", "300\n");
        assert_eq!(least_of("0::/system.slice/acgs.service\n", root.path()), Some(300));
        write("memory.max", "200\n");
        assert_eq!(least_of("0::/nowhere\n", root.path()), Some(200), "in a namespace");
        write("memory/job/memory.limit_in_bytes", "100\n");
        let first = "5:cpu,cpuacct:/x\n4:memory:/job\n";
        assert_eq!(least_of(first, root.path()), Some(100));
        assert_eq!(least_of("1:cpu:/\n", root.path()), None);
    }
}
