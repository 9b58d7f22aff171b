//! The node's sandboxes: starts, templates, the end.

mod start;

pub(crate) use start::{control, failed, next_report, program};

use crate::{
    Error, Network, Sandbox, Scratch, Settings, Spec, Template, TemplateFile, TemplateSpec, Weakness, cgroup,
    egress::{self, Context},
    network::Kind,
    scratch::{ScratchSpace, Scratches},
    seccomp,
    slots::Slots,
    spawner::{self, Common, Spawner, builder::Plan, protocol},
    sys, users,
};
use cgroup::{Layout, Role, Run};
use std::{
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::Arc,
};

/// Starts sandboxes. Cheap to clone. When the last clone and the last [`Sandbox`] are dropped, or the daemon dies in
/// whatever way, the spawner ends everything that still runs.
#[derive(Clone, Debug)]
pub struct Sandboxes {
    pub(crate) node: Arc<Node>,
}

/// What all sandboxes of a node share. Fields are dropped in this order.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) slots: Slots,
    pub(crate) scratches: Scratches,
    spawner: Spawner,
    run: Run,
    /// Where sandboxes reach the internet.
    pub(crate) egress: Option<Arc<Context>>,
    /// Whether they reach the platform.
    pub(crate) platform: bool,
    uids: std::ops::Range<u32>,
    /// Whether all sandboxes have the daemon's uid.
    pub(crate) shared_uid: bool,
    live_max: usize,
}

/// Descriptors of the daemon that a running sandbox takes, with what its runtime and its caller hold open: 21 were counted
/// of a Python function that reaches the internet, on a host with cgroups of version 1.
const DESCRIPTORS_EACH: u64 = 24;
/// Descriptors that are not given to sandboxes, unless a quarter of the limit is less: of databases, idle clients and the
/// connections that functions make.
const DESCRIPTORS_KEPT: u64 = 2_000;

impl Sandboxes {
    /// Forks the spawner, sweeps what an earlier run of [`Settings::instance`] left, and begins to prepare slots.
    ///
    /// Call it first in `main`, before there are threads and much memory: the spawner is a copy of the process as it is
    /// then, and its size is paid by each start. It works later too, at that cost. Blocks for some milliseconds.
    /// Raises this process's limit of open descriptors to its hard limit.
    pub fn start(settings: Settings) -> Result<Sandboxes, Error> {
        Sandboxes::start_on(settings, &Layout::detect().map_err(Error::step("looking for cgroups"))?)
    }

    /// [`Sandboxes::start`] with these cgroups.
    fn start_on(settings: Settings, layout: &Layout) -> Result<Sandboxes, Error> {
        check(&settings)?;
        let uid = rustix::process::geteuid();
        if !uid.is_root() {
            let source = io::Error::other("`enter_user_namespace` was not called");
            return Err(Error::NoUserNamespace { uid: uid.as_raw(), source });
        }
        let common = accept(&settings, layout)?;
        let shared_uid = common.shared_uid;
        let mut settings = settings;
        settings.live_max =
            settings.live_max.min(settings.uids.len()).min(affordable(raise_descriptor_limit()));
        let swept = cgroup::sweep(layout, &settings.instance);
        if swept > 0 {
            tracing::info!(cgroups = swept, "removed what an earlier run left");
        }
        let run = Run::begin(layout, &settings.instance, settings.daemon_cpu_weight)
            .map_err(Error::step("making cgroups"))?;
        let spawner = Spawner::start(common, &run).map_err(Error::step("forking the spawner"))?;
        // Threads come after the spawner.
        let (kind, egress) = carry(&settings.network)?;
        let platform = settings.network != Network::Nothing;
        let slots = Slots::start(&settings, run.clone(), shared_uid, kind)
            .map_err(Error::step("preparing sandboxes"))?;
        let scratches = match &settings.scratch {
            Scratch::Memory => Scratches::in_memory(),
            Scratch::Disk(folder) => {
                let prepared = (2 * settings.prepared).min(settings.prepared_max.max(settings.prepared));
                Scratches::on_disk(folder.clone(), prepared)
                    .map_err(Error::step(format!("preparing {}", folder.display())))?
            }
        };
        let (uids, live_max) = (settings.uids, settings.live_max);
        let node = Node { slots, scratches, spawner, run, egress, platform, uids, shared_uid, live_max };
        Ok(Sandboxes { node: Arc::new(node) })
    }

