"""Makes WebAssembly components of JavaScript and Python by their published tools, once for each state of the sources.

`python3 tests/wasm/workshop.py javascript` prints the file; where it cannot be made, it says why and fails.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

SOURCES = pathlib.Path(__file__).parent / "languages"
CACHE = pathlib.Path(os.environ.get("CACHE") or pathlib.Path.home() / ".cache" / "neap")
# Which version of the interfaces comes with the tools, and which the JavaScript engine is built for: the later one adds nothing
# that is used here.
SHIPPED, WIT = "0.2.12", "0.2.10"


class Missing(Exception):
    """The tools are not here and cannot be installed."""


def workshop():
    """The folder with the tools and the interfaces that both languages' tools need."""
    if not shutil.which("npm"):
        raise Missing("npm is not here: it brings the interfaces and the JavaScript engine")
    # Files alone: whoever compiles the sources by hand leaves a folder there.
    sources = sorted(file for file in SOURCES.iterdir() if file.is_file())
    state = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:16]
    folder = CACHE / f"wasm-{state}"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(SOURCES, folder)
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(folder)
            raise Missing(f"the tools cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
        shipped = folder / "node_modules/@bytecodealliance/jco/lib/wit/builtin" / SHIPPED
        shutil.copytree(shipped, folder / "wit" / "deps")
        for file in (folder / "wit").rglob("*.wit"):
            text = file.read_text()
            for version in (SHIPPED, "0.2.11"):
                text = text.replace(version, WIT)
            file.write_text(text)
        shutil.copy(SOURCES / "world.wit", folder / "wit")
        (folder / "ready").touch()
    return folder


def made(folder, name, command):
    if not (folder / name).exists():
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / name


def javascript():
    return made(workshop(), "js.wasm", ["node", "build.mjs", "wit", "js.wasm"])


def python():
    tool = str(pathlib.Path(sys.executable).with_name("componentize-py"))
    return made(workshop(), "py.wasm", [tool, "-d", "wit", "-w", "service", "componentize", "app", "-o", "py.wasm"])


if __name__ == "__main__":
    try:
        print({"javascript": javascript, "python": python}[sys.argv[1]]())
    except Missing as reason:
        sys.exit(str(reason))
