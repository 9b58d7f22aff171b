//! From a folder with source to a deployment package: settings (`neap.toml`), detection of runtime and handler,
//! dependencies, and the archive. Knows nothing of the network.

mod archive;
mod dependencies;
mod detect;
mod exclude;
mod java;
mod manifest;
mod source;
mod tools;

use crate::output::{Progress, size, span};
use base::{ByteCount, FunctionName, limits};
use base64::Engine;
use detect::Kind;
use sha2::{Digest, Sha256};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

pub(crate) use exclude::Exclusions;
pub(crate) use manifest::{MANIFEST_FILE, Manifest};
pub(crate) use tools::{HostTools, Tools};

/// A function ready to be uploaded.
pub(crate) struct Package {
    /// Function name.
    pub(crate) name: FunctionName,
    /// Runtime identifier.
    pub(crate) runtime: String,
    /// Entry point.
    pub(crate) handler: String,
    /// `x86_64` or `arm64`: the machine that dependencies were installed for.
    pub(crate) architecture: &'static str,
    /// The archive.
    pub(crate) zip: Vec<u8>,
    /// Base64 of its SHA-256, as the Lambda API's `CodeSha256`.
    pub(crate) sha256: String,
    /// All other settings.
    pub(crate) settings: Manifest,
}

/// How to make a package.
pub(crate) struct Request<'a> {
    /// Folder with the source.
    pub(crate) folder: &'a Path,
    /// Settings that come before those of `neap.toml`.
    pub(crate) overrides: &'a Manifest,
    /// Folder of installed dependencies, kept between runs.
    pub(crate) cache: &'a Path,
    /// Install dependencies even if they are cached.
    pub(crate) fresh: bool,
}

/// Makes the package of a folder, running pip, npm, cargo or go where needed. Blocks.
pub(crate) fn prepare(request: &Request, tools: &dyn Tools, progress: &Progress) -> Result<Package, Error> {
    let folder = request
        .folder
        .canonicalize()
        .map_err(|source| Error::Folder { folder: request.folder.to_owned(), source })?;
    let settings = Manifest::load(&folder)?.overridden_by(request.overrides);
    settings.check()?;
    let name = match &settings.name {
        Some(name) => name.clone(),
        None => detect::name_of(&folder)?,
    };
    let detected = detect::detect(&folder, &settings, tools)?;
    progress.done("function", &format!("{name} ({}, {})", detected.runtime, detected.handler));

    let exclusions = Exclusions::new(&settings.exclude);
    let mut dependencies = None;
    // Lives until the archive is built.
    let work;
    let go_program;
    let files = match &detected.kind {
        Kind::Cargo { binary } => {
            let program = dependencies::build_cargo(&folder, binary.as_deref(), tools, progress)?;
            vec![source::program(program)?]
        }
        Kind::Go { binary } => {
            go_program = dependencies::build_go(&folder, binary.as_deref(), request.cache, tools, progress)?;
            vec![source::program(go_program.path())?]
        }
        Kind::Ruby => {
            if let Some(warning) = dependencies::gems_missing(&folder) {
                progress.warn(warning);
            }
            source::collect(&folder, &exclusions)?
        }
        Kind::Python => {
            dependencies = dependencies::python(
                &folder,
                &detected.runtime,
                request.cache,
                request.fresh,
                tools,
                progress,
            )?;
            source::collect(&folder, &exclusions)?
        }
        Kind::Node => {
            dependencies = dependencies::node(
                &folder,
                &detected.runtime,
                request.cache,
                request.fresh,
                tools,
                progress,
            )?;
            let keep = dependencies.is_none();
            source::collect(&folder, &exclusions.with_node_modules(keep))?
        }
        Kind::Java => match java::find(&folder)? {
            Some(java::Project::Jar(jar)) => {
                dependencies = Some(jar);
                Vec::new()
            }
            Some(java::Project::Sources(sources)) => {
                work = dependencies::Work::make(request.cache)?;
                java::compile(&folder, &sources, &detected.runtime, &work, tools, progress)?
            }
            // Classes and libraries that lie there as they are to be.
            None => source::collect(&folder, &exclusions)?,
        },
        Kind::Executable => {
            source::collect(&folder, &exclusions)?.into_iter().map(source::bootstrap).collect()
        }
        Kind::Wasm | Kind::Other => source::collect(&folder, &exclusions)?,
    };
    let begun = Instant::now();
    progress.doing("package", "compressing");
    let built = archive::build(&files, dependencies.as_deref())?;
    check_size(&built)?;
    let sha256 = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&built.zip));
    progress.done(
        "package",
        &format!(
            "{} in {} {}, {}",
            size(built.zip.len() as u64),
            built.entries,
            if built.entries == 1 { "file" } else { "files" },
            span(begun.elapsed())
        ),
    );
    Ok(Package {
        name,
        runtime: detected.runtime,
        handler: detected.handler,
        architecture: tools::architecture(),
        zip: built.zip,
        sha256,
        settings,
    })
}

/// Refuses early what the service would refuse after the upload.
fn check_size(built: &archive::Built) -> Result<(), Error> {
    let zipped = ByteCount(built.zip.len() as u64);
    if zipped > limits::PACKAGE_ZIPPED_MAX {
        return Err(Error::TooLarge { what: "zipped", got: zipped, max: limits::PACKAGE_ZIPPED_MAX });
    }
    if built.unpacked > limits::PACKAGE_UNPACKED_MAX {
        return Err(Error::TooLarge {
            what: "unpacked",
            got: built.unpacked,
            max: limits::PACKAGE_UNPACKED_MAX,
        });
    }
    Ok(())
}

