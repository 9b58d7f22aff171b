//! One sandbox's cgroup in each hierarchy.

use super::{Role, Run, Version, make};
use crate::{CpuQuota, CpuWeight};
use rustix::event::EventfdFlags;
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Folders of one sandbox, one in each hierarchy, and what was last written there. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Group {
    parts: Vec<Part>,
    /// Where an out-of-memory event is told on v1.
    oom: Option<OwnedFd>,
    set: Set,
}

#[derive(Debug)]
struct Part {
    version: Version,
    roles: Vec<Role>,
    folder: PathBuf,
    /// v1: `tasks`, to be written by who joins. v2: the folder, to be born in. Open until a sandbox is inside.
    door: Option<OwnedFd>,
}

/// Values last written, so that equal ones are not written again.
#[derive(Clone, Copy, Debug, Default)]
struct Set {
    memory: Option<u64>,
    processes: Option<u32>,
    cpu: Option<(CpuWeight, Option<CpuQuota>)>,
}

/// Period of hard CPU limits, microseconds. Source: the kernel's default.
const CPU_PERIOD_US: u64 = 100_000;

impl Group {
    /// Makes the folders of slot `index`.
    pub(crate) fn make(run: &Run, index: u32) -> io::Result<Group> {
        let mut parts = Vec::with_capacity(run.homes.len());
        for home in &run.homes {
            let folder = home.functions.join(format!("s{index}"));
            make(&folder)?;
            let door = Some(door(home.version, &folder)?);
            parts.push(Part { version: home.version, roles: home.roles.clone(), folder, door });
        }
        let mut group = Group { parts, oom: None, set: Set::default() };
        group.watch_memory()?;
        Ok(group)
    }

