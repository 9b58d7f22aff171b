//! How a Java virtual machine is started: arguments in proportion to memory, and an archive of loaded classes that shortens
//! starts.
//!
//! The archive is made in a sandbox, since it is valid only for the paths that functions see, by a run of the boot program
//! that uses what functions use. Starts go without it until it is there, and where it cannot be made.

use crate::{bytecode::output_of, families::Plan};
use base::MemoryMib;
use sandbox::{CpuWeight, Sandboxes, Spec, Template};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// File of the archive in the boot program's folder.
pub(crate) const ARCHIVE: &str = "neap-java.jsa";
/// The same inside.
const INSIDE: &str = "/var/runtime/neap-java.jsa";
/// A usual archive has about one MB.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
const TIME_MAX: Duration = Duration::from_secs(60);
/// What a machine needs besides its heap for the smallest function: code, classes, threads.
const BESIDE_HEAP_MIB: u32 = 48;
/// Variables by which users give arguments.
const USERS: [&str; 2] = ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"];

/// What the machines of one runtime are started with.
#[derive(Clone, Debug)]
pub(crate) struct Jvm {
    /// Inside.
    pub(crate) program: PathBuf,
    /// The archive on the host; it may not be there.
    pub(crate) archive: PathBuf,
    /// Trusted authorities inside, where they are not in their usual place.
    pub(crate) trust_store: Option<&'static str>,
}

impl Jvm {
    /// Arguments for a function of that size. What the user's own arguments decide is left to them: the machine reads those
    /// first, so that ours would win.
    pub(crate) fn arguments(&self, memory: MemoryMib, variables: &BTreeMap<String, String>) -> Vec<OsString> {
        let users: Vec<&str> = USERS
            .iter()
            .filter_map(|name| variables.get(*name))
            .flat_map(|value| value.split_ascii_whitespace())
            .collect();
        self.choose(memory, &users, self.archive.exists())
    }

    fn choose(&self, memory: MemoryMib, users: &[&str], is_archived: bool) -> Vec<OsString> {
        let silent =
            |patterns: &[&str]| !users.iter().any(|user| patterns.iter().any(|one| user.contains(one)));
        let mut chosen: Vec<OsString> = Vec::new();
        if silent(&["-Xmx", "MaxHeapSize", "MaxRAM"]) {
            chosen.push(format!("-Xmx{}m", heap_mib(memory)).into());
        }
        if !users.iter().any(|user| user.starts_with("-XX:+Use") && user.ends_with("GC")) {
            chosen.push("-XX:+UseSerialGC".into());
        }
        // Lambda's own choice from Java 17 on: the better compiler pays off after minutes only.
        if silent(&["TieredStopAtLevel", "TieredCompilation", "CompilationMode", "-Xint", "-Xcomp"]) {
            chosen.push("-XX:TieredStopAtLevel=1".into());
        }
        // Nobody can look at them from outside.
        if silent(&["UsePerfData"]) {
            chosen.push("-XX:-UsePerfData".into());
        }
        if silent(&["-Duser.country", "-Duser.language", "-Duser.region"]) {
            chosen.extend(["-Duser.language=en".into(), "-Duser.country=US".into()]);
        }
        if let Some(store) = self.trust_store.filter(|_| silent(&["javax.net.ssl.trustStore"])) {
            chosen.push(format!("-Djavax.net.ssl.trustStore={store}").into());
        }
        if is_archived && silent(&["SharedArchiveFile", "-Xshare", "-XX:AOT", "ArchiveClassesAtExit"]) {
            chosen.push(format!("-XX:SharedArchiveFile={INSIDE}").into());
        }
        chosen
    }
}

/// Most of the memory. Beyond it the machine would be killed instead of telling the function that its heap is full.
fn heap_mib(memory: MemoryMib) -> u32 {
    let beside = (memory.0 / 100 * 15).max(BESIDE_HEAP_MIB);
    memory.0.saturating_sub(beside).max(16)
}