    /// Sandboxes at once, at most: the least of [`Settings::live_max`], the uids and what the limit of open descriptors
    /// affords.
    pub fn live_max(&self) -> usize {
        self.node.live_max
    }

    /// Builds a root. Some milliseconds; done once per runtime. Needs a tokio runtime with I/O.
    pub async fn template(&self, spec: TemplateSpec) -> Result<Template, Error> {
        let mut files = self.node.generated_files();
        files.retain(|file| !spec.files.iter().any(|other| other.inside == file.inside));
        files.extend(spec.files.iter().cloned());
        absolute("bound host path", spec.binds.iter().map(|bind| bind.host.as_path()))?;
        absolute("path inside", spec.binds.iter().map(|bind| bind.inside.as_path()))?;
        absolute("link", spec.links.iter().map(|link| link.inside.as_path()))?;
        absolute("folder", spec.folders.iter().map(std::path::PathBuf::as_path))?;
        absolute("file", files.iter().map(|file| file.inside.as_path()))?;
        let raw = |path: &'_ Path| path.as_os_str().as_bytes().to_vec();
        let pairs = |pairs: Vec<(&Path, &Path)>| -> Vec<(Vec<u8>, Vec<u8>)> {
            pairs.into_iter().map(|(first, second)| (raw(first), raw(second))).collect()
        };
        let binds = pairs(spec.binds.iter().map(|bind| (&*bind.host, &*bind.inside)).collect());
        let links = pairs(spec.links.iter().map(|link| (&*link.inside, &*link.target)).collect());
        fn borrow(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<(&[u8], &[u8])> {
            pairs.iter().map(|(first, second)| (first.as_slice(), second.as_slice())).collect()
        }
        let plan = Plan {
            binds: borrow(&binds),
            links: borrow(&links),
            folders: spec.folders.iter().map(|folder| folder.as_os_str().as_bytes()).collect(),
            files: files
                .iter()
                .map(|file| (file.inside.as_os_str().as_bytes(), file.content.as_slice(), file.executable))
                .collect(),
        };
        let request = plan.encode().ok_or(Error::Path {
            what: "template",
            path: spec.name.clone().into(),
            reason: "a path contains a zero byte",
        })?;
        let namespace = self.node.build(&request, &spec, &files).await?;
        Ok(Template { shared: Arc::new(TemplateShared { name: spec.name, namespace }) })
    }

    /// Starts a program; resolves when its first instruction is about to run, with an error when it could not be executed.
    /// Needs a tokio runtime with I/O, which must outlive the sandbox. Cancel-safe: a dropped start leaves nothing.
    pub async fn spawn(&self, spec: Spec) -> Result<Sandbox, Error> {
        start::spawn(&self.node, spec).await
    }

    /// Scratch space without a sandbox, for code that the daemon runs itself. `None` where the host cannot make any on disk.
    /// Cancel-safe.
    pub async fn scratch(&self, size: base::MemoryMib) -> Option<ScratchSpace> {
        let owner = rustix::process::geteuid().as_raw();
        self.node.scratches.take(size, owner).await.map(ScratchSpace)
    }

    /// Ends every sandbox and the spawner and removes the cgroups; resolves when nothing is left.
    /// Afterwards [`Sandboxes::spawn`] fails with [`Error::SpawnerGone`].
    pub async fn shutdown(&self) {
        let node = Arc::clone(&self.node);
        let ended = tokio::task::spawn_blocking(move || node.end()).await;
        if ended.is_err() {
            tracing::error!("ending the sandboxes panicked");
        }
    }
}

impl Node {
    /// Blocks until nothing is left.
    fn end(&self) {
        self.slots.stop();
        self.spawner.close();
        let _ = sys::wait_for(self.spawner.keeper());
        self.scratches.stop();
        self.run.remove();
    }

