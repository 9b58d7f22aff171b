//! Java projects: a jar that a build tool has made, or plain sources, which `javac` compiles.

use super::{
    Error, Exclusions,
    dependencies::Work,
    source::{self, SourceFile},
    tools::{Run, Tools},
};
use crate::output::{Progress, span};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

/// Versions that have a Lambda runtime here.
const RELEASES: [u32; 3] = [17, 21, 25];
/// Where build tools put jars; the folder itself comes first.
const JAR_FOLDERS: [&str; 3] = ["", "target", "build/libs"];
/// Jars beside the one that is meant.
const OTHER_JARS: [&str; 4] = ["-sources.jar", "-javadoc.jar", "-tests.jar", "-plain.jar"];
/// Where sources are, the first that is there; else directly in the folder.
const SOURCE_FOLDERS: [&str; 2] = ["src/main/java", "src"];
/// Files of build tools, which Neap does not run.
const BUILDS: [&str; 3] = ["pom.xml", "build.gradle", "build.gradle.kts"];

/// What a folder holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Project {
    Jar(PathBuf),
    /// In order of path.
    Sources(Vec<PathBuf>),
}

/// The Java project of a folder, if it is one.
pub(super) fn find(folder: &Path) -> Result<Option<Project>, Error> {
    for inner in JAR_FOLDERS {
        let mut jars = ending(&folder.join(inner), ".jar");
        jars.retain(|jar| {
            let name = jar.file_name().unwrap_or_default().to_string_lossy();
            !name.starts_with("original-") && !OTHER_JARS.iter().any(|other| name.ends_with(other))
        });
        match jars.len() {
            0 => {}
            1 => return Ok(jars.pop().map(Project::Jar)),
            _ => {
                let names: Vec<_> = jars.iter().map(|jar| jar.display().to_string()).collect();
                return Err(Error::Jars { found: names.join(", ") });
            }
        }
    }
    if let Some(build) = BUILDS.iter().map(|name| folder.join(name)).find(|file| file.is_file()) {
        return Err(Error::NotBuilt { file: build });
    }
    let mut sources = Vec::new();
    match SOURCE_FOLDERS.iter().map(|inner| folder.join(inner)).find(|inner| inner.is_dir()) {
        Some(inner) => below(&inner, &mut sources),
        None => sources = ending(folder, ".java"),
    }
    sources.sort();
    Ok((!sources.is_empty()).then_some(Project::Sources(sources)))
}

/// Files in `folder` whose names end so.
fn ending(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| path.is_file() && path.to_string_lossy().ends_with(ending));
    found.sort();
    found
}

fn below(folder: &Path, sources: &mut Vec<PathBuf>) {
    sources.extend(ending(folder, ".java"));
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        // Links could lead back.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below(&entry.path(), sources);
        }
    }
}

/// The newest runtime that is not newer than `javac`, else Java 17.
pub(super) fn runtime(folder: &Path, tools: &dyn Tools) -> String {
    let asked = tools.run(&Run {
        program: "javac",
        arguments: vec!["-version".into()],
        folder,
        environment: Vec::new(),
        shown: false,
        purpose: "compile Java",
    });
    let installed = asked.ok().and_then(|said| {
        let said = String::from_utf8_lossy(&said).into_owned();
        said.trim().strip_prefix("javac ")?.split(['.', '-']).next()?.parse::<u32>().ok()
    });
    let release = installed.and_then(|installed| RELEASES.into_iter().rfind(|one| *one <= installed));
    format!("java{}", release.unwrap_or(RELEASES[0]))
}

/// The only public class of the sources that implements one of Lambda's interfaces.
pub(super) fn handler(project: &Project) -> Option<String> {
    let Project::Sources(sources) = project else { return None };
    let mut found = sources.iter().filter_map(|path| handler_of(&fs::read_to_string(path).ok()?));
    let only = found.next()?;
    found.next().is_none().then_some(only)
}

fn handler_of(text: &str) -> Option<String> {
    let at = text.lines().scan(0, |at, line| {
        let start = *at;
        *at += line.len() + 1;
        Some((start, line))
    });
    let class = |line: &str| ["public class ", "public final class "].iter().any(|one| line.starts_with(one));
    let (start, _) = at.into_iter().find(|(_, line)| class(line))?;
    let head = text.get(start..)?.split('{').next()?;
    let (before, after) = head.split_once("implements")?;
    let implements = ["RequestHandler", "RequestStreamHandler"]
        .iter()
        .any(|name| after.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == *name));
    let name = before.split("class ").nth(1)?.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    let package = text.lines().find_map(|line| line.trim().strip_prefix("package ")?.strip_suffix(';'));
    implements
        .then(|| package.map_or_else(|| name.to_owned(), |package| format!("{}.{name}", package.trim())))
}

