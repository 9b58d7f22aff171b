"""Starts Neap, runs every example, and stays up: what `make run` does.

    python demo.py --neap PATH [--data FOLDER] [--listen ADDRESS:PORT]

Needs boto3. Ends with the node, on Ctrl-C or SIGTERM.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent


def await_runtimes(endpoint):
    """At the very first start the SDKs that functions find are installed; without waiting, the first call would wait."""
    told = False
    while True:
        with urllib.request.urlopen(f"{endpoint}/_neap/health", timeout=10) as answer:
            if json.load(answer)["runtimes"] == "ready":
                return
        if not told:
            print("  installing the SDKs of the managed runtimes, once for this data folder …", flush=True)
            told = True
        time.sleep(0.2)


def main():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "neap"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--neap", required=True, help="the neap binary")
    parser.add_argument("--data", default=str(cache / "demo"), help="the node's data folder")
    parser.add_argument("--listen", default="127.0.0.1:4566")
    parser.add_argument("--once", action="store_true", help="end after the examples instead of staying up")
    arguments = parser.parse_args()

    node = subprocess.Popen(
        [arguments.neap, "serve", "--listen", arguments.listen, "--data", arguments.data],
        stdout=subprocess.PIPE, text=True,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        # The node's first line says where it listens.
        line = node.stdout.readline()
        if not line:
            sys.exit(f"neap did not start (exit code {node.wait()})")
        print(line, end="", flush=True)
        shown = subprocess.run([arguments.neap, "credentials", "--data", arguments.data, "--json"],
                               capture_output=True, text=True, check=True)
        keys = json.loads(shown.stdout)
        address = line.split("http://")[1].split()[0]
        environment = {
            "AWS_ENDPOINT_URL": f"http://{address}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": keys["access_key"],
            "AWS_SECRET_ACCESS_KEY": keys["secret_key"],
        }
        await_runtimes(environment["AWS_ENDPOINT_URL"])
        ran = subprocess.run([sys.executable, HERE / "run.py", "--neap", arguments.neap],
                             env={**os.environ, **environment})
        if arguments.once:
            sys.exit(ran.returncode)
        print("\nNeap stays up; Ctrl-C ends it. In another terminal:\n")
        for name, value in environment.items():
            print(f"  export {name}={value}")
        print(f"  {arguments.neap} ls\n", flush=True)
        node.wait()
    except KeyboardInterrupt:
        pass
    finally:
        if node.poll() is None:
            node.terminate()
            node.wait()


if __name__ == "__main__":
    main()
