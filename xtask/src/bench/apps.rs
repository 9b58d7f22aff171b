//! The functions that are measured, and the bare loops that run the same handlers without a platform.

use super::Outcome;
use sandbox::Attachment;
use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use testkit::package::{self, File};

/// Says hello to the name in the event.
const PYTHON: &str = "def handler(event, context):\n    return {'message': 'hello ' + event['name']}\n";

/// The same.
const NODE: &str = "exports.handler = async (event) => ({ message: 'hello ' + event.name });\n";

/// Frames of a little-endian length and a JSON event, over the socket that is standard input.
const PYTHON_LOOP: &str = r#"
import json, socket, struct, sys
sys.path.insert(0, sys.argv[1])
from app import handler
channel = socket.socket(fileno=0)
data = b''
while True:
    while len(data) < 4 or len(data) < 4 + struct.unpack_from('<I', data)[0]:
        piece = channel.recv(65536)
        if not piece:
            sys.exit()
        data += piece
    end = 4 + struct.unpack_from('<I', data)[0]
    event, data = data[4:end], data[end:]
    answer = json.dumps(handler(json.loads(event), None)).encode()
    channel.sendall(struct.pack('<I', len(answer)) + answer)
"#;

const NODE_LOOP: &str = r#"
const fs = require('fs');
const { handler } = require(process.argv[2] + '/index.js');
const buffer = Buffer.alloc(1 << 20);
const main = async () => {
  for (;;) {
    let filled = 0;
    do {
      const read = fs.readSync(0, buffer, filled, buffer.length - filled, null);
      if (read === 0) process.exit();
      filled += read;
    } while (filled < 4 || filled < 4 + buffer.readUInt32LE(0));
    const event = JSON.parse(buffer.toString('utf8', 4, filled));
    const answer = Buffer.from('0000' + JSON.stringify(await handler(event)));
    answer.writeUInt32LE(answer.length - 4, 0);
    fs.writeSync(0, answer);
  }
};
main();
"#;

/// An interpreter that has booted before it knows the handler: its first frame is the folder, the rest as above, over
/// descriptor 3.
const NODE_CELL: &str = r#"
const fs = require('fs');
const buffer = Buffer.alloc(1 << 20);
const receive = () => {
  let filled = 0;
  do {
    const read = fs.readSync(3, buffer, filled, buffer.length - filled, null);
    if (read === 0) process.exit();
    filled += read;
  } while (filled < 4 || filled < 4 + buffer.readUInt32LE(0));
  return buffer.toString('utf8', 4, filled);
};
const send = (text) => {
  const answer = Buffer.from('0000' + text);
  answer.writeUInt32LE(answer.length - 4, 0);
  fs.writeSync(3, answer);
};
const main = async () => {
  send('booted');
  const { handler } = require(receive() + '/index.js');
  send('loaded');
  for (;;) send(JSON.stringify(await handler(JSON.parse(receive()))));
};
main();
"#;

/// The same in Java.
const JAVA: &str = "package app;\n\nimport java.util.Map;\n\npublic class Hello {\n    public Map<String, String> handle(Map<String, String> \
                    event) {\n        return Map.of(\"message\", \"hello \" + event.get(\"name\"));\n    }\n}\n";

/// Both loops in Java: over the descriptor that is its first argument; the second is the folder with the handler, which it is
/// told where it waits. It reads no more of JSON than this event has.
const JAVA_LOOP: &str = include_str!("Bare.java");

/// The same in an executable that speaks the Runtime API, and is a bare loop too.
const BOOTSTRAP: &str = include_str!("bootstrap.rs");

/// A runtime that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum App {
    Python,
    Node,
    Java,
    Rust,
}

/// What waits to become a handler's process without a platform.
pub(super) struct BareCell {
    /// Program and arguments inside.
    pub(super) argv: Vec<OsString>,
    /// What is shown there, besides the host's libraries.
    pub(super) binds: Vec<Attachment>,
}

