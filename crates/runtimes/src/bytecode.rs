//! Bytecode of Python packages, so that only the first start of a package compiles it.
//!
//! The compiler runs in a sandbox of its own, since it reads code of outside origin, and sends what it makes through its
//! standard output; the daemon writes that beside the sources. A package without bytecode works all the same: everything
//! here is best effort.

use crate::{families::Plan, host};
use base::{CodeSha256, MemoryMib};
use sandbox::{CpuWeight, Exit, Sandboxes, Spec, Template};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver};

/// Compiles every source and writes `path length: u16, path, length: u32, bytecode`, big-endian, for each. The bytecode is
/// of the kind that is not compared with its source, which cannot change.
const COMPILER: &str = r#"
import importlib._bootstrap_external as external, _imp, os, sys
out = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
root = "/var/task"
for folder, folders, files in os.walk(root):
    folders[:] = [name for name in folders if name not in ("__pycache__", "node_modules")]
    for name in files:
        path = os.path.join(folder, name)
        if not name.endswith(".py") or os.path.islink(path):
            continue
        try:
            with open(path, "rb") as file:
                source = file.read()
            code = compile(source, path, "exec", dont_inherit=True, optimize=-1)
            data = external._code_to_hash_pyc(code, _imp.source_hash(external._RAW_MAGIC_NUMBER, source), False)
            inside = os.fsencode(os.path.relpath(path, root))
        except Exception:
            continue
        out.write(len(inside).to_bytes(2, "big") + inside + len(data).to_bytes(4, "big") + bytes(data))
out.flush()
"#;

/// All bytecode of one package, at most.
const BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Time for one package.
const TIME_MAX: Duration = Duration::from_secs(180);

/// Which compiler makes bytecode, and how its files are named.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    /// Interpreter inside the runtime's root.
    pub(crate) program: String,
    /// E.g. `cpython-311`.
    pub(crate) tag: String,
}

/// The file whose presence says that the package at `folder` has bytecode.
pub(crate) fn marker(folder: &Path, compiler: &Compiler) -> PathBuf {
    folder.with_extension(format!("bytecode-{}", compiler.tag))
}

/// Compiles the package at `folder`, unless that was done.
pub(crate) async fn compile(
    sandboxes: Sandboxes,
    template: Template,
    plan: Arc<Plan>,
    folder: PathBuf,
    code: CodeSha256,
) {
    let Some(compiler) = &plan.bytecode else { return };
    let made = match tokio::time::timeout(TIME_MAX, run(&sandboxes, template, compiler, &folder)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%code, %error, "package could not be compiled");
            return;
        }
        Err(_) => {
            tracing::debug!(%code, "package was not compiled in time");
            return;
        }
    };
    let (compiler, marker) = (compiler.clone(), marker(&folder, compiler));
    let written = tokio::task::spawn_blocking(move || {
        write_all(&made, &folder, &compiler.tag)?;
        fs::write(marker, b"")
    });
    match written.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%code, %error, "bytecode could not be written"),
        Err(error) => tracing::error!(%code, %error, "bytecode could not be written"),
    }
}

/// What the compiler writes.
async fn run(
    sandboxes: &Sandboxes,
    template: Template,
    compiler: &Compiler,
    folder: &Path,
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let argv = [compiler.program.as_str(), "-I", "-S", "-c", COMPILER];
    let mut spec = Spec::new(template, argv.iter().map(Into::into).collect());
    spec.task = Some(folder.to_path_buf());
    spec.memory = MemoryMib(1_024);
    // Only what nobody else wants.
    spec.cpu_weight = CpuWeight::new(1);
    spec.env = vec![("LD_LIBRARY_PATH".into(), crate::variables::LIBRARY_PATH.into())];
    output_of(sandboxes, spec, BYTES_MAX).await
}

