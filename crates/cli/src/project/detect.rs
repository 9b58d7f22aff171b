//! Finds out what a folder holds: language, runtime and handler.

use super::{Error, Manifest, Tools, java, tools::language_version};
use base::FunctionName;
use std::path::Path;

/// How a package is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Python source; requirements.txt is installed.
    Python,
    /// JavaScript; the dependencies of package.json are installed.
    Node,
    /// A Cargo project, built for release.
    Cargo {
        /// Which program, when the settings name one.
        binary: Option<String>,
    },
    /// A Java project: a jar, or sources that are compiled.
    Java,
    /// Ruby source, with the gems of `vendor/bundle`.
    Ruby,
    /// A Go module, built for Linux.
    Go {
        /// Which program, when the settings name one: a folder beneath `cmd`.
        binary: Option<String>,
    },
    /// A folder with an executable `bootstrap`.
    Executable,
    /// A folder with `bootstrap.wasm`.
    Wasm,
    /// Any other runtime: the folder as it is.
    Other,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Detected {
    /// How a package is made.
    pub(crate) kind: Kind,
    /// Runtime identifier.
    pub(crate) runtime: String,
    /// Entry point.
    pub(crate) handler: String,
}

/// Python files tried in turn.
const PYTHON_FILES: [&str; 6] =
    ["app.py", "main.py", "lambda_function.py", "handler.py", "index.py", "function.py"];
/// JavaScript files tried in turn, after `main` of package.json.
const NODE_FILES: [&str; 15] = [
    "index.mjs",
    "index.js",
    "index.cjs",
    "app.mjs",
    "app.js",
    "app.cjs",
    "handler.mjs",
    "handler.js",
    "main.mjs",
    "main.js",
    "src/index.mjs",
    "src/index.js",
    "src/app.js",
    "dist/index.mjs",
    "dist/index.js",
];
/// Ruby files tried in turn.
const RUBY_FILES: [&str; 6] =
    ["app.rb", "main.rb", "lambda_function.rb", "handler.rb", "index.rb", "function.rb"];
/// Function names tried in turn.
const FUNCTIONS: [&str; 3] = ["handler", "lambda_handler", "main"];
/// Python versions that have a Lambda runtime.
const PYTHONS: std::ops::RangeInclusive<u32> = 9..=14;
/// Major versions of Node.js that have a Lambda runtime.
const NODES: [u32; 4] = [18, 20, 22, 24];
/// Ruby versions with a runtime; the first is Neap's own.
const RUBIES: [(u32, u32); 5] = [(3, 1), (3, 2), (3, 3), (3, 4), (4, 0)];
/// Runtime of executables.
const PROVIDED: &str = "provided.al2023";
/// Short for that runtime with a WebAssembly program.
const WASM: &str = "wasm";
/// The program then.
const WASM_FILE: &str = "bootstrap.wasm";

/// The function name that a folder's own name gives: characters outside the grammar become hyphens.
pub(crate) fn name_of(folder: &Path) -> Result<FunctionName, Error> {
    let own = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name: String =
        own.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).take(64).collect();
    name.trim_matches('-').parse().map_err(|_| Error::NoName { folder: folder.to_owned() })
}

/// Finds kind, runtime and handler of `folder`; what `settings` name is taken as it is.
pub(crate) fn detect(folder: &Path, settings: &Manifest, tools: &dyn Tools) -> Result<Detected, Error> {
    let kind = kind(folder, settings)?;
    let runtime = match (&settings.runtime, &kind) {
        (_, Kind::Wasm) => PROVIDED.to_owned(),
        (Some(runtime), _) => runtime.clone(),
        (None, Kind::Python) => python_runtime(folder, tools),
        (None, Kind::Node) => node_runtime(tools),
        (None, Kind::Java) => java::runtime(folder, tools),
        (None, Kind::Ruby) => ruby_runtime(folder, tools),
        (None, Kind::Cargo { .. } | Kind::Go { .. } | Kind::Executable) => PROVIDED.to_owned(),
        (None, Kind::Other) => return Err(Error::NothingFound { folder: folder.to_owned() }),
    };
    let handler = match (&settings.handler, &kind) {
        (Some(handler), _) => handler.clone(),
        (None, Kind::Python) => python_handler(folder)?,
        (None, Kind::Node) => node_handler(folder)?,
        (None, Kind::Java) => java_handler(folder)?,
        (None, Kind::Ruby) => ruby_handler(folder)?,
        (None, Kind::Cargo { .. } | Kind::Go { .. } | Kind::Executable | Kind::Wasm) => {
            "bootstrap".to_owned()
        }
        (None, Kind::Other) => {
            return Err(Error::NoHandler {
                folder: folder.to_owned(),
                looked_for: "--handler, or `handler` in neap.toml",
            });
        }
    };
    Ok(Detected { kind, runtime, handler })
}