/// Makes the archive unless it is there. Best effort.
pub(crate) async fn make_archive(sandboxes: Sandboxes, template: Template, plan: Arc<Plan>) {
    let Some(jvm) = &plan.jvm else { return };
    if jvm.archive.exists() {
        return;
    }
    let made = match tokio::time::timeout(TIME_MAX, run(&sandboxes, template, &plan, jvm)).await {
        Ok(Ok(made)) => made,
        Ok(Err(error)) => {
            tracing::warn!(%error, version = plan.version, "classes could not be archived; starts take longer");
            return;
        }
        Err(_) => {
            tracing::warn!(version = plan.version, "classes were not archived in time; starts take longer");
            return;
        }
    };
    let archive = jvm.archive.clone();
    let written = tokio::task::spawn_blocking(move || write(&archive, &made));
    match written.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "archive of classes could not be written"),
        Err(error) => tracing::error!(%error, "archive of classes could not be written"),
    }
}

/// The archive, as a machine inside makes it.
async fn run(
    sandboxes: &Sandboxes,
    template: Template,
    plan: &Plan,
    jvm: &Jvm,
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let memory = MemoryMib(512);
    // The machine writes the file when it ends: somebody else has to hand it out.
    let script = "\"$@\" >/dev/null 2>&1 && exec cat /tmp/archive";
    let mut argv: Vec<OsString> = ["/bin/sh", "-c", script, "sh"].map(OsString::from).to_vec();
    argv.push(jvm.program.clone().into());
    argv.extend(jvm.choose(memory, &[], false));
    argv.push("-XX:ArchiveClassesAtExit=/tmp/archive".into());
    argv.extend(plan.argv.iter().skip(1).cloned());
    argv.push("rehearse".into());
    let mut spec = Spec::new(template, argv);
    spec.memory = memory;
    spec.processes = base::limits::PROCESSES_MAX;
    spec.cpu_weight = CpuWeight::new(1);
    spec.env = [("LAMBDA_TASK_ROOT", sandbox::TASK), ("PATH", crate::variables::PATH)]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec();
    spec.env.extend(plan.variables.iter().map(|(name, value)| ((*name).into(), value.into())));
    let bytes = output_of(sandboxes, spec, BYTES_MAX).await?;
    if bytes.is_empty() { Err("it made none".into()) } else { Ok(bytes) }
}

fn write(archive: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = archive.with_extension(format!("{}.new", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(&new)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    fs::rename(new, archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(memory: u32, users: &[&str]) -> Vec<String> {
        let jvm = Jvm { program: "/java".into(), archive: "/none".into(), trust_store: Some("/cacerts") };
        let all = jvm.choose(MemoryMib(memory), users, true);
        all.into_iter().map(|one| one.into_string().unwrap()).collect()
    }

    #[test]
    fn the_heap_leaves_room_for_the_machine_itself() {
        for (memory, heap) in [(128, 80), (256, 208), (512, 437), (1024, 874), (10_240, 8_710)] {
            assert_eq!(heap_mib(MemoryMib(memory)), heap);
        }
    }

    #[test]
    fn what_the_user_decides_is_left_to_the_user() {
        let all = chosen(512, &[]);
        assert!(all.contains(&"-Xmx437m".to_owned()) && all.contains(&"-XX:+UseSerialGC".to_owned()));
        assert_eq!(all.last().unwrap(), "-XX:SharedArchiveFile=/var/runtime/neap-java.jsa");
        for (user, gone) in [
            ("-Xmx64m", "-Xmx437m"),
            ("-XX:MaxRAMPercentage=50", "-Xmx437m"),
            ("-XX:+UseParallelGC", "-XX:+UseSerialGC"),
            ("-XX:TieredStopAtLevel=4", "-XX:TieredStopAtLevel=1"),
            ("-Xshare:off", "-XX:SharedArchiveFile=/var/runtime/neap-java.jsa"),
            ("-XX:AOTCache=/var/task/a.aot", "-XX:SharedArchiveFile=/var/runtime/neap-java.jsa"),
            ("-Djavax.net.ssl.trustStore=/var/task/mine", "-Djavax.net.ssl.trustStore=/cacerts"),
            ("-Duser.country=DE", "-Duser.country=US"),
        ] {
            assert!(all.contains(&gone.to_owned()), "{gone}");
            assert!(!chosen(512, &[user]).contains(&gone.to_owned()), "{user}");
        }
    }
}