/// The folder cannot be made into a package.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The folder is not there or cannot be read.
    #[error("folder {folder} cannot be read: {source}")]
    Folder { folder: PathBuf, source: std::io::Error },
    /// A file cannot be read or written.
    #[error("{file}: {source}")]
    File { file: PathBuf, source: std::io::Error },
    /// `neap.toml` is malformed.
    #[error("{file}: {reason}")]
    Manifest { file: PathBuf, reason: String },
    /// A setting is outside its limits.
    #[error("{MANIFEST_FILE}: {setting} {got} is outside {min} to {max}")]
    OutOfRange { setting: &'static str, got: u32, min: u32, max: u32 },
    /// The folder's name is no function name.
    #[error("folder {folder} gives no usable function name")]
    NoName { folder: PathBuf },
    /// Nothing in the folder tells a runtime.
    #[error("no function found in {folder}")]
    NothingFound { folder: PathBuf },
    /// `runtime = "wasm"` without a program for it.
    #[error("{folder} has no bootstrap.wasm, or a native bootstrap beside it")]
    NoProgram { folder: PathBuf },
    /// More than one language is there.
    #[error("{folder} holds functions in more than one language")]
    Ambiguous { folder: PathBuf },
    /// No file with a handler.
    #[error("no handler found in {folder}: looked for {looked_for}")]
    NoHandler { folder: PathBuf, looked_for: &'static str },
    /// TypeScript only.
    #[error("{file} is TypeScript, which must be compiled to JavaScript first")]
    TypeScript { file: PathBuf },
    /// A program that is needed is not installed.
    #[error("{program} is needed to {purpose} and was not found")]
    MissingTool { program: String, purpose: &'static str },
    /// A program failed.
    #[error("{program} failed ({status}):\n{output}")]
    ToolFailed { program: String, status: String, output: String },
    /// The Cargo project builds no program, or more than one.
    #[error("the Cargo project builds {found}; one program is needed")]
    Programs { found: String },
    /// More than one jar.
    #[error("there is more than one jar: {found}")]
    Jars { found: String },
    /// A project of a build tool that has built nothing.
    #[error("{file} is there and no jar: the project is not built")]
    NotBuilt { file: PathBuf },
    /// The Go package is a library.
    #[error("the Go package in {folder} is no program: it needs `package main`")]
    GoPackage { folder: PathBuf },
    /// An entry that cannot go into a package.
    #[error("{file} cannot be packaged: {reason}")]
    Entry { file: PathBuf, reason: &'static str },
    /// Dependencies on local folders that are not installed.
    #[error("{file} depends on local folders, and node_modules is missing")]
    LocalDependencies { file: PathBuf },
    /// Over a limit of the platform.
    #[error("the package is {got} {what}, over the limit of {max}")]
    TooLarge { what: &'static str, got: ByteCount, max: ByteCount },
    /// The archive cannot be made.
    #[error("archive: {0}")]
    Archive(#[from] zip::result::ZipError),
}

impl Error {
    /// What the user can do now.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Folder { .. } => "give a folder that holds the function's source",
            Error::File { .. } | Error::Archive(_) => return None,
            Error::Manifest { .. } => {
                "settings are name, description, runtime, handler, memory, timeout, scratch, role, binary, exclude \
                 and the table [environment]"
            }
            Error::OutOfRange { .. } => "choose a value inside the limits",
            Error::NoName { .. } => "name the function with --name or `name` in neap.toml",
            Error::NothingFound { .. } => {
                "expected a Python or Ruby file with a handler, package.json or a JavaScript file, Cargo.toml, go.mod, \
                 an executable named bootstrap, or bootstrap.wasm; or name --runtime and --handler"
            }
            Error::NoProgram { .. } => {
                "build a component of wasi:http or a WASI preview 1 module to bootstrap.wasm"
            }
            Error::Ambiguous { .. } => "say which with --runtime or `runtime` in neap.toml",
            Error::NoHandler { .. } => {
                "define `handler(event, context)` (in Ruby `handler(event:, context:)`), or name it with --handler FILE.FUNCTION"
            }
            Error::TypeScript { .. } => "compile it, e.g. with esbuild or tsc, and deploy the output folder",
            Error::MissingTool { program, .. } => return Some(install_hint(program)),
            Error::ToolFailed { .. } => "correct what it reports and deploy again",
            Error::Programs { .. } => "name it with `binary` in neap.toml, or call it bootstrap",
            Error::Jars { .. } => {
                "keep the one with all classes (a \"fat\" jar), or deploy a folder that holds only it"
            }
            Error::NotBuilt { .. } => {
                "build one jar with all dependencies first, e.g. `mvn package` with the shade plugin"
            }
            Error::GoPackage { .. } => "for a program in cmd/NAME set `binary = \"NAME\"` in neap.toml",
            Error::Entry { .. } => "remove it, or leave it out with `exclude` in neap.toml",
            Error::LocalDependencies { .. } => "run `npm install` there, or bundle the function",
            Error::TooLarge { .. } => "leave out what is not needed with `exclude` in neap.toml",
        };
        Some(hint.to_owned())
    }
}

fn install_hint(program: &str) -> String {
    match program {
        "npm" | "node" => "install Node.js with npm, e.g. `apt-get install nodejs npm`".to_owned(),
        "cargo" => "install Rust".to_owned(),
        "javac" => "install a JDK, e.g. `apt-get install openjdk-17-jdk-headless`".to_owned(),
        "go" => "install Go, e.g. `apt-get install golang-go`".to_owned(),
        _ => "install Python with pip, e.g. `apt-get install python3 python3-pip`".to_owned(),
    }
}