fn kind(folder: &Path, settings: &Manifest) -> Result<Kind, Error> {
    let has = |name: &str| folder.join(name).is_file();
    let cargo = || Kind::Cargo { binary: settings.binary.clone() };
    let go = || Kind::Go { binary: settings.binary.clone() };
    match settings.runtime.as_deref() {
        Some(WASM) if has(WASM_FILE) && !has("bootstrap") => return Ok(Kind::Wasm),
        Some(WASM) => return Err(Error::NoProgram { folder: folder.to_owned() }),
        Some(runtime) if runtime.starts_with("python") => return Ok(Kind::Python),
        Some(runtime) if runtime.starts_with("nodejs") => return Ok(Kind::Node),
        Some(runtime) if runtime.starts_with("ruby") => return Ok(Kind::Ruby),
        Some(runtime) if runtime.starts_with("provided") && has("Cargo.toml") => return Ok(cargo()),
        Some(runtime) if runtime.starts_with("provided") && has("go.mod") => return Ok(go()),
        Some(runtime) if runtime.starts_with("provided") => return Ok(Kind::Executable),
        Some(runtime) if runtime.starts_with("java") => return Ok(Kind::Java),
        Some(_) => return Ok(Kind::Other),
        None => {}
    }
    if has("bootstrap") {
        return Ok(Kind::Executable);
    }
    if has(WASM_FILE) {
        return Ok(Kind::Wasm);
    }
    if has("Cargo.toml") {
        return Ok(cargo());
    }
    if has("go.mod") {
        return Ok(go());
    }
    let python = has("requirements.txt") || python_handler(folder).is_ok();
    let node = node_handler(folder).is_ok();
    let ruby = ruby_handler(folder).is_ok();
    match (python, node, ruby) {
        (true, false, false) => Ok(Kind::Python),
        (false, true, false) => Ok(Kind::Node),
        (false, false, true) => Ok(Kind::Ruby),
        (false, false, false) if has("package.json") => Ok(Kind::Node),
        (false, false, false) if java::find(folder)?.is_some() => Ok(Kind::Java),
        (false, false, false) => match typescript(folder) {
            Some(error) => Err(error),
            None if !top_files(folder, ".py").is_empty() => Ok(Kind::Python),
            None if !top_files(folder, ".rb").is_empty() => Ok(Kind::Ruby),
            None => Err(Error::NothingFound { folder: folder.to_owned() }),
        },
        _ => Err(Error::Ambiguous { folder: folder.to_owned() }),
    }
}

/// `.python-version` of the folder, else the version of `python3`, else 3.12.
fn python_runtime(folder: &Path, tools: &dyn Tools) -> String {
    let asked = std::fs::read_to_string(folder.join(".python-version"))
        .ok()
        .and_then(|text| language_version(text.trim()));
    let minor = match asked.or_else(|| tools.python("python3").map(|python| python.version)) {
        Some((3, minor)) => minor.clamp(*PYTHONS.start(), *PYTHONS.end()),
        Some(_) | None => 12,
    };
    format!("python3.{minor}")
}

/// The newest runtime that is not newer than `node`, else Node.js 22.
fn node_runtime(tools: &dyn Tools) -> String {
    let major = match tools.node_version() {
        Some(installed) => NODES.into_iter().rfind(|major| *major <= installed).unwrap_or(NODES[0]),
        None => 22,
    };
    format!("nodejs{major}.x")
}

/// The version that `.ruby-version` names, else this machine's Ruby, within the versions that exist.
fn ruby_runtime(folder: &Path, tools: &dyn Tools) -> String {
    let asked = std::fs::read_to_string(folder.join(".ruby-version"))
        .ok()
        .and_then(|text| language_version(text.trim().trim_start_matches("ruby-")));
    let (major, minor) = match asked.or_else(|| tools.ruby_version()) {
        Some(version) => RUBIES.into_iter().rfind(|one| *one <= version).unwrap_or(RUBIES[0]),
        None => (3, 3),
    };
    format!("ruby{major}.{minor}")
}