impl App {
    /// Those that this machine can measure.
    pub(crate) fn all() -> Vec<App> {
        let has_java = interpreter("javac", &["-version"]).is_ok();
        let mut all = vec![App::Python, App::Node, App::Java, App::Rust];
        all.retain(|app| *app != App::Java || has_java);
        all
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            App::Python => "Python",
            App::Node => "Node.js",
            App::Java => "Java",
            App::Rust => "Rust",
        }
    }

    /// Runtime identifier and handler.
    pub(crate) fn runtime(self) -> (&'static str, &'static str) {
        match self {
            App::Python => ("python3.12", "app.handler"),
            App::Node => ("nodejs20.x", "index.handler"),
            App::Java => ("java17", "app.Hello::handle"),
            App::Rust => ("provided.al2023", "bootstrap"),
        }
    }

    /// Its deployment package. Of Rust it has the executable `bootstrap`, or the least one.
    pub(crate) fn package(self, bootstrap: Option<&Path>) -> Outcome<Vec<u8>> {
        let file = |name, content: &[u8], executable| package::zip(&[File { name, content, executable }]);
        let zipped = match self {
            App::Python => file("app.py", PYTHON.as_bytes(), false),
            App::Node => file("index.js", NODE.as_bytes(), false),
            App::Java => {
                let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
                let class = java_classes(folder.path(), "Hello.java", JAVA)?.join("app/Hello.class");
                let content =
                    std::fs::read(&class).map_err(|error| format!("{}: {error}", class.display()))?;
                file("app/Hello.class", &content, false)
            }
            App::Rust => {
                let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
                let path = bootstrap.map_or_else(|| compiled(folder.path()), |path| Ok(path.into()))?;
                let content = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                file("bootstrap", &content, true)
            }
        };
        zipped.map_err(|error| error.to_string())
    }

    /// Program and first arguments of its bare loop, which is written to `folder`.
    pub(super) fn bare_loop(self, folder: &Path) -> Outcome<Vec<PathBuf>> {
        let write = |name, text| write(folder, name, text);
        Ok(match self {
            App::Python => {
                write("app.py", PYTHON)?;
                // As a platform would start it: without user site, and the program's folder not on the path.
                vec![
                    interpreter("python3", &["-c", "import sys; print(sys.executable)"])?,
                    "-I".into(),
                    write("loop.py", PYTHON_LOOP)?,
                    folder.into(),
                ]
            }
            App::Node => {
                write("index.js", NODE)?;
                vec![
                    interpreter("node", &["-p", "process.execPath"])?,
                    write("loop.js", NODE_LOOP)?,
                    folder.into(),
                ]
            }
            App::Java => {
                let loops = java_classes(&folder.join("bare"), "Bare.java", JAVA_LOOP)?;
                java_classes(folder, "Hello.java", JAVA)?;
                let mut program = vec![java_home()?.join("bin/java")];
                program.extend(JAVA_FLAGS.map(PathBuf::from));
                program.extend(["-cp".into(), loops, "Bare".into(), "0".into(), folder.into()]);
                program
            }
            App::Rust => vec![compiled(folder)?],
        })
    }
}

impl App {
    /// A bare process that forks for each event, if Neap forks this app.
    pub(super) fn bare_fork(self, folder: &Path) -> Outcome<Option<Vec<PathBuf>>> {
        let App::Python = self else { return Ok(None) };
        let mut program = self.bare_loop(folder)?;
        let path = folder.join("fork.py");
        std::fs::write(&path, PYTHON_FORK).map_err(|error| error.to_string())?;
        if let Some(script) = program.get_mut(2) {
            *script = path;
        }
        Ok(Some(program))
    }

    /// Its bare stem cell, which is written to `folder` with the handler; `None` where the floor is another.
    pub(super) fn bare_cell(self, folder: &Path) -> Outcome<Option<BareCell>> {
        let write = |name, text| write(folder, name, text);
        Ok(match self {
            App::Python | App::Rust => None,
            App::Node => {
                write("index.js", NODE)?;
                let (program, inside) = ("/run/interpreter", "/run/cell");
                let binds = vec![
                    Attachment::new(interpreter("node", &["-p", "process.execPath"])?, program),
                    Attachment::new(write("cell.js", NODE_CELL)?, inside),
                ];
                Some(BareCell { argv: [program, inside].map(OsString::from).to_vec(), binds })
            }
            App::Java => {
                let loops = java_classes(&folder.join("bare"), "Bare.java", JAVA_LOOP)?;
                java_classes(folder, "Hello.java", JAVA)?;
                let (home, inside) = (java_home()?, "/run/cell");
                let mut binds = vec![Attachment::new(loops, inside)];
                if !home.starts_with("/usr") {
                    binds.push(Attachment::same(&home));
                }
                // Distributions keep a part of its settings there.
                let settings = std::fs::read_dir("/etc").map_err(|error| error.to_string())?;
                let settings = settings.filter_map(|entry| Some(entry.ok()?.path()));
                let of_java = |path: &PathBuf| path.to_string_lossy().starts_with("/etc/java");
                binds.extend(settings.filter(of_java).map(Attachment::same));
                let mut argv: Vec<OsString> = vec![home.join("bin/java").into()];
                argv.extend(
                    JAVA_FLAGS.iter().copied().chain(["-cp", inside, "Bare", "3"]).map(OsString::from),
                );
                Some(BareCell { argv, binds })
            }
        })
    }
}

/// As small machines are started, and what gives the loops a descriptor.
const JAVA_FLAGS: [&str; 4] = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "--add-exports=java.base/jdk.internal.access=ALL-UNNAMED",
];

