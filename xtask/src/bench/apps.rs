//! The functions that are measured, and the bare loops that run the same handlers without a platform.

use super::Outcome;
use std::{
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

/// The same in an executable that speaks the Runtime API, and is a bare loop too.
const BOOTSTRAP: &str = include_str!("bootstrap.rs");

/// A runtime that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum App {
    Python,
    Node,
    Rust,
}

impl App {
    pub(crate) fn name(self) -> &'static str {
        match self {
            App::Python => "Python",
            App::Node => "Node.js",
            App::Rust => "Rust",
        }
    }

    /// Runtime identifier and handler.
    pub(crate) fn runtime(self) -> (&'static str, &'static str) {
        match self {
            App::Python => ("python3.12", "app.handler"),
            App::Node => ("nodejs20.x", "index.handler"),
            App::Rust => ("provided.al2023", "bootstrap"),
        }
    }

    /// Its deployment package. Of Rust it has the executable `bootstrap`, or the least one.
    pub(crate) fn package(self, bootstrap: Option<&Path>) -> Outcome<Vec<u8>> {
        let file = |name, content: &[u8], executable| package::zip(&[File { name, content, executable }]);
        let zipped = match self {
            App::Python => file("app.py", PYTHON.as_bytes(), false),
            App::Node => file("index.js", NODE.as_bytes(), false),
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

    /// Interpreter and script of its bare stem cell, which is written to `folder` with the handler; `None` where the floor is
    /// another.
    pub(super) fn bare_cell(self, folder: &Path) -> Outcome<Option<(PathBuf, PathBuf)>> {
        let App::Node = self else { return Ok(None) };
        let write = |name, text| write(folder, name, text);
        write("index.js", NODE)?;
        Ok(Some((interpreter("node", &["-p", "process.execPath"])?, write("cell.js", NODE_CELL)?)))
    }
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