fn ruby_handler(folder: &Path) -> Result<String, Error> {
    let files = RUBY_FILES.iter().map(|name| (*name).to_owned()).chain(top_files(folder, ".rb"));
    for file in files {
        let Ok(text) = std::fs::read_to_string(folder.join(&file)) else { continue };
        if let Some(function) = ruby_function(&text) {
            return Ok(format!("{}.{function}", file.trim_end_matches(".rb")));
        }
    }
    Err(Error::NoHandler {
        folder: folder.to_owned(),
        looked_for: "a method `handler` or `lambda_handler` at the top level of app.rb, main.rb, lambda_function.rb, \
                     handler.rb and the other Ruby files",
    })
}

/// The handler that a Ruby file defines at its top level.
fn ruby_function(text: &str) -> Option<&'static str> {
    let defines = |line: &str, name: &str| {
        let rest = line.strip_prefix("def ").map(str::trim_start).and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['(', ' ']))
    };
    FUNCTIONS.into_iter().take(2).find(|name| text.lines().any(|line| defines(line, name)))
}

fn python_handler(folder: &Path) -> Result<String, Error> {
    let files = PYTHON_FILES.iter().map(|name| (*name).to_owned()).chain(top_files(folder, ".py"));
    for file in files {
        let Ok(text) = std::fs::read_to_string(folder.join(&file)) else { continue };
        if let Some(function) = python_function(&text) {
            return Ok(format!("{}.{function}", file.trim_end_matches(".py")));
        }
    }
    Err(Error::NoHandler {
        folder: folder.to_owned(),
        looked_for: "a function `handler` or `lambda_handler` in app.py, main.py, lambda_function.py, handler.py \
                     and the other Python files",
    })
}

/// The handler that a Python file defines at its top level, by `def` or by assignment.
fn python_function(text: &str) -> Option<&'static str> {
    let defines = |line: &str, name: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let rest = line.strip_prefix("def ").unwrap_or(line).strip_prefix(name);
        rest.map(str::trim_start).is_some_and(|rest| {
            if line.starts_with("def ") {
                rest.starts_with('(')
            } else {
                rest.starts_with('=') && !rest.starts_with("==")
            }
        })
    };
    // `main` alone is too common a name to be a handler unless it takes two arguments.
    let two_arguments = |line: &str| line.contains(',');
    FUNCTIONS
        .into_iter()
        .find(|name| text.lines().any(|line| defines(line, name) && (*name != "main" || two_arguments(line))))
}

fn java_handler(folder: &Path) -> Result<String, Error> {
    let found = java::find(folder)?.and_then(|project| java::handler(&project));
    found.ok_or(Error::NoHandler {
        folder: folder.to_owned(),
        looked_for: "the only public class in the sources that implements RequestHandler or RequestStreamHandler",
    })
}

fn node_handler(folder: &Path) -> Result<String, Error> {
    let main = package_json(folder).and_then(|package| package.get("main")?.as_str().map(str::to_owned));
    let main = main.map(|main| {
        let main = main.trim_start_matches("./").to_owned();
        if Path::new(&main).extension().is_some() { main } else { format!("{main}.js") }
    });
    for file in main.into_iter().chain(NODE_FILES.iter().map(|name| (*name).to_owned())) {
        let Ok(text) = std::fs::read_to_string(folder.join(&file)) else { continue };
        if let Some(function) = node_function(&text) {
            let module = file.rsplit_once('.').map_or(file.as_str(), |(module, _)| module);
            return Ok(format!("{module}.{function}"));
        }
    }
    Err(typescript(folder).unwrap_or(Error::NoHandler {
        folder: folder.to_owned(),
        looked_for: "an exported `handler` in `main` of package.json, index.mjs, index.js, app.js, handler.js and \
                     src/index.js",
    }))
}

/// The handler that a JavaScript file exports, in module or CommonJS form.
fn node_function(text: &str) -> Option<&'static str> {
    let exports = |line: &str, name: &str| {
        let line = line.trim_start();
        let exported = line.starts_with("export ") && !line.starts_with("export default");
        (exported || line.starts_with("module.exports") || line.starts_with("exports."))
            && has_word(line, name)
    };
    // An export list may span lines: `module.exports = {` or `export {` up to the closing brace.
    let lists = |name: &str| {
        ["module.exports = {", "export {"].iter().any(|opening| {
            text.split(opening).skip(1).any(|rest| has_word(rest.split('}').next().unwrap_or_default(), name))
        })
    };
    FUNCTIONS.into_iter().take(2).find(|name| text.lines().any(|line| exports(line, name)) || lists(name))
}