/// What a program of our own writes in a sandbox of its own: its standard output, of which no more than `bytes_max` is taken.
/// An error unless it succeeds.
pub(crate) async fn output_of(
    sandboxes: &Sandboxes,
    spec: Spec,
    bytes_max: u64,
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let mut sandbox = sandboxes.spawn(spec).await?;
    let stdout = sandbox.take_stdout().ok_or("it has no output")?;
    drop(sandbox.take_stderr());
    let mut bytes = Vec::new();
    let read = Receiver::from_owned_fd(stdout)?.take(bytes_max).read_to_end(&mut bytes).await;
    let exited = sandbox.exited().await;
    sandbox.kill().await;
    read?;
    if exited.exit == Exit::Code(0) { Ok(bytes) } else { Err(format!("it ended: {exited:?}").into()) }
}

/// Writes what came from inside, trusting none of it: only beside sources that exist, never over anything.
fn write_all(mut stream: &[u8], folder: &Path, tag: &str) -> io::Result<()> {
    while let Some((path, bytecode, rest)) = next(stream) {
        stream = rest;
        let Some(target) = target(folder, path, tag) else { continue };
        if let Some(cache) = target.parent() {
            match fs::DirBuilder::new().mode(0o755).create(cache) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        let new = target.with_extension("new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o644);
        match options.open(&new) {
            Ok(mut file) => {
                io::Write::write_all(&mut file, bytecode)?;
                fs::rename(new, target)?;
            }
            // The package has such a file, or somebody else is at it.
            Err(_) => continue,
        }
    }
    Ok(())
}

/// The first of what was sent: path, bytecode, the rest.
fn next(stream: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (length, rest) = stream.split_first_chunk::<2>()?;
    let (path, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (bytecode, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((path, bytecode, rest))
}

/// Where the bytecode of the source at `path` belongs, if there is such a source and no bytecode yet.
fn target(folder: &Path, path: &[u8], tag: &str) -> Option<PathBuf> {
    let path = Path::new(std::str::from_utf8(path).ok()?);
    if !path.components().all(|component| matches!(component, Component::Normal(_))) {
        return None;
    }
    // Packages contain links; all lead inward, but nothing is written through one.
    let mut real = folder.to_path_buf();
    for component in path.components() {
        real.push(component);
        if fs::symlink_metadata(&real).ok()?.is_symlink() {
            return None;
        }
    }
    let stem = path.file_name()?.to_str()?.strip_suffix(".py")?;
    let cache = real.parent()?.join("__pycache__");
    let target = cache.join(format!("{stem}.{tag}.pyc"));
    let free = fs::symlink_metadata(&target).is_err()
        && !fs::symlink_metadata(&cache).is_ok_and(|data| !data.is_dir());
    (real.is_file() && free).then_some(target)
}

/// The compiler of an interpreter.
pub(crate) fn compiler(program: &str, version: host::Version) -> Compiler {
    Compiler { program: program.to_owned(), tag: format!("cpython-{}{}", version.major, version.minor) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn entry(path: &str, bytecode: &[u8]) -> Vec<u8> {
        let mut out = (path.len() as u16).to_be_bytes().to_vec();
        out.extend(path.as_bytes());
        out.extend((bytecode.len() as u32).to_be_bytes());
        out.extend(bytecode);
        out
    }

    #[test]
    fn bytecode_is_written_beside_sources_only() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("code");
        fs::create_dir_all(folder.join("lib/other")).unwrap();
        fs::write(folder.join("lib/a.py"), "").unwrap();
        fs::write(outside.path().join("b.py"), "").unwrap();
        symlink("lib", folder.join("link")).unwrap();
        fs::create_dir(folder.join("taken")).unwrap();
        fs::write(folder.join("taken/c.py"), "").unwrap();
        symlink("../lib/other", folder.join("taken/__pycache__")).unwrap();
        let stream: Vec<u8> =
            ["lib/a.py", "link/a.py", "../b.py", "/etc/b.py", "lib/missing.py", "lib", "taken/c.py"]
                .iter()
                .flat_map(|path| entry(path, b"code"))
                .chain([0, 9, 1])
                .collect();
        write_all(&stream, &folder, "cpython-311").unwrap();
        write_all(&entry("lib/a.py", b"again"), &folder, "cpython-311").unwrap();
        assert_eq!(fs::read(folder.join("lib/__pycache__/a.cpython-311.pyc")).unwrap(), b"code");
        assert_eq!(fs::read_dir(folder.join("lib/__pycache__")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(folder.join("lib/other")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
    }
}
