"""Each example, built and deployed by `neap deploy` and exercised through the real API."""

import pathlib
import subprocess
import sys

import pytest
from conftest import BINARY

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir() if (folder / "neap.toml").exists())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_the_example_answers_as_it_says(node, name):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "run.py", "--neap", BINARY, name],
        capture_output=True, text=True, env=node.aws_environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if "  skipped: " in done.stdout:
        pytest.skip(done.stdout.strip())
    assert "  checked " in done.stdout
