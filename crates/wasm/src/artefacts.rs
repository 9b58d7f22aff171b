//! Compiled programs on disk: `CODE.ENGINE.cwasm`, machine code for exactly this engine on exactly this processor, and after it
//! its SHA-256.
//!
//! Loading machine code is trusting it. So only this module makes files in the folder, which nobody else can enter: a compiler
//! gets one, open, for the program that it compiles, and has ended before the file is sealed with its hash and named. A file is
//! there completely or not at all, and is looked at before it is loaded: its owner, its mode, its kind, its hash. Whatever is
//! wrong with one, it is compiled again.

use crate::{
    compiler::{self, Compiler},
    engine::Machine,
    program::{FILE, Form, Program},
};
use base::{CodeSha256, PackageError};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Seek, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};
use wasmtime::{Engine, Module, component::Component};

const EXTENSION: &str = "cwasm";
/// Ends names of files that are being written.
const HALF: &str = ".half";
/// Largest program. Compiling takes about half a second for each megabyte.
pub(crate) const PROGRAM_MAX: u64 = 100 * 1024 * 1024;
/// Length of the hash at a file's end.
const SEAL: u64 = 32;
/// Bits of a mode that others must not have.
const OTHERS: u32 = 0o077;

/// The folder.
pub(crate) struct Artefacts {
    folder: PathBuf,
}

impl Artefacts {
    /// Makes the folder, and removes what an earlier run left half-done or compiled of packages that are `gone`.
    pub(crate) fn open(folder: PathBuf, gone: impl Fn(&CodeSha256) -> bool) -> io::Result<Artefacts> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let code = name.split('.').next().and_then(|code| code.parse().ok());
            if name.ends_with(HALF) || code.is_some_and(|code| gone(&code)) {
                fs::remove_file(path)?;
            }
        }
        Ok(Artefacts { folder })
    }

    /// The program of an unpacked package: loaded if it was compiled before, else compiled and kept. Blocks, for seconds
    /// where the program has megabytes.
    pub(crate) fn program(
        &self,
        machine: &Machine,
        compiler: &Compiler,
        code: &CodeSha256,
        package: &Path,
    ) -> Result<Program, PackageError> {
        let refused = |reason| PackageError::BadProgram { file: FILE, reason };
        let path = self.path(&machine.engine, code);
        match load(&machine.engine, &path) {
            Ok(Some(program)) => return program.map_err(refused),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, %code, "a compiled program is of no use: it is compiled again")
            }
        }
        let input = File::open(package.join(FILE))?;
        if input.metadata()?.len() > PROGRAM_MAX {
            return Err(refused(format!("it is larger than {PROGRAM_MAX} bytes")));
        }
        let half = path.with_extension(&HALF[1..]);
        let made = self.make(compiler, input, &half, &path, code);
        if made.is_err() {
            // What is left of it would go at the next start.
            let _ = fs::remove_file(&half);
        }
        made.map_err(|error| match error {
            compiler::Error::Refused(reason) => refused(reason),
            compiler::Error::Host(error) => PackageError::Storage(error),
        })?;
        let loaded = load(&machine.engine, &path)?;
        loaded.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?.map_err(refused)
    }

    /// Whether a package's program is compiled.
    pub(crate) fn has(&self, engine: &Engine, code: &CodeSha256) -> bool {
        self.path(engine, code).is_file()
    }

    /// Removes whatever is compiled of a package.
    pub(crate) fn remove(&self, code: &CodeSha256) -> io::Result<()> {
        self.remove_but(code, Path::new(""))
    }

    fn remove_but(&self, code: &CodeSha256, kept: &Path) -> io::Result<()> {
        let prefix = format!("{code}.");
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix));
            if named && entry.path() != kept {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn path(&self, engine: &Engine, code: &CodeSha256) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.folder.join(format!("{code}.{:016x}.{EXTENSION}", hasher.finish()))
    }

    /// Makes a file that is there completely or not at all.
    fn make(
        &self,
        compiler: &Compiler,
        input: File,
        half: &Path,
        path: &Path,
        code: &CodeSha256,
    ) -> Result<(), compiler::Error> {
        let mut options = fs::OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(half)?;
        compiler.run(input, file.try_clone()?)?;
        file.rewind()?;
        let seal = hash(&mut file)?;
        file.write_all(&seal)?;
        file.sync_all()?;
        // Of other engines: an earlier version of Neap, another processor.
        self.remove_but(code, half)?;
        fs::rename(half, path)?;
        Ok(File::open(&self.folder)?.sync_all()?)
    }
}

/// The hash of what is left of a file.
fn hash(file: &mut impl Read) -> io::Result<[u8; SEAL as usize]> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finalize().into()),
            read => hasher.update(piece.get(..read).unwrap_or_default()),
        }
    }
}

/// Whether a file ends with the hash of what comes before.
fn is_sealed(file: &mut File) -> io::Result<bool> {
    let Some(length) = file.metadata()?.len().checked_sub(SEAL) else { return Ok(false) };
    let found = hash(&mut Read::take(&mut *file, length))?;
    let mut seal = [0; SEAL as usize];
    file.read_exact(&mut seal)?;
    Ok(found == seal)
}

