//! Which hierarchies the host has, and which of them is used for what.

use std::{
    io,
    path::{Path, PathBuf},
};

/// What a cgroup is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Memory,
    Processes,
    CpuWeight,
    CpuUse,
    Freeze,
}

impl Role {
    pub(crate) const ALL: [Role; 5] =
        [Role::Memory, Role::Processes, Role::CpuWeight, Role::CpuUse, Role::Freeze];

    /// The controller of v1 that serves it.
    const fn v1(self) -> &'static str {
        match self {
            Role::Memory => "memory",
            Role::Processes => "pids",
            Role::CpuWeight => "cpu",
            Role::CpuUse => "cpuacct",
            Role::Freeze => "freezer",
        }
    }

    /// The controller of v2 that serves it; `None` where every v2 group does.
    pub(super) const fn v2(self) -> Option<&'static str> {
        match self {
            Role::Memory => Some("memory"),
            Role::Processes => Some("pids"),
            Role::CpuWeight => Some("cpu"),
            Role::CpuUse | Role::Freeze => None,
        }
    }
}

/// Which interface a hierarchy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// A mounted hierarchy, and what it is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) version: Version,
    pub(crate) roles: Vec<Role>,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
    /// The daemon's own cgroup in it.
    pub(crate) own: PathBuf,
}

/// The hierarchies that serve at least one role.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Layout {
    pub(crate) used: Vec<Hierarchy>,
}

impl Layout {
    /// Looks at this host; leaves out what may not be written.
    pub(crate) fn detect() -> io::Result<Layout> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let own = std::fs::read_to_string("/proc/self/cgroup")?;
        let mut layout = Layout::choose(&mounts, &own, |mount| {
            std::fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default()
        });
        layout.used.retain(|used| rustix::fs::access(&used.own, rustix::fs::Access::WRITE_OK).is_ok());
        Ok(layout)
    }

    /// From the texts of `mountinfo` and `cgroup`, and the controllers of a v2 folder. A role is served by v1 where v1
    /// has its controller (v2 cannot have it then), else by v2.
    pub(crate) fn choose(mounts: &str, own: &str, controllers: impl Fn(&Path) -> String) -> Layout {
        let mut layout = Layout::default();
        let mut left = Role::ALL.to_vec();
        let mut unified = None;
        for line in mounts.lines() {
            let Some(mount) = Mount::parse(line) else { continue };
            match mount.version {
                Version::V2 => unified = unified.or(Some(mount)),
                Version::V1 => {
                    let serves = |role: &Role| mount.options.split(',').any(|option| option == role.v1());
                    let roles: Vec<Role> = left.iter().copied().filter(serves).collect();
                    if let Some(hierarchy) = mount.hierarchy(own, roles) {
                        left.retain(|role| !hierarchy.roles.contains(role));
                        layout.used.push(hierarchy);
                    }
                }
            }
        }
        if let Some(mount) = unified {
            let text = controllers(&mount.point);
            let serves =
                |role: &Role| role.v2().is_none_or(|name| text.split_whitespace().any(|has| has == name));
            let roles: Vec<Role> = left.into_iter().filter(serves).collect();
            layout.used.extend(mount.hierarchy(own, roles));
        }
        layout
    }

    /// The hierarchy that serves a role.
    pub(crate) fn serving(&self, role: Role) -> Option<&Hierarchy> {
        self.used.iter().find(|hierarchy| hierarchy.roles.contains(&role))
    }
}

