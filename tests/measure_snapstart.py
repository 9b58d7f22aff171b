"""Cold starts with and without SnapStart in alternating rounds on one node: `python tests/measure_snapstart.py [ROUNDS]`.

Not a test. Prints p50 and p99 of the client's whole request, in milliseconds.
"""

import pathlib
import statistics
import sys
import tempfile
import time

from conftest import ROLE, package, running
from test_java import IMPORTS, compile_to

HELLO = """
public class App implements RequestHandler<Map<String, Object>, String> {
    @Override public String handleRequest(Map<String, Object> event, Context context) { return "hello"; }
}
"""
# What functions do that speak to services: a client with TLS, its authorities, documents.
CLIENTS = """
public class App implements RequestHandler<Map<String, Object>, String> {
    private final java.net.http.HttpClient client = java.net.http.HttpClient.newHttpClient();
    private final Object parser, context, time;
    public App() throws Exception {
        parser = javax.xml.parsers.DocumentBuilderFactory.newInstance().newDocumentBuilder();
        context = javax.net.ssl.SSLContext.getDefault();
        time = java.time.ZonedDateTime.now().format(java.time.format.DateTimeFormatter.RFC_1123_DATE_TIME);
    }
    @Override public String handleRequest(Map<String, Object> event, Context context) { return client.version().name(); }
}
"""
FAST = {"Delay": 0.1, "MaxAttempts": 600}
PYTHON = "import boto3\nCLIENT = boto3.client('sqs')\ndef handler(event, context): return 'hello'"


def java(source, folder):
    return package(compile_to(pathlib.Path(folder), {"sample/App.java": IMPORTS + source}))


def one(client, name, snapped, number):
    """Milliseconds of the first call of a new version."""
    client.update_function_configuration(
        FunctionName=name, Description=str(number), SnapStart={"ApplyOn": "PublishedVersions" if snapped else "None"}
    )
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=FAST)
    version = client.publish_version(FunctionName=name)["Version"]
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version, WaiterConfig=FAST)
    # What was started ahead is at rest.
    time.sleep(0.3)
    began = time.perf_counter()
    client.invoke(FunctionName=name, Qualifier=version, Payload=b"{}")
    took = (time.perf_counter() - began) * 1000
    client.delete_function(FunctionName=name, Qualifier=version)
    return took


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with running() as node, tempfile.TemporaryDirectory() as folder:
        client = node.client("lambda")
        apps = {
            "java17, hello": ("java17", "sample.App", java(HELLO, folder + "/hello")),
            "java17, clients": ("java17", "sample.App", java(CLIENTS, folder + "/clients")),
            "python3.11, boto3": ("python3.11", "app.handler", package({"app.py": PYTHON})),
        }
        print("| first call of a version | p50 ms | p99 ms | with SnapStart p50 ms | p99 ms |\n|---|---|---|---|---|")
        for number, (label, (runtime, handler, code)) in enumerate(apps.items()):
            name = f"measured-{number}"
            client.create_function(
                FunctionName=name, Runtime=runtime, Handler=handler, Role=ROLE, MemorySize=512, Timeout=30,
                Code={"ZipFile": code},
            )  # fmt: skip
            client.get_waiter("function_active_v2").wait(FunctionName=name)
            # What is made once for all is no part of a cold start.
            one(client, name, False, -1), one(client, name, True, -2)
            spans = {False: [], True: []}
            for turn in range(2 * rounds):
                spans[turn % 2 == 1].append(one(client, name, turn % 2 == 1, turn))
            cells = []
            for found in (spans[False], spans[True]):
                found.sort()
                cells += [statistics.median(found), found[min(len(found) - 1, int(len(found) * 0.99))]]
            print(f"| {label} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
