"""WebAssembly components of JavaScript and Python, made by their published tools in the cache folder."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from test_wasm import failed, lines, opened, wasm  # noqa: F401

SOURCES = pathlib.Path(__file__).parent / "wasm" / "languages"
CACHE = pathlib.Path(os.environ.get("CACHE") or pathlib.Path.home() / ".cache" / "neap")
# Which version of the interfaces comes with the tools, and which the JavaScript engine is built for: the later one adds nothing
# that is used here.
SHIPPED, WIT = "0.2.12", "0.2.10"


@pytest.fixture(scope="session")
def workshop():
    """The tools and the interfaces that both languages' tools need, installed once for each state of the sources."""
    if not shutil.which("npm"):
        pytest.skip("npm is not here: it brings the interfaces and the JavaScript engine")
    state = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(SOURCES.iterdir()))).hexdigest()[:16]
    folder = CACHE / f"wasm-{state}"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(SOURCES, folder)
        done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(folder)
            pytest.skip(f"the tools cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
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
    return (folder / name).read_bytes()


@pytest.fixture(scope="session")
def javascript(workshop):
    return made(workshop, "js.wasm", ["node", "build.mjs", "wit", "js.wasm"])


@pytest.fixture(scope="session")
def python(workshop):
    pytest.importorskip("componentize_py", reason="componentize-py cannot be installed here")
    tool = str(pathlib.Path(sys.executable).with_name("componentize-py"))
    return made(workshop, "py.wasm", [tool, "-d", "wit", "-w", "service", "componentize", "app", "-o", "py.wasm"])


@pytest.mark.timeout(900)
def test_a_component_of_javascript(wasm, javascript, logs):  # noqa: F811
    function = wasm(javascript, MemorySize=256, Timeout=10)
    assert function({"name": "Ada"}) == {"hello": "Ada", "reached": None}
    # Neap is reached, private addresses are not.
    assert function({"name": "Ada", "reach": "http://127.0.0.1:4566/_neap/health"})["reached"] == 200
    assert function({"name": "Ada", "reach": "https://10.255.255.1/"})["reached"] == "refused"
    assert any("from JavaScript" in line for line in lines(logs, function, "REPORT"))


@pytest.mark.timeout(900)
def test_a_component_of_python(wasm, python, logs):  # noqa: F811
    function = wasm(python, MemorySize=512, Timeout=20, Environment={"Variables": {"COLOUR": "blue"}})
    assert function({"name": "Ada"}) == {"hello": "Ada", "colour": "blue", "times": 1}
    # `/tmp` is the environment's, the instance is the invocation's.
    assert function({"name": "Bob"})["times"] == 2
    assert "from Python" in lines(logs, function, "REPORT")
    kind, text = failed(function, {"nobody": 1})
    assert kind == "Runtime.ExitError", text

