"""WebAssembly components of JavaScript and Python, made by their published tools in the cache folder."""

import pathlib
import sys

import pytest
from test_wasm import failed, lines, opened, wasm  # noqa: F401

sys.path.insert(0, str(pathlib.Path(__file__).parent / "wasm"))
import workshop  # noqa: E402


def made(make):
    try:
        return make().read_bytes()
    except workshop.Missing as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def javascript():
    return made(workshop.javascript)


@pytest.fixture(scope="session")
def python():
    pytest.importorskip("componentize_py", reason="componentize-py cannot be installed here")
    return made(workshop.python)


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