/// Loads machine code; `None`: there is none. The inner error: the program cannot be run on any engine.
fn load(engine: &Engine, path: &Path) -> io::Result<Option<Result<Program, String>>> {
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits();
    let flags = i32::try_from(nofollow).unwrap_or(0);
    let mut file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let data = file.metadata()?;
    if !data.is_file() || data.mode() & OTHERS != 0 || data.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a file of this daemon alone"));
    }
    if !is_sealed(&mut file)? {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not what was written"));
    }
    // By its descriptor: what was looked at is what is loaded.
    let opened = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let form = match Engine::detect_precompiled_file(&opened).map_err(io::Error::other)? {
        Some(wasmtime::Precompiled::Component) => Form::Component,
        Some(wasmtime::Precompiled::Module) => Form::Module,
        None => return Err(io::Error::new(io::ErrorKind::InvalidData, "not machine code")),
    };
    match form {
        Form::Component => {
            let component = trusted_component(engine, &opened).map_err(io::Error::other)?;
            Ok(Some(Program::component(engine, &component)))
        }
        Form::Module => {
            let module = trusted_module(engine, &opened).map_err(io::Error::other)?;
            Ok(Some(Program::module(engine, &module)))
        }
    }
}

#[allow(unsafe_code)] // there is no other way to load what was compiled before
fn trusted_component(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file was made by `Artefacts::make`, by an engine with the same configuration, is this user's alone, has the
    // hash that it was sealed with, and is never changed in place: it is replaced by renaming. The engine checks version and
    // configuration.
    unsafe { Component::deserialize_file(engine, path) }
}

#[allow(unsafe_code)] // as above
fn trusted_module(engine: &Engine, path: &Path) -> wasmtime::Result<Module> {
    // SAFETY: as of `trusted_component`.
    unsafe { Module::deserialize_file(engine, path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Place {
        machine: Machine,
        folder: tempfile::TempDir,
        artefacts: Artefacts,
    }

    const CODE: CodeSha256 = CodeSha256([7; 32]);

    impl Place {
        fn new(source: &str) -> Place {
            let machine = Machine::start(4).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let artefacts = Artefacts::open(folder.path().join("wasm"), |_| false).unwrap();
            fs::write(folder.path().join(FILE), wat::parse_str(source).unwrap()).unwrap();
            Place { machine, folder, artefacts }
        }

        fn program(&self) -> Result<Program, PackageError> {
            let compiler = Compiler { command: Vec::new(), bounds: compiler::Bounds::default() };
            self.artefacts.program(&self.machine, &compiler, &CODE, self.folder.path())
        }

        fn file(&self) -> PathBuf {
            self.artefacts.path(&self.machine.engine, &CODE)
        }
    }

    #[test]
    fn what_was_compiled_is_loaded_and_what_is_wrong_with_it_is_compiled_again() {
        let place = Place::new("(module (func (export \"_start\")))");
        assert!(!place.artefacts.has(&place.machine.engine, &CODE));
        assert!(matches!(place.program().unwrap().kind, crate::program::Kind::Module(_)));
        assert!(place.artefacts.has(&place.machine.engine, &CODE));
        let mode = || fs::metadata(place.file()).unwrap().mode() & 0o777;
        let good = fs::read(place.file()).unwrap();
        assert_eq!(mode(), 0o600);
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        File::options().write(true).open(place.file()).unwrap().set_modified(long_ago).unwrap();
        place.program().unwrap();
        assert_eq!(fs::metadata(place.file()).unwrap().modified().unwrap(), long_ago, "loaded");
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        for damage in [&b"garbage"[..], &good[..good.len() / 2], b"", &flipped] {
            fs::write(place.file(), damage).unwrap();
            place.program().unwrap();
            assert_eq!(fs::read(place.file()).unwrap(), good, "compiled again");
        }
        fs::set_permissions(place.file(), fs::Permissions::from_mode(0o644)).unwrap();
        place.program().unwrap();
        assert_eq!(mode(), 0o600, "written again");
        let elsewhere = place.folder.path().join("elsewhere");
        fs::rename(place.file(), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, place.file()).unwrap();
        place.program().unwrap();
        assert!(fs::symlink_metadata(place.file()).unwrap().is_file());
        place.artefacts.remove(&CODE).unwrap();
        assert!(!place.artefacts.has(&place.machine.engine, &CODE));
    }

    #[test]
    fn what_is_of_no_use_any_more_goes_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x.half"), "").unwrap();
        fs::write(folder.path().join(format!("{CODE}.0.cwasm")), "").unwrap();
        Artefacts::open(folder.path().to_owned(), |code| *code == CODE).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn programs_that_cannot_be_run_are_refused_with_the_reason() {
        for (source, reason) in [
            ("(module)", "_start"),
            ("(module (import \"env\" \"f\" (func)) (func (export \"_start\")))", "env"),
            ("(module (memory (export \"_start\") 1))", "_start"),
            ("(component)", "wasi:http/incoming-handler"),
            ("(component (import \"a:b/c@1.0.0\" (instance)))", "wasi:http/incoming-handler"),
        ] {
            let refused = Place::new(source).program().err().expect(source).to_string();
            assert!(refused.contains("bootstrap.wasm") && refused.contains(reason), "{source}: {refused}");
        }
        let place = Place::new("(module)");
        for bytes in [&b""[..], b"\0asm\x01\0\0\0\xff", b"\0asm\x0d\0\x01\0\xff\xff"] {
            fs::write(place.folder.path().join(FILE), bytes).unwrap();
            assert!(matches!(place.program(), Err(PackageError::BadProgram { .. })), "{bytes:?}");
        }
    }
}