    /// Makes it like new for the next sandbox. It must be empty of processes.
    ///
    /// The memory part is made anew: its counters cannot all be reset, and page cache charged to it would count.
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        self.thaw()?;
        self.oom = None;
        let before = self.set;
        for part in &mut self.parts {
            if part.roles.contains(&Role::Memory) || part.version == Version::V2 {
                remove(&part.folder)?;
                make(&part.folder)?;
                self.set.memory = None;
                if part.version == Version::V2 {
                    self.set = Set::default();
                }
            }
            if part.version == Version::V1 && part.roles.contains(&Role::CpuUse) {
                write(&part.folder, "cpuacct.usage", "0")?;
            }
            part.door = Some(door(part.version, &part.folder)?);
        }
        self.watch_memory()?;
        // The next sandbox is likely like the last one: then its start finds the limits set.
        if let Some(bytes) = before.memory {
            self.limit_memory(bytes)?;
        }
        if let Some(count) = before.processes {
            self.limit_processes(count)?;
        }
        self.set_cpu(CpuWeight::MAX, None)
    }

    /// v1: `tasks` files, into each of which the new process writes itself.
    pub(crate) fn doors_to_join(&self) -> impl Iterator<Item = &OwnedFd> {
        self.parts.iter().filter(|part| part.version == Version::V1).filter_map(|part| part.door.as_ref())
    }

    /// v2: the folder in which the new process is born.
    pub(crate) fn birthplace(&self) -> Option<&OwnedFd> {
        self.parts.iter().find(|part| part.version == Version::V2).and_then(|part| part.door.as_ref())
    }

    /// Closes what a sandbox comes in by, until the group is renewed: descriptors of the daemon are few.
    pub(crate) fn close_doors(&mut self) {
        for part in &mut self.parts {
            part.door = None;
        }
    }

    /// The descriptor that becomes readable when the memory limit was hit (v1; on v2 the kernel ends the whole group
    /// itself). `None` the second time, until the group is renewed.
    pub(crate) fn take_oom_event(&mut self) -> Option<OwnedFd> {
        self.oom.take()
    }

    fn part(&self, role: Role) -> Option<&Part> {
        self.parts.iter().find(|part| part.roles.contains(&role))
    }

    /// Has the kernel tell, or act, when the limit is hit.
    fn watch_memory(&mut self) -> io::Result<()> {
        let Some(part) = self.part(Role::Memory) else { return Ok(()) };
        match part.version {
            Version::V2 => write(&part.folder, "memory.oom.group", "1"),
            Version::V1 => {
                let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
                let control = std::fs::File::open(part.folder.join("memory.oom_control"))?;
                let order = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
                write(&part.folder, "cgroup.event_control", &order)?;
                self.oom = Some(event);
                Ok(())
            }
        }
    }

    /// Limits memory, swap included.
    pub(crate) fn limit_memory(&mut self, bytes: u64) -> io::Result<()> {
        if self.set.memory == Some(bytes) {
            return Ok(());
        }
        let Some(part) = self.part(Role::Memory) else { return Ok(()) };
        let text = bytes.to_string();
        match part.version {
            Version::V2 => {
                write(&part.folder, "memory.max", &text)?;
                // Absent where the kernel has no swap accounting.
                optional(write(&part.folder, "memory.swap.max", "0"))?;
            }
            Version::V1 => {
                // The first limit may at no time exceed the second.
                let (memory, with_swap) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
                if self.set.memory.is_some_and(|before| before < bytes) {
                    optional(write(&part.folder, with_swap, &text))?;
                    write(&part.folder, memory, &text)?;
                } else {
                    write(&part.folder, memory, &text)?;
                    optional(write(&part.folder, with_swap, &text))?;
                }
            }
        }
        self.set.memory = Some(bytes);
        Ok(())
    }

    /// Limits processes and threads.
    pub(crate) fn limit_processes(&mut self, count: u32) -> io::Result<()> {
        if self.set.processes == Some(count) {
            return Ok(());
        }
        let Some(part) = self.part(Role::Processes) else { return Ok(()) };
        write(&part.folder, "pids.max", &count.to_string())?;
        self.set.processes = Some(count);
        Ok(())
    }

    /// Sets share and hard limit of CPU.
    pub(crate) fn set_cpu(&mut self, weight: CpuWeight, quota: Option<CpuQuota>) -> io::Result<()> {
        if self.set.cpu == Some((weight, quota)) {
            return Ok(());
        }
        let Some(part) = self.part(Role::CpuWeight) else { return Ok(()) };
        let quota_us =
            quota.map(|CpuQuota(thousandths)| u64::from(thousandths.max(10)) * CPU_PERIOD_US / 1000);
        let had_quota = self.set.cpu.is_none_or(|(_, quota)| quota.is_some());
        match part.version {
            Version::V2 => {
                write(&part.folder, "cpu.weight", &weight.get().to_string())?;
                if had_quota || quota_us.is_some() {
                    let quota = quota_us.map_or("max".to_owned(), |us| us.to_string());
                    write(&part.folder, "cpu.max", &format!("{quota} {CPU_PERIOD_US}"))?;
                }
            }
            Version::V1 => {
                write(&part.folder, "cpu.shares", &shares(weight).to_string())?;
                if had_quota || quota_us.is_some() {
                    let quota = quota_us.map_or("-1".to_owned(), |us| us.to_string());
                    optional(write(&part.folder, "cpu.cfs_quota_us", &quota))?;
                }
            }
        }
        self.set.cpu = Some((weight, quota));
        Ok(())
    }

    /// Stops everything in it where it is.
    pub(crate) fn freeze(&self) -> io::Result<()> {
        self.set_frozen("FROZEN", "1")
    }

    /// Lets it run on.
    pub(crate) fn thaw(&self) -> io::Result<()> {
        self.set_frozen("THAWED", "0")
    }

    fn set_frozen(&self, v1: &str, v2: &str) -> io::Result<()> {
        let Some(part) = self.part(Role::Freeze) else { return Ok(()) };
        match part.version {
            Version::V1 => write(&part.folder, "freezer.state", v1),
            Version::V2 => write(&part.folder, "cgroup.freeze", v2),
        }
    }

    /// Bytes in use, without page cache that nobody has used lately.
    pub(crate) fn memory_now(&self) -> io::Result<u64> {
        let Some(part) = self.part(Role::Memory) else { return Ok(0) };
        let (usage, inactive) = match part.version {
            Version::V1 => ("memory.usage_in_bytes", "total_inactive_file"),
            Version::V2 => ("memory.current", "inactive_file"),
        };
        let stat = read(&part.folder, "memory.stat")?;
        let usage = number(&part.folder, usage)?;
        Ok(usage.saturating_sub(field(&stat, inactive)))
    }

    /// Most bytes in use at once.
    pub(crate) fn memory_peak(&self) -> io::Result<u64> {
        let Some(part) = self.part(Role::Memory) else { return Ok(0) };
        match part.version {
            Version::V1 => number(&part.folder, "memory.max_usage_in_bytes"),
            // `memory.peak` exists since Linux 5.19.
            Version::V2 => {
                number(&part.folder, "memory.peak").or_else(|_| number(&part.folder, "memory.current"))
            }
        }
    }

    /// Processes killed for the limit.
    pub(crate) fn oom_kills(&self) -> io::Result<u64> {
        let Some(part) = self.part(Role::Memory) else { return Ok(0) };
        let file = match part.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        Ok(field(&read(&part.folder, file)?, "oom_kill"))
    }

    /// Microseconds of CPU time used.
    pub(crate) fn cpu_used_us(&self) -> io::Result<u64> {
        let Some(part) = self.part(Role::CpuUse) else { return Ok(0) };
        match part.version {
            Version::V1 => Ok(number(&part.folder, "cpuacct.usage")? / 1000),
            Version::V2 => Ok(field(&read(&part.folder, "cpu.stat")?, "usage_usec")),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for part in &self.parts {
            if let Err(error) = remove(&part.folder) {
                tracing::debug!(folder = %part.folder.display(), %error, "a cgroup stays until the end of the run");
            }
        }
    }
}