/// The JDK whose compiler is on the path.
fn java_home() -> Outcome<PathBuf> {
    let ask = ["-XshowSettings:properties", "-version"];
    let output = Command::new("java").args(ask).output().map_err(|error| format!("java: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let home = text.lines().find_map(|line| line.trim().strip_prefix("java.home = "));
    home.map(PathBuf::from).ok_or_else(|| "java does not tell its home".to_owned())
}

/// Compiles a class into `folder`.
fn java_classes(folder: &Path, name: &str, source: &str) -> Outcome<PathBuf> {
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let source = write(folder, name, source)?;
    let mut compiler = Command::new("javac");
    compiler.args(["-nowarn", "-proc:none", "-XDstringConcat=inline"]);
    compiler.args(["--add-exports=java.base/jdk.internal.access=ALL-UNNAMED", "-d"]).arg(folder).arg(source);
    match compiler.output().map_err(|error| format!("javac: {error}"))? {
        output if output.status.success() => Ok(folder.into()),
        output => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The same in `folder`, and how a floor starts it: the interpreter that the runtime has, and the folder.
pub(super) fn stock_folder(package: &Path, folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(package, package, &mut found).map_err(|error| format!("{}: {error}", package.display()))?;
    found.push(("app.py".to_owned(), PYTHON.into()));
    for (name, content) in found {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|error| error.to_string())?;
        std::fs::write(&path, content).map_err(|error| error.to_string())?;
    }
    let python = interpreter("python3.11", &["-c", "import sys; print(sys.executable)"])?;
    Ok(vec![python, folder.into()])
}

/// The handler in Python with the client of the Runtime API that Lambda's own images have, which is installed in `folder`.
pub(super) fn stock_package(folder: &Path) -> Outcome<Vec<u8>> {
    const WRAPPER: &str = "#!/bin/sh\nexec \"$1\" -m awslambdaric app.handler\n";
    let mut found = Vec::new();
    collect(folder, folder, &mut found).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<File<'_>> =
        found.iter().map(|(name, content)| File { name, content, executable: false }).collect();
    files.push(File { name: "app.py", content: PYTHON.as_bytes(), executable: false });
    files.push(File { name: "wrapper", content: WRAPPER.as_bytes(), executable: true });
    package::zip(&files).map_err(|error| error.to_string())
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, Vec<u8>)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, found)?;
        } else if let Ok(inside) = path.strip_prefix(root) {
            found.push((inside.to_string_lossy().into_owned(), std::fs::read(&path)?));
        }
    }
    Ok(())
}

/// Loads what zygotes load by default; each event is answered by a child that loads the handler.
const PYTHON_FORK: &str = r#"
import base64, datetime, decimal, gc, hashlib, json, logging, os, random, sys, traceback, urllib.parse, uuid
def read(count):
    data = b""
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            os._exit(0)
        data += more
    return data
sys.path.insert(0, sys.argv[1])
gc.collect()
gc.freeze()
while True:
    length = read(4)
    if os.fork() == 0:
        event = read(int.from_bytes(length, "little"))
        from app import handler
        answer = json.dumps(handler(json.loads(event), None)).encode()
        os.write(0, len(answer).to_bytes(4, "little") + answer)
        os._exit(0)
    os.wait()
"#;

/// Compiles the least executable into `folder`, linked statically.
fn compiled(folder: &Path) -> Outcome<PathBuf> {
    let path = folder.join("bootstrap");
    let mut compiler = Command::new("rustc");
    compiler.args([
        "--edition=2024",
        "-Copt-level=s",
        "-Cpanic=abort",
        "-Cstrip=symbols",
        "-Ctarget-feature=+crt-static",
    ]);
    let mut compiler = compiler
        .arg("-o")
        .arg(&path)
        .arg("-")
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("rustc: {error}"))?;
    let written = compiler.stdin.take().map(|mut source| source.write_all(BOOTSTRAP.as_bytes()));
    let status = compiler.wait().map_err(|error| error.to_string())?;
    match written {
        Some(Ok(())) if status.success() => Ok(path),
        _ => Err("the least executable cannot be compiled".to_owned()),
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Outcome<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text).map(|()| path).map_err(|error| error.to_string())
}

/// The executable behind a name on the path, which may be a script of a version manager.
pub(super) fn interpreter(name: &str, asks_itself: &[&str]) -> Outcome<PathBuf> {
    let output = Command::new(name).args(asks_itself).output().map_err(|error| format!("{name}: {error}"))?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "" => Err(format!("{name} does not tell its own path")),
        path => Ok(path.into()),
    }
}

/// An event that every app takes; they differ, so that nobody can answer from memory.
pub(super) fn event(number: usize) -> String {
    format!(r#"{{"name":"caller {number}"}}"#)
}