    /// Sends a request to the worker. Cancel-safe: it is sent or it is not.
    pub(crate) async fn request(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Error> {
        if bytes.len() > protocol::REQUEST_MAX {
            return Err(Error::TooLong { got: bytes.len(), max: protocol::REQUEST_MAX });
        }
        loop {
            match protocol::send(self.spawner.socket().as_fd(), bytes, descriptors) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::BrokenPipe
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::NotConnected
                    ) =>
                {
                    return Err(Error::SpawnerGone);
                }
                Err(error) => return Err(Error::step("sending the request")(error)),
            }
        }
    }

    /// Waits, on a thread for blocking work, until the worker has taken requests that were sent before.
    async fn writable(&self) -> Result<(), Error> {
        let socket =
            self.spawner.socket().try_clone().map_err(Error::step("duplicating the spawner's socket"))?;
        let waited = tokio::task::spawn_blocking(move || {
            use rustix::event::{PollFd, PollFlags};
            let mut polled = [PollFd::new(&socket, PollFlags::OUT)];
            let _ = rustix::event::poll(&mut polled, None);
        });
        waited.await.map_err(|_| Error::SpawnerGone)
    }

    async fn build(
        &self,
        request: &[u8],
        spec: &TemplateSpec,
        files: &[TemplateFile],
    ) -> Result<OwnedFd, Error> {
        use protocol::Step;
        let (ours, theirs) = start::control().map_err(Error::step("making a socket"))?;
        self.request(request, &[theirs.as_fd()]).await?;
        drop(theirs);
        match start::next_report(&ours).await? {
            Some((protocol::Report::Built, Some(namespace))) => Ok(namespace),
            Some((protocol::Report::Failed { step, errno, index }, _)) => {
                let index = index as usize;
                let about = match step {
                    Step::BuildBind => spec.binds.get(index).map(|bind| bind.host.as_path()),
                    Step::BuildLink => spec.links.get(index).map(|link| link.inside.as_path()),
                    Step::BuildFolder => spec.folders.get(index).map(std::path::PathBuf::as_path),
                    Step::BuildFile => files.get(index).map(|file| file.inside.as_path()),
                    _ => None,
                };
                Err(start::failed(step, errno, about))
            }
            Some(_) | None => Err(Error::SpawnerGone),
        }
    }

