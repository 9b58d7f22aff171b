"""C# as a function of `provided.al2023`: managed code on Microsoft's runtime, in the sandbox.

A real runtime of .NET comes as a Python package (dotnetcore2: .NET Core 3.1, x86-64), a compiler for C# with Debian's
mono-mcs; the package of the function holds the runtime, the compiled assembly and a `bootstrap` that starts it. It shows
that compilation at run time, garbage collection, threads and sockets of that runtime work with the system calls, memory and
root of the sandbox, and that the Runtime API answers its HTTP client. It does not show what `dotnet publish` makes (single
file, NativeAOT), nor newer versions: neither the SDK nor its packages can be had by the tests.
"""

import importlib.util
import json
import pathlib
import shutil
import subprocess

import pytest
from conftest import eventually, messages

SOURCE = pathlib.Path(__file__).parent / "dotnet" / "Function.cs"
FRAMEWORK = "Microsoft.NETCore.App"
BOOTSTRAP = """#!/bin/sh
exec "$LAMBDA_TASK_ROOT/dotnet/dotnet" "$LAMBDA_TASK_ROOT/Function.dll"
"""

def runtime():
    """The folder of the runtime, where its package is installed."""
    spec = importlib.util.find_spec("dotnetcore2")
    return pathlib.Path(spec.origin).parent / "bin" if spec else None


pytestmark = [
    pytest.mark.skipif(not runtime(), reason="no package dotnetcore2 for this processor"),
    pytest.mark.skipif(not shutil.which("mcs"), reason="no compiler for C# on this host (mono-mcs)"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The function's package."""
    root, folder = runtime(), tmp_path_factory.mktemp("dotnet")
    framework = next((root / "shared" / FRAMEWORK).iterdir())
    references = [f"-r:{one}" for one in framework.glob("System*.dll") if "WindowsRuntime" not in one.name]
    done = subprocess.run(
        ["mcs", "-nostdlib", "-noconfig", "-nowarn:1702", "-langversion:latest", f"-out:{folder}/Function.dll",
         *references, SOURCE],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    settings = {
        "framework": {"name": FRAMEWORK, "version": framework.name},
        "configProperties": {"System.Globalization.Invariant": True},
    }
    found = {
        "bootstrap": (0o100755, BOOTSTRAP),
        "Function.dll": (folder / "Function.dll").read_bytes(),
        "Function.runtimeconfig.json": json.dumps({"runtimeOptions": settings}),
    }
    for file in root.rglob("*"):
        if file.is_file():
            mode = 0o100755 if file.name == "dotnet" else 0o100644
            found[f"dotnet/{file.relative_to(root)}"] = (mode, file.read_bytes())
    return found


@pytest.fixture
def function(deploy, files):
    return deploy(files, runtime="provided.al2023", handler="Function", MemorySize=512, Timeout=30)


@pytest.mark.timeout(300)
def test_managed_code_answers_fails_and_is_started_anew(function, logs):
    first, second = function({"name": "Ada"}), function({"name": "Bob"})
    assert first["message"] == "Hello, Ada!" and second["message"] == "Hello, Bob!"
    assert (first["calls"], second["calls"]) == (1, 2), "one process serves both"
    assert first["sum"] == sum(range(1_000_000)) and first["collections"] > 0 and first["cpus"] >= 1
    assert first["os"] == "Unix" and first["runtime"].startswith("3.1")
    eventually(lambda: "greeting Bob" in messages(logs, f"/aws/lambda/{function.name}"))
    reply = function.invoke({"name": "fail"})
    assert reply["FunctionError"] == "Unhandled"
    assert reply["Body"] == {"errorMessage": "as asked", "errorType": "InvalidOperationException"}
    assert function({"name": "Eve"})["calls"] == 3
    reply = function.invoke({"name": "exit"})
    assert reply["FunctionError"] == "Unhandled" and reply["Body"]["errorType"] == "Runtime.ExitError"
    assert function({"name": "Joe"})["calls"] == 1
