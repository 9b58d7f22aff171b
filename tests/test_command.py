"""The `neap` command, as a person uses it."""

import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest
from conftest import BINARY, eventually, running

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "greeter"
    folder.mkdir()
    (folder / "app.py").write_text("def handler(event, context):\n    print('a line')\n    return {'hi': event.get('name')}\n")
    return folder


def test_a_folder_becomes_a_function_and_is_invoked(node, project):
    node.neap("deploy", project)
    assert json.loads(node.neap("invoke", "greeter", '{"name": "ann"}').stdout) == {"hi": "ann"}
    assert "greeter" in node.neap("ls").stdout
    rows = json.loads(node.neap("ls", "--json").stdout)
    assert any("greeter" in json.dumps(row) for row in rows)
    eventually(lambda: "a line" in node.neap("logs", "greeter").stdout)
    (project / "app.py").write_text("def handler(event, context):\n    return 'second'\n")
    node.neap("deploy", project)
    assert node.neap("invoke", "greeter").stdout.strip() == '"second"'
    node.neap("rm", "greeter")
    gone = node.neap("invoke", "greeter", check=False)
    assert gone.returncode != 0 and "greeter" in gone.stderr


def test_a_function_error_is_an_exit_code(node, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "app.py").write_text("def handler(event, context):\n    raise ValueError('no way')\n")
    node.neap("deploy", folder)
    done = node.neap("invoke", "broken", check=False)
    assert done.returncode == 1 and "no way" in done.stderr
    node.neap("rm", "broken")


def test_node_projects_are_recognised(node, tmp_path):
    folder = tmp_path / "noder"
    folder.mkdir()
    (folder / "package.json").write_text('{"name": "noder", "main": "index.js"}')
    (folder / "index.js").write_text("exports.handler = async (e) => e;")
    node.neap("deploy", folder)
    assert node.neap("invoke", "noder", "[1]").stdout.strip() == "[1]"
    node.neap("rm", "noder")


@pytest.mark.skipif(not shutil.which("ruby"), reason="no Ruby on this host")
def test_ruby_projects_are_recognised_and_missing_gems_told(node, tmp_path):
    folder = tmp_path / "rubyist"
    folder.mkdir()
    (folder / "app.rb").write_text("def handler(event:, context:) = event")
    assert "vendor/bundle" not in node.neap("deploy", folder).stderr
    assert node.neap("invoke", "rubyist", "[1]").stdout.strip() == "[1]"
    (folder / "Gemfile").write_text("source 'https://gems.example'\ngem 'absent'\n")
    assert "vendor/bundle" in node.neap("deploy", folder).stderr
    (folder / "app.py").write_text("def handler(event, context): pass")
    done = node.neap("deploy", folder, check=False)
    assert done.returncode != 0 and "more than one language" in done.stderr
    node.neap("rm", "rubyist")


def test_a_folder_without_a_function_says_what_to_do(node, tmp_path):
    done = node.neap("deploy", tmp_path, check=False)
    assert done.returncode != 0
    assert "app.py" in done.stderr or "handler" in done.stderr


def test_no_server_is_a_clear_error(tmp_path):
    done = subprocess.run([BINARY, "ls", "--endpoint-url", "http://127.0.0.1:9"], capture_output=True, text=True,
                          env={**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"})
    assert done.returncode != 0 and "neap dev" in done.stderr


def test_doctor_reports_the_host():
    done = subprocess.run([BINARY, "doctor", "--json"], capture_output=True, text=True)
    report = json.loads(done.stdout)
    text = json.dumps(report)
    for word in ("cgroup", "seccomp", "andlock", "namespace"):
        assert word in text, word


def test_completions_are_printed():
    for shell in ("bash", "zsh", "fish"):
        done = subprocess.run([BINARY, "completions", shell], capture_output=True, text=True, check=True)
        assert "deploy" in done.stdout


def test_an_unknown_key_in_the_configuration_is_refused(tmp_path):
    (tmp_path / "neap.toml").write_text("[node]\nlisten_on = 1\n")
    done = subprocess.run([BINARY, "serve", "--data", str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0 and "listen_on" in done.stderr


def test_dev_listens_on_loopback_only(tmp_path):
    done = subprocess.run([BINARY, "dev", "--listen", "0.0.0.0:0", "--data", str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0 and "loopback" in done.stderr


def test_dev_redeploys_a_folder_on_save(tmp_path, project):
    with running("dev", data=tmp_path / "data", arguments=[str(project)]) as node:
        eventually(lambda: node.neap("invoke", "greeter", '{"name": 1}', check=False).stdout.strip().replace(" ", "") == '{"hi":1}', timeout=60)
        (project / "app.py").write_text("def handler(event, context):\n    return 'saved'\n")
        started = time.monotonic()
        eventually(lambda: node.neap("invoke", "greeter", check=False).stdout.strip() == '"saved"', timeout=30)
        assert time.monotonic() - started < 30


def test_the_page_of_operations_is_what_the_tables_say(tmp_path):
    done = subprocess.run([BINARY, "operations"], capture_output=True, text=True, check=True)
    page = pathlib.Path(__file__).parent.parent / "docs" / "operations.md"
    assert page.read_text() == done.stdout, "run `make docs`"