    /// `/etc` of every root.
    fn generated_files(&self) -> Vec<TemplateFile> {
        let file = |inside: &str, content: String| TemplateFile {
            inside: inside.into(),
            content: content.into_bytes(),
            executable: false,
        };
        let mut passwd = "root:x:0:0:root:/root:/sbin/nologin\n".to_owned();
        let mut group = "root:x:0:\n".to_owned();
        for (index, uid) in self.uids.clone().take(self.live_max.min(NAMED_MAX)).enumerate() {
            passwd.push_str(&format!("sbx_user{index}:x:{uid}:{uid}::/tmp:/sbin/nologin\n"));
            group.push_str(&format!("sbx_user{index}:x:{uid}:\n"));
        }
        vec![
            file("/etc/passwd", passwd),
            file("/etc/group", group),
            file(
                "/etc/hosts",
                "127.0.0.1 localhost sandbox.localdomain sandbox.local sandbox\n::1 localhost\n".into(),
            ),
            file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".into()),
            file(
                "/etc/resolv.conf",
                match &self.egress {
                    Some(_) => format!("nameserver {}\n", egress::NAMESERVER),
                    None => "# no name service inside\n".into(),
                },
            ),
        ]
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

/// Users with a name in `/etc/passwd`; slots beyond it, in use only while as many sandboxes are live, have none.
const NAMED_MAX: usize = 1_000;

/// What clones of a [`Template`] share.
#[derive(Debug)]
pub(crate) struct TemplateShared {
    pub(crate) name: String,
    /// Its mount namespace, which lives as long as this.
    pub(crate) namespace: OwnedFd,
}

/// Refuses relative paths.
pub(crate) fn absolute<'a>(
    what: &'static str,
    mut paths: impl Iterator<Item = &'a Path>,
) -> Result<(), Error> {
    match paths.find(|path| !path.is_absolute()) {
        Some(path) => Err(Error::Path { what, path: path.to_owned(), reason: "is not absolute" }),
        None => Ok(()),
    }
}

fn check(settings: &Settings) -> Result<(), Error> {
    let wrong = |name, reason| Err(Error::Setting { name, reason });
    let instance = &settings.instance;
    let good = (1..=32).contains(&instance.len())
        && instance.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !good {
        return wrong("instance", format!("{instance:?} is not 1 to 32 of a-z and 0-9"));
    }
    if settings.uids.is_empty() || settings.uids.start == 0 {
        return wrong("uids", format!("{:?} is empty or contains root", settings.uids));
    }
    if settings.live_max == 0 {
        return wrong("live_max", "0 is below 1".into());
    }
    Ok(())
}

/// What the host gives, if that and what the settings accept is enough.
fn accept(settings: &Settings, layout: &Layout) -> Result<Common, Error> {
    let missing = |missing: Weakness, reason: &str| {
        if settings.allow_weaker.contains(&missing) {
            tracing::warn!(weakness = missing.name(), reason, "running with weaker isolation, as configured");
            Ok(())
        } else {
            Err(Error::Weaker { missing, reason: reason.to_owned() })
        }
    };
    let shared_uid = users::are_missing(&settings.uids);
    if shared_uid {
        missing(Weakness::NoOwnUid, "the daemon is not root, or in a user namespace without these uids")?;
    }
    for (role, weakness, reason) in [
        (
            Role::Memory,
            Weakness::NoMemoryLimit,
            "no cgroup hierarchy that may be written has the memory controller",
        ),
        (
            Role::Processes,
            Weakness::NoProcessLimit,
            "no cgroup hierarchy that may be written has the pids controller",
        ),
        (
            Role::CpuWeight,
            Weakness::NoCpuWeight,
            "no cgroup hierarchy that may be written has the cpu controller",
        ),
        (
            Role::Freeze,
            Weakness::NoFreezer,
            "there is neither a v1 freezer nor a v2 hierarchy that may be written",
        ),
    ] {
        if layout.serving(role).is_none() {
            missing(weakness, reason)?;
        }
    }
    let filtering = seccomp::available();
    if !filtering {
        missing(Weakness::NoSeccomp, "the kernel has no seccomp filters, or not for this processor")?;
    }
    let landlock = sys::landlock_abi() > 0;
    if !landlock {
        missing(Weakness::NoLandlock, "the kernel has no Landlock, or it is not enabled at boot")?;
    }
    Ok(Common {
        filter: filtering.then(seccomp::compile),
        landlock,
        last_capability: sys::last_capability(),
        masked: spawner::masked(),
        shared_uid,
    })
}

/// What every namespace gets; an error when this host cannot give it.
fn carry(network: &Network) -> Result<(Kind, Option<Arc<Context>>), Error> {
    let ranges = match network {
        Network::Internet(ranges) => ranges.clone(),
        Network::PlatformOnly => return Ok((Kind::PlatformOnly, None)),
        Network::Nothing => return Ok((Kind::Nothing, None)),
    };
    let tried = std::thread::scope(|scope| scope.spawn(|| egress::probe(&ranges)).join());
    let plan = tried
        .unwrap_or_else(|_| Err(io::Error::other("trying it panicked")))
        .map_err(|source| Error::NoEgress { source })?;
    let context = Context::start(ranges, plan).map_err(Error::step("preparing the way to the internet"))?;
    Ok((Kind::Internet(Arc::clone(&context)), Some(context)))
}

/// Sandboxes that so many open descriptors are enough for.
fn affordable(descriptors: u64) -> usize {
    let kept = DESCRIPTORS_KEPT.min(descriptors / 4);
    usize::try_from((descriptors - kept) / DESCRIPTORS_EACH).unwrap_or(usize::MAX).max(1)
}

/// Raises the limit to the hard one; what it is then.
fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open descriptors could not be raised");
        return limit.current.unwrap_or(u64::MAX);
    }
    limit.maximum.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attachment, Exit, TemplateLink};

    /// This host's hierarchies of one version only.
    fn layout(kind: &str) -> Layout {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let lines: Vec<&str> = mounts.lines().filter(|line| line.contains(&format!(" - {kind} "))).collect();
        Layout::choose(&lines.join("\n"), &own, |_| String::new())
    }

    async fn lives(layout: Layout, instance: &str) {
        let first = 1_000_000 + std::process::id() * 256;
        let settings = Settings {
            uids: first..first + 256,
            prepared: 1,
            prepared_max: 1,
            daemon_cpu_weight: None,
            allow_weaker: vec![Weakness::NoMemoryLimit, Weakness::NoProcessLimit, Weakness::NoCpuWeight],
            ..Settings::new(format!("{instance}{}", std::process::id()))
        };
        let node = Sandboxes::start_on(settings, &layout).unwrap();
        let plan = TemplateSpec {
            name: "test".into(),
            binds: vec![Attachment::same("/usr")],
            links: ["bin", "lib", "lib64"]
                .map(|name| TemplateLink {
                    inside: format!("/{name}").into(),
                    target: format!("usr/{name}").into(),
                })
                .to_vec(),
            ..TemplateSpec::default()
        };
        let template = node.template(plan).await.unwrap();
        for _ in 0..3 {
            let argv = ["/bin/sh", "-c", "while :; do :; done"].map(Into::into).to_vec();
            let sandbox = node.spawn(Spec::new(template.clone(), argv)).await.unwrap();
            while sandbox.cpu_used().unwrap().0 == 0 {
                tokio::task::yield_now().await;
            }
            sandbox.freeze().unwrap();
            sandbox.thaw().unwrap();
            sandbox.freeze().unwrap();
            sandbox.kill().await;
            assert_eq!(sandbox.exited().await.exit, Exit::Signal(9));
        }
        node.shutdown().await;
    }

    #[tokio::test]
    async fn works_where_only_cgroup_v2_is() {
        let layout = layout("cgroup2");
        if !rustix::process::geteuid().is_root() || layout.serving(Role::Freeze).is_none() {
            eprintln!("SKIPPED: needs root and a cgroup v2 hierarchy");
            return;
        }
        lives(layout, "vtwo").await;
    }

    #[tokio::test]
    async fn works_where_only_cgroup_v1_is() {
        let layout = layout("cgroup");
        if !rustix::process::geteuid().is_root() || layout.serving(Role::Freeze).is_none() {
            eprintln!("SKIPPED: needs root and a cgroup v1 freezer");
            return;
        }
        lives(layout, "vone").await;
    }

    #[tokio::test]
    async fn refuses_weaker_isolation_that_is_not_named() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
        let refused = Sandboxes::start_on(Settings::new("weak"), &Layout::default()).unwrap_err();
        assert!(matches!(refused, Error::Weaker { missing: Weakness::NoMemoryLimit, .. }), "{refused}");
        assert!(refused.to_string().contains("a memory limit"), "{refused}");
    }
}