/// Compiles sources into `work`; the files of the package: classes, resources, the libraries in `lib`.
pub(super) fn compile(
    folder: &Path,
    sources: &[PathBuf],
    runtime: &str,
    work: &Work,
    tools: &dyn Tools,
    progress: &Progress,
) -> Result<Vec<SourceFile>, Error> {
    let begun = Instant::now();
    progress.doing("build", "javac");
    let (interfaces, classes) = (work.path().join("interfaces"), work.path().join("classes"));
    for (name, text) in server::JAVA_SOURCES {
        let file = interfaces.join(name);
        let written =
            fs::create_dir_all(file.parent().unwrap_or(&interfaces)).and_then(|()| fs::write(&file, text));
        written.map_err(|source| Error::File { file, source })?;
    }
    fs::create_dir_all(&classes).map_err(|source| Error::Folder { folder: classes.clone(), source })?;
    let release = runtime.strip_prefix("java").unwrap_or_default();
    let mut arguments: Vec<OsString> =
        ["--release", release, "-encoding", "UTF-8", "-implicit:none", "-g"].map(OsString::from).to_vec();
    // Lambda's interfaces, in case that no library brings them: the runtime has them.
    arguments.extend([
        "-sourcepath".into(),
        interfaces.into_os_string(),
        "-d".into(),
        classes.clone().into(),
    ]);
    let libraries = folder.join("lib");
    if libraries.is_dir() {
        arguments.extend(["-classpath".into(), libraries.join("*").into_os_string()]);
    }
    arguments.extend(sources.iter().map(|path| path.clone().into_os_string()));
    let run = Run {
        program: "javac",
        arguments,
        folder,
        environment: Vec::new(),
        shown: false,
        purpose: "compile Java",
    };
    tools.run(&run)?;
    progress.done("build", &format!("javac, {}", span(begun.elapsed())));

    let mut files = source::collect(&classes, &Exclusions::installed())?;
    let resources = folder.join("src/main/resources");
    if resources.is_dir() {
        files.extend(source::collect(&resources, &Exclusions::new(&[]))?);
    }
    for jar in ending(&libraries, ".jar") {
        let bytes = fs::metadata(&jar).map_err(|source| Error::File { file: jar.clone(), source })?.len();
        let name = format!("lib/{}", jar.file_name().unwrap_or_default().to_string_lossy());
        files.push(SourceFile { name, path: jar, executable: false, bytes });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_built_jar_is_taken_before_sources() {
        let here = folder(&[
            ("pom.xml", ""),
            ("src/main/java/a/B.java", ""),
            ("target/x-1.0.jar", ""),
            ("target/original-x-1.0.jar", ""),
            ("target/x-1.0-sources.jar", ""),
        ]);
        let jar = here.path().join("target/x-1.0.jar");
        assert_eq!(find(here.path()).unwrap(), Some(Project::Jar(jar)));
        let two = folder(&[("a.jar", ""), ("b.jar", "")]);
        assert!(matches!(find(two.path()), Err(Error::Jars { .. })));
        let unbuilt = folder(&[("build.gradle", ""), ("src/main/java/A.java", "")]);
        assert!(matches!(find(unbuilt.path()), Err(Error::NotBuilt { .. })));
    }

    #[test]
    fn sources_are_found_in_their_usual_places() {
        let here = folder(&[("src/a/B.java", ""), ("src/a/C.java", ""), ("src/x.txt", "")]);
        let found = find(here.path()).unwrap();
        let expected = ["src/a/B.java", "src/a/C.java"].map(|name| here.path().join(name)).to_vec();
        assert_eq!(found, Some(Project::Sources(expected)));
        let flat = folder(&[("A.java", ""), ("test/B.java", "")]);
        assert_eq!(find(flat.path()).unwrap(), Some(Project::Sources(vec![flat.path().join("A.java")])));
        assert_eq!(find(folder(&[("a.txt", "")]).path()).unwrap(), None);
    }

    #[test]
    fn the_handler_is_the_class_that_implements_an_interface() {
        let of = |text: &str| handler_of(text);
        let text = "package a.b;\n\nimport x;\n\npublic final class Hello\n    implements RequestHandler<Map<String, X>, Y> {";
        assert_eq!(of(text).as_deref(), Some("a.b.Hello"));
        assert_eq!(of("public class S implements Other, RequestStreamHandler{").as_deref(), Some("S"));
        assert_eq!(of("package a;\npublic class S implements MyRequestHandler {}"), None);
        assert_eq!(of("class Hidden implements RequestStreamHandler {}"), None);
        assert_eq!(of("public class S { RequestHandler x; }"), None);
    }

    #[test]
    fn a_handler_is_named_only_when_there_is_one() {
        let one = ("src/A.java", "public class A implements RequestStreamHandler {}");
        let two = ("src/B.java", "public class B implements RequestStreamHandler {}");
        let found = |files: &[(&str, &str)]| handler(&find(folder(files).path()).unwrap().unwrap());
        // The folder must outlive the question.
        let here = folder(&[one]);
        assert_eq!(handler(&find(here.path()).unwrap().unwrap()).as_deref(), Some("A"));
        assert_eq!(found(&[one, two]), None);
    }
}