/// One line of `mountinfo` that is a cgroup hierarchy.
struct Mount<'a> {
    version: Version,
    point: PathBuf,
    root: &'a str,
    /// Superblock options: on v1 they name the controllers.
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// Grammar: `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELDS…] - TYPE SOURCE SUPEROPTIONS`. Source: proc(5).
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (place, filesystem) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, point) = (place.next()?, place.next()?);
        let mut filesystem = filesystem.split(' ');
        let version = match filesystem.next()? {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        Some(Mount { version, point: PathBuf::from(point), root, options: filesystem.nth(1)? })
    }

    /// With the own cgroup looked up; `None` when it serves no role, or the own cgroup is not beneath the mount.
    fn hierarchy(&self, own: &str, roles: Vec<Role>) -> Option<Hierarchy> {
        let first = roles.first()?;
        // Grammar: `ID:CONTROLLERS:PATH`, with no controllers on v2. Source: cgroups(7).
        let path = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let ours = match self.version {
                Version::V1 => controllers.split(',').any(|name| name == first.v1()),
                Version::V2 => controllers.is_empty(),
            };
            ours.then_some(path)
        })?;
        // In a container the mount may show a part of the hierarchy only, or the path may lie outside of it.
        let relative = Path::new(path).strip_prefix(self.root).unwrap_or(Path::new(""));
        let relative = relative.strip_prefix("/").unwrap_or(relative);
        let outside = relative.starts_with("..") || relative.as_os_str().is_empty();
        let own = if outside { self.point.clone() } else { self.point.join(relative) };
        Some(Hierarchy { version: self.version, roles, mount: self.point.clone(), own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
24 1 0:22 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
25 1 0:23 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
26 1 0:24 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
27 1 0:25 / /sys/fs/cgroup/pids rw,relatime shared:3 - cgroup cgroup rw,pids
28 1 0:26 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
29 1 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
30 1 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd";

    fn roles(layout: &Layout) -> Vec<(Version, &str, Vec<Role>)> {
        layout
            .used
            .iter()
            .map(|used| (used.version, used.own.to_str().unwrap(), used.roles.clone()))
            .collect()
    }

    #[test]
    fn uses_v1_controllers_mounted_apart() {
        let own = "4:memory:/a/b\n8:pids:/\n1:cpu:/\n2:cpuacct:/\n6:freezer:/\n0::/";
        let layout = Layout::choose(V1, own, |_| "hugetlb".into());
        assert_eq!(
            roles(&layout),
            [
                (Version::V1, "/sys/fs/cgroup/cpu", vec![Role::CpuWeight]),
                (Version::V1, "/sys/fs/cgroup/cpuacct", vec![Role::CpuUse]),
                (Version::V1, "/sys/fs/cgroup/memory/a/b", vec![Role::Memory]),
                (Version::V1, "/sys/fs/cgroup/pids", vec![Role::Processes]),
                (Version::V1, "/sys/fs/cgroup/freezer", vec![Role::Freeze]),
            ]
        );
    }

    #[test]
    fn uses_v2_alone() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let layout =
            Layout::choose(mounts, "0::/system.slice/neap.service", |_| "cpuset cpu io memory pids".into());
        let own = "/sys/fs/cgroup/system.slice/neap.service";
        assert_eq!(roles(&layout), [(Version::V2, own, Role::ALL.to_vec())]);
    }

    #[test]
    fn fills_up_with_v2_on_hybrid_hosts() {
        let mounts = "\
26 1 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
24 1 0:22 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
29 1 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        let own = "3:memory:/\n2:cpu,cpuacct:/x\n0::/x";
        let layout = Layout::choose(mounts, own, |_| "pids".into());
        assert_eq!(
            roles(&layout),
            [
                (Version::V1, "/sys/fs/cgroup/memory", vec![Role::Memory]),
                (Version::V1, "/sys/fs/cgroup/cpu,cpuacct/x", vec![Role::CpuWeight, Role::CpuUse]),
                (Version::V2, "/sys/fs/cgroup/unified/x", vec![Role::Processes, Role::Freeze]),
            ]
        );
    }

    #[test]
    fn finds_the_own_cgroup_where_the_mount_shows_a_part() {
        let mounts = "26 1 0:24 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
        let layout = Layout::choose(mounts, "4:memory:/docker/abc/inner", |_| String::new());
        assert_eq!(layout.used[0].own, Path::new("/sys/fs/cgroup/memory/inner"));
        let layout = Layout::choose(mounts, "4:memory:/docker/abc", |_| String::new());
        assert_eq!(layout.used[0].own, Path::new("/sys/fs/cgroup/memory"));
    }

    #[test]
    fn misses_what_no_hierarchy_has() {
        let layout = Layout::choose("", "", |_| String::new());
        assert!(Role::ALL.iter().all(|role| layout.serving(*role).is_none()));
    }
}