/// Whether `name` stands in `text` as a word of its own.
fn has_word(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$').any(|word| word == name)
}

fn typescript(folder: &Path) -> Option<Error> {
    ["index.ts", "app.ts", "handler.ts", "main.ts", "src/index.ts", "src/app.ts"]
        .iter()
        .map(|name| folder.join(name))
        .find(|file| file.is_file())
        .map(|file| Error::TypeScript { file })
}

/// The parsed package.json of a folder.
pub(crate) fn package_json(folder: &Path) -> Option<serde_json::Value> {
    serde_json::from_str(&std::fs::read_to_string(folder.join("package.json")).ok()?).ok()
}

/// Names of the files with `ending` directly in `folder`, sorted.
fn top_files(folder: &Path, ending: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(ending))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::super::tools::{Interpreter, PythonVersion, Run};
    use super::*;

    struct Fake {
        python: Option<PythonVersion>,
        node: Option<u32>,
        ruby: Option<(u32, u32)>,
    }

    impl Tools for Fake {
        fn python(&self, command: &str) -> Option<Interpreter> {
            Some(Interpreter { program: command.to_owned(), version: self.python? })
        }
        fn node_version(&self) -> Option<u32> {
            self.node
        }
        fn ruby_version(&self) -> Option<(u32, u32)> {
            self.ruby
        }
        fn run(&self, _: &Run) -> Result<Vec<u8>, Error> {
            Ok(Vec::new())
        }
    }

    const TOOLS: Fake = Fake { python: Some((3, 11)), node: Some(21), ruby: Some((3, 3)) };

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn found(files: &[(&str, &str)]) -> Result<(String, String), Error> {
        detect(folder(files).path(), &Manifest::default(), &TOOLS).map(|found| (found.runtime, found.handler))
    }

    fn expect(files: &[(&str, &str)], runtime: &str, handler: &str) {
        assert_eq!(found(files).unwrap(), (runtime.to_owned(), handler.to_owned()), "{files:?}");
    }

    #[test]
    fn python_handlers_are_found_by_their_usual_names() {
        expect(&[("app.py", "def handler(event, context):\n  pass")], "python3.11", "app.handler");
        expect(
            &[("lambda_function.py", "async def lambda_handler(e, c): ...")],
            "python3.11",
            "lambda_function.lambda_handler",
        );
        expect(&[("app.py", "x = 1\n"), ("main.py", "handler = make()\n")], "python3.11", "main.handler");
        expect(
            &[("zoo.py", "def handler(e, c): pass"), ("requirements.txt", "")],
            "python3.11",
            "zoo.handler",
        );
        expect(&[("main.py", "def main(event, context): pass")], "python3.11", "main.main");
    }

    #[test]
    fn a_program_of_webassembly_is_found_and_may_be_asked_for() {
        expect(&[("bootstrap.wasm", "")], "provided.al2023", "bootstrap");
        let wasm = Manifest { runtime: Some("wasm".into()), ..Manifest::default() };
        let asked = |files| detect(folder(files).path(), &wasm, &TOOLS);
        let found = asked(&[("bootstrap.wasm", ""), ("app.py", "def handler(e, c): pass")]).unwrap();
        assert_eq!((found.kind, found.runtime.as_str()), (Kind::Wasm, "provided.al2023"));
        for files in [&[("app.py", "")][..], &[("bootstrap.wasm", ""), ("bootstrap", "")]] {
            assert!(matches!(asked(files), Err(Error::NoProgram { .. })));
        }
    }

    #[test]
    fn a_name_inside_another_is_no_handler() {
        for text in
            ["def handler_of(x): pass", "  def handler(e, c): pass", "handler == 1", "def main(): pass"]
        {
            assert!(matches!(found(&[("app.py", text)]), Err(Error::NoHandler { .. })), "{text}");
        }
    }

    #[test]
    fn node_handlers_are_found_in_both_module_systems() {
        expect(&[("index.mjs", "export const handler = async () => 1")], "nodejs20.x", "index.handler");
        expect(&[("index.js", "exports.handler = async () => 1")], "nodejs20.x", "index.handler");
        expect(
            &[("app.js", "async function handler() {}\nmodule.exports = {\n  handler,\n};")],
            "nodejs20.x",
            "app.handler",
        );
        expect(&[("index.js", "function handler() {}\nexport { handler };")], "nodejs20.x", "index.handler");
        expect(
            &[
                ("package.json", r#"{"main": "./lib/api.js", "type": "module"}"#),
                ("lib/api.js", "export async function handler() {}"),
            ],
            "nodejs20.x",
            "lib/api.handler",
        );
    }

    #[test]
    fn ruby_handlers_are_found_by_their_usual_names() {
        expect(&[("app.rb", "def handler(event:, context:)\nend")], "ruby3.3", "app.handler");
        let text = "x = 1\ndef lambda_handler event:, context:\nend";
        expect(&[("zoo.rb", text), ("Gemfile", "")], "ruby3.3", "zoo.lambda_handler");
        for text in ["def handlers(e); end", "  def handler(e); end", "handler = 1"] {
            assert!(matches!(found(&[("app.rb", text)]), Err(Error::NoHandler { .. })), "{text}");
        }
    }

    #[test]
    fn programs_need_no_handler() {
        expect(&[("go.mod", "module x"), ("main.go", "package main")], "provided.al2023", "bootstrap");
        expect(&[("bootstrap", "#!/bin/sh\n")], "provided.al2023", "bootstrap");
        expect(&[("Cargo.toml", "[package]"), ("src/main.rs", "")], "provided.al2023", "bootstrap");
    }

    #[test]
    fn what_is_not_clear_is_refused_with_the_reason() {
        assert!(matches!(found(&[]), Err(Error::NothingFound { .. })));
        assert!(matches!(found(&[("index.ts", "export const handler = 1")]), Err(Error::TypeScript { .. })));
        assert!(matches!(
            found(&[("app.py", "def handler(e, c): pass"), ("index.js", "exports.handler = 1")]),
            Err(Error::Ambiguous { .. })
        ));
        assert!(matches!(
            found(&[("app.py", "def handler(e, c): pass"), ("app.rb", "def handler(event:, context:)")]),
            Err(Error::Ambiguous { .. })
        ));
        assert!(matches!(found(&[("package.json", "{}")]), Err(Error::NoHandler { .. })));
    }

    #[test]
    fn settings_come_before_detection() {
        let here = folder(&[("app.py", "def handler(e, c): pass"), ("index.js", "exports.handler = 1")]);
        let settings = Manifest { runtime: Some("nodejs22.x".into()), ..Manifest::default() };
        let found = detect(here.path(), &settings, &TOOLS).unwrap();
        assert_eq!(
            (found.kind, found.runtime.as_str(), found.handler.as_str()),
            (Kind::Node, "nodejs22.x", "index.handler")
        );
        let java = Manifest {
            runtime: Some("java21".into()),
            handler: Some("a.B::c".into()),
            ..Manifest::default()
        };
        assert_eq!(detect(here.path(), &java, &TOOLS).unwrap().kind, Kind::Java);
    }

    #[test]
    fn versions_follow_this_machine_within_what_exists() {
        let none = Fake { python: None, node: None, ruby: None };
        let new = Fake { python: Some((3, 99)), node: Some(99), ruby: Some((9, 9)) };
        let here = folder(&[]);
        assert_eq!(python_runtime(here.path(), &none), "python3.12");
        assert_eq!(python_runtime(here.path(), &new), "python3.14");
        assert_eq!(node_runtime(&none), "nodejs22.x");
        assert_eq!(node_runtime(&new), "nodejs24.x");
        assert_eq!(ruby_runtime(here.path(), &none), "ruby3.3");
        assert_eq!(ruby_runtime(here.path(), &new), "ruby4.0");
        let pinned = folder(&[(".ruby-version", "ruby-3.2.9\n")]);
        assert_eq!(ruby_runtime(pinned.path(), &TOOLS), "ruby3.2");
        let pinned = folder(&[(".python-version", "3.12.4\n")]);
        assert_eq!(python_runtime(pinned.path(), &TOOLS), "python3.12");
    }

    #[test]
    fn folder_names_become_function_names() {
        assert_eq!(name_of(Path::new("/x/hello-world")).unwrap().as_str(), "hello-world");
        assert_eq!(name_of(Path::new("/x/my app.v2")).unwrap().as_str(), "my-app-v2");
        assert!(name_of(Path::new("/")).is_err());
        assert!(name_of(Path::new("/x/---")).is_err());
    }
}
