"""Deploys the example functions, calls each through the Lambda API, checks the answers, and shows what happened.

    python run.py [--neap PATH] [EXAMPLE…]

Endpoint and credentials come from the usual AWS variables (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …); the `neap` binary
from --neap, the variable NEAP, or PATH. Needs boto3. Exit code 1 when an example fails.

What an answer must be is said beside each example: `expect.json` is the answer to `event.json`; or `check.py` has
`check(event, answer)`, which raises when the answer is wrong, and may have `cases()`, the events to send instead of
`event.json`. An example whose language this machine lacks is skipped, and the output says so.
"""

import argparse
import base64
import contextlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SHOWN_CHARS = 110
# Examples with such a file need such a program; where it is missing they are skipped.
NEEDS = {"go.mod": "go", "app.rb": "ruby"}


class Example:
    """One folder with a function, the events to send and the check of its answers."""

    def __init__(self, folder):
        self.folder, self.name = folder, folder.name
        self.event = json.loads((folder / "event.json").read_text())
        needed = [tool for file, tool in NEEDS.items() if (folder / file).exists()]
        self.missing = next((tool for tool in needed if not shutil.which(tool)), None)
        if (folder / "check.py").exists():
            module = load(folder / "check.py")
            self.cases = module.cases() if hasattr(module, "cases") else [self.event]
            self.check = module.check
        else:
            expected = json.loads((folder / "expect.json").read_text())
            self.cases = [self.event]
            self.check = lambda event, answer: same(answer, expected)


def same(answer, expected):
    assert answer == expected, f"{answer} is not {expected}"


def load(path):
    """A check.py as a module of its own name, without leaving bytecode behind."""
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location(f"check_{path.parent.name.replace('-', '_')}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def examples(names=()):
    """All examples, or those named, in order of name."""
    folders = sorted(path.parent for path in HERE.glob("*/event.json"))
    unknown = set(names) - {folder.name for folder in folders}
    if unknown:
        sys.exit(f"no such example: {', '.join(sorted(unknown))}; there are {', '.join(folder.name for folder in folders)}")
    return [Example(folder) for folder in folders if not names or folder.name in names]


def deploy(neap, example):
    """Makes or updates the function with `neap deploy` and returns its report."""
    done = subprocess.run([neap, "deploy", str(example.folder), "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or f"neap deploy ended with {done.returncode}")
    return json.loads(done.stdout)


class Call:
    """One invocation: the answer, how long the client waited, and what the log says of it."""

    def __init__(self, client, name, event):
        payload = json.dumps(event).encode()
        begun = time.perf_counter()
        reply = client.invoke(FunctionName=name, Payload=payload, LogType="Tail")
        body = reply["Payload"].read()
        self.ms = (time.perf_counter() - begun) * 1000
        self.answer = json.loads(body)
        self.log = base64.b64decode(reply.get("LogResult", "")).decode(errors="replace")
        self.error = reply.get("FunctionError")
        lines = [line for line in self.log.splitlines() if line.startswith("REPORT ")]
        self.report = lines[-1] if lines else ""
        billed = re.search(r"Billed Duration: (\d+) ms", self.report)
        self.billed_ms = int(billed[1]) if billed else None
        self.cold = "Init Duration:" in self.report

    def checked(self, example, event):
        assert self.error is None, f"{self.answer}\n{self.log}"
        example.check(event, self.answer)
        return self


def run(client, neap, example):
    """Deploys and calls one example; raises when something is not as it must be."""
    # A new function is cold at its first call, whatever an earlier run left behind.
    with contextlib.suppress(client.exceptions.ResourceNotFoundException):
        client.delete_function(FunctionName=example.name)
    begun = time.perf_counter()
    deployed = deploy(neap, example)
    deploy_s = time.perf_counter() - begun
    first, *others = example.cases
    cold = Call(client, deployed["function"], first).checked(example, first)
    warm = Call(client, deployed["function"], first).checked(example, first)
    for event in others:
        Call(client, deployed["function"], event).checked(example, event)
    return deployed, deploy_s, cold, warm, 2 + len(others)


def show(example, deployed, deploy_s, cold, warm, calls):
    answer = json.dumps(cold.answer)
    if len(answer) > SHOWN_CHARS:
        answer = f"{answer[:SHOWN_CHARS]}… ({len(answer)} characters)"
    print(f"{example.name}  {deployed['runtime']}  deployed in {deploy_s:.1f} s, {deployed['code_size']:,} bytes")
    print(f"  answer  {answer}")
    print(f"  cold    {cold.ms:8.1f} ms, billed {cold.billed_ms} ms" + ("" if cold.cold else "  (was not cold)"))
    print(f"  warm    {warm.ms:8.1f} ms, billed {warm.billed_ms} ms" + ("  (was cold)" if warm.cold else ""))
    print(f"  log     {' '.join(cold.report.split())}")
    print(f"  checked {calls} answers", flush=True)


def main():
    import boto3
    from botocore.config import Config

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--neap", default=os.environ.get("NEAP", "neap"), help="the neap binary")
    parser.add_argument("examples", nargs="*", help="which; all by default")
    arguments = parser.parse_args()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    client = boto3.client("lambda", region_name=region, config=Config(retries={"max_attempts": 0}, read_timeout=120))
    client.list_functions()  # Opens the connection, so that the first call measures the function.
    failed = []
    for example in examples(arguments.examples):
        if example.missing:
            print(f"{example.name}  skipped: no `{example.missing}` on this machine", flush=True)
            continue
        try:
            show(example, *run(client, arguments.neap, example))
        except (AssertionError, RuntimeError, subprocess.SubprocessError, client.exceptions.ClientError) as error:
            failed.append(example.name)
            print(f"{example.name}  FAILED\n  {error}", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
