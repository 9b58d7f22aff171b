"""Programs in Go as functions of `provided.al2023`: built and deployed by `neap deploy`."""

import json
import pathlib
import shutil
import time

import pytest
from conftest import Function, eventually, messages

pytestmark = pytest.mark.skipif(not shutil.which("go"), reason="no Go on this host")

RUNTIME = pathlib.Path(__file__).parent.parent / "examples" / "hello-go" / "runtime.go"
MAIN = """
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
)

var calls int

func handle(ctx context.Context, how string) (map[string]any, error) {
	switch how {
	case "fail":
		return nil, errors.New("as asked")
	case "panic":
		panic("as asked")
	case "exit":
		os.Exit(3)
	case "large":
		return map[string]any{"text": strings.Repeat("x", 7_000_000)}, nil
	}
	calls++
	var group sync.WaitGroup
	var lock sync.Mutex
	sum := 0
	for n := 0; n < 1000; n++ {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			runtime.Gosched()
			lock.Lock()
			sum += n
			lock.Unlock()
		}(n)
	}
	group.Wait()
	runtime.GC()
	fmt.Println("a line of", how)
	deadline, _ := ctx.Deadline()
	return map[string]any{
		"calls": calls, "sum": sum, "id": ctx.Value(requestID{}), "left": time.Until(deadline).Milliseconds(),
		"trace": os.Getenv("_X_AMZN_TRACE_ID"), "handler": os.Getenv("_HANDLER"), "os": runtime.GOOS,
	}, nil
}

func main() {
	log.Fatal(serve(handle))
}
"""


@pytest.fixture
def module(tmp_path):
    folder = tmp_path / f"go-{time.time_ns()}"
    folder.mkdir()
    (folder / "go.mod").write_text("module example/tested\n\ngo 1.19\n")
    (folder / "main.go").write_text(MAIN)
    (folder / "runtime.go").write_text(RUNTIME.read_text())
    return folder


@pytest.mark.timeout(300)
def test_a_go_module_is_built_deployed_and_served(node, lam, logs, module):
    report = json.loads(node.neap("deploy", module, "--timeout", "2", "--json").stdout)
    assert report["runtime"] == "provided.al2023"
    function = Function(lam, module.name, lam.get_function_configuration(FunctionName=module.name))
    try:
        reply = function.invoke("one")
        body = reply["Body"]
        assert (body["calls"], body["sum"], body["os"]) == (1, 499_500, "linux")
        assert body["id"] == reply["ResponseMetadata"]["RequestId"] and 0 < body["left"] <= 2000
        assert body["trace"].startswith("Root=1-") and body["handler"] == "bootstrap"
        eventually(lambda: "a line of one" in messages(logs, f"/aws/lambda/{function.name}"))

        def told(how):
            reply = function.invoke(how)
            assert reply["FunctionError"] == "Unhandled", reply["Body"]
            return reply["Body"]["errorType"], reply["Body"]["errorMessage"]

        assert told("fail") == ("*errors.errorString", "as asked")
        assert told(7)[0] == "*json.UnmarshalTypeError"
        assert told("large")[0] == "Function.ResponseSizeTooLarge"
        assert function("two")["calls"] == 2, "none of these ended the process"
        assert told("panic") == ("string", "as asked")
        assert function("three")["calls"] == 1, "a panic does"
        assert told("exit")[0] == "Runtime.ExitError"
    finally:
        node.neap("rm", module.name)


@pytest.mark.timeout(300)
def test_what_go_refuses_is_shown_and_nothing_is_deployed(node, lam, module):
    (module / "main.go").write_text("package main\n\nfunc main() { nonsense() }\n")
    done = node.neap("deploy", module, check=False)
    assert done.returncode != 0 and "undefined: nonsense" in done.stderr
    (module / "runtime.go").unlink()
    (module / "main.go").write_text("package library\n")
    done = node.neap("deploy", module, check=False)
    assert done.returncode != 0 and "package main" in done.stderr
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.get_function(FunctionName=module.name)
    command = module / "cmd" / "api"
    command.mkdir(parents=True)
    (command / "main.go").write_text(MAIN)
    (command / "runtime.go").write_text(RUNTIME.read_text())
    (module / "neap.toml").write_text('binary = "api"\n')
    node.neap("deploy", module)
    assert json.loads(node.neap("invoke", module.name, '"x"').stdout)["calls"] == 1
    node.neap("rm", module.name)