/// v1 shares of a weight: 100 is 1,024. Source: the kernel's defaults for one ordinary share.
pub(super) fn shares(weight: CpuWeight) -> u64 {
    (u64::from(weight.get()) * 1024 / 100).max(2)
}

fn door(version: Version, folder: &Path) -> io::Result<OwnedFd> {
    match version {
        Version::V1 => Ok(std::fs::OpenOptions::new().write(true).open(folder.join("tasks"))?.into()),
        Version::V2 => Ok(std::fs::File::open(folder)?.into()),
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn write(folder: &Path, file: &str, text: &str) -> io::Result<()> {
    // Opened without O_CREAT and O_TRUNC: cgroup files want neither.
    let mut file = std::fs::OpenOptions::new().write(true).open(folder.join(file))?;
    io::Write::write_all(&mut file, text.as_bytes())
}

/// Takes the absence of a file as success.
fn optional(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn read(folder: &Path, file: &str) -> io::Result<String> {
    std::fs::read_to_string(folder.join(file))
}

fn number(folder: &Path, file: &str) -> io::Result<u64> {
    read(folder, file)?.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Value of `NAME VALUE` among lines; 0 when there is none.
fn field(text: &str, name: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_by_whole_name() {
        let text = "oom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(field(text, "oom_kill"), 2);
        assert_eq!(field(text, "oom"), 3);
        assert_eq!(field(text, "absent"), 0);
    }

    #[test]
    fn shares_are_proportional_and_never_below_the_kernels_minimum() {
        assert_eq!(shares(CpuWeight::new(100)), 1024);
        assert_eq!(shares(CpuWeight::new(1)), 10);
        assert_eq!(shares(CpuWeight::MAX), 102_400);
    }
}
