//! The boot program's sources, and their compilation by a JDK.

use super::jdk::Jdk;
use crate::host::run;
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

macro_rules! sources {
    ($($path:literal)*) => {
        &[$(($path, include_str!(concat!("../../../boot/java/", $path)))),*]
    };
}

/// Path and text of the boot program's sources, among them the interfaces that handlers implement.
pub const SOURCES: &[(&str, &str)] = sources! {
    "com/amazonaws/services/lambda/runtime/Client.java"
    "com/amazonaws/services/lambda/runtime/ClientContext.java"
    "com/amazonaws/services/lambda/runtime/CognitoIdentity.java"
    "com/amazonaws/services/lambda/runtime/Context.java"
    "com/amazonaws/services/lambda/runtime/CustomPojoSerializer.java"
    "com/amazonaws/services/lambda/runtime/LambdaLogger.java"
    "com/amazonaws/services/lambda/runtime/LambdaRuntime.java"
    "com/amazonaws/services/lambda/runtime/LambdaRuntimeInternal.java"
    "com/amazonaws/services/lambda/runtime/RequestHandler.java"
    "com/amazonaws/services/lambda/runtime/RequestStreamHandler.java"
    "com/amazonaws/services/lambda/runtime/logging/LogFormat.java"
    "com/amazonaws/services/lambda/runtime/logging/LogLevel.java"
    "neap/boot/Answer.java"
    "neap/boot/Bean.java"
    "neap/boot/Cell.java"
    "neap/boot/Channel.java"
    "neap/boot/Fault.java"
    "neap/boot/Handler.java"
    "neap/boot/Invocation.java"
    "neap/boot/Json.java"
    "neap/boot/Log.java"
    "neap/boot/Log4j.java"
    "neap/boot/Main.java"
    "neap/boot/Mapping.java"
    "neap/boot/Reader.java"
    "neap/boot/Rehearsal.java"
    "neap/boot/Types.java"
    "neap/boot/Writer.java"
    "org/crac/CheckpointException.java"
    "org/crac/Context.java"
    "org/crac/Core.java"
    "org/crac/Resource.java"
    "org/crac/RestoreException.java"
};

/// The compiled boot program in its folder.
pub(super) const JAR: &str = "neap-java.jar";
/// The library beside it, for what Java cannot do by itself: `boot/native/java.rs`.
const LIBRARY: (&str, &[u8]) = ("libneap.so", include_bytes!(concat!(env!("OUT_DIR"), "/java.so")));

/// Time for the compiler: seconds on an idle machine.
const COMPILE_MAX: Duration = Duration::from_secs(120);

/// The folder with the boot program compiled by `jdk`, beneath `boot`. Blocks, the first time for seconds. Idempotent, also
/// against others that do the same.
pub(super) fn boot_program(jdk: &Jdk, boot: &Path) -> io::Result<PathBuf> {
    let folder = boot.join(format!("java-{}-{}", jdk.version, digest(jdk)));
    let jar = folder.join(JAR);
    if jar.is_file() {
        return Ok(folder);
    }
    fs::DirBuilder::new().recursive(true).mode(0o755).create(&folder)?;
    let work = folder.join(format!(".work-{}", std::process::id()));
    let outcome = compile(jdk, &work).and_then(|()| {
        let new = work.join(JAR);
        pack(&work.join("classes"), &new)?;
        let (name, content) = LIBRARY;
        fs::write(work.join(name), content)?;
        fs::rename(work.join(name), folder.join(name))?;
        fs::rename(new, &jar)
    });
    // Nobody else writes there; what stays is of no harm.
    let _ = fs::remove_dir_all(&work);
    outcome.map(|()| folder)
}

/// Changes with the sources and with the JDK.
fn digest(jdk: &Jdk) -> String {
    let mut hasher = Sha256::new();
    hasher.update(&jdk.identity);
    for (path, text) in SOURCES {
        hasher.update(path);
        hasher.update(text);
    }
    hasher.update(LIBRARY.1);
    hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn compile(jdk: &Jdk, work: &Path) -> io::Result<()> {
    let sources = work.join("sources");
    for (path, text) in SOURCES {
        let path = sources.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&sources))?;
        fs::write(path, text)?;
    }
    let mut command = Command::new(jdk.home.join("bin/java"));
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"]);
    command.args(["-m", "jdk.compiler/com.sun.tools.javac.Main"]);
    command.args(["-encoding", "UTF-8", "-nowarn", "-proc:none", "-g:source,lines"]);
    // The usual form would be assembled at run time, which the first such text pays with milliseconds.
    command.arg("-XDstringConcat=inline");
    command.arg("--add-exports=java.base/jdk.internal.access=ALL-UNNAMED");
    command.arg("-d").arg(work.join("classes"));
    command.args(SOURCES.iter().map(|(path, _)| sources.join(path)));
    run(&mut command, COMPILE_MAX).map(drop).map_err(|error| {
        io::Error::other(format!(
            "the compiler of {} did not compile the boot program: {error}",
            jdk.home.display()
        ))
    })
}

/// Packs the classes, uncompressed: they are read at every start.
fn pack(classes: &Path, jar: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    collect(classes, &mut names)?;
    names.sort();
    let mut zip = zip::ZipWriter::new(fs::File::create(jar)?);
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for path in names {
        let name = path.strip_prefix(classes).map_err(io::Error::other)?;
        zip.start_file(name.to_string_lossy(), options).map_err(io::Error::other)?;
        zip.write_all(&fs::read(&path)?)?;
    }
    zip.finish().map_err(io::Error::other)?.sync_all()
}

fn collect(folder: &Path, names: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), names)?;
        } else {
            names.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_of_the_boot_program_is_compiled() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("boot/java");
        let mut files = Vec::new();
        collect(&folder, &mut files).unwrap();
        let mut names: Vec<_> =
            files.iter().map(|file| file.strip_prefix(&folder).unwrap().to_str().unwrap()).collect();
        names.sort();
        let listed: Vec<_> = SOURCES.iter().map(|(path, _)| *path).collect();
        assert_eq!(listed, names);
    }
}
