"""What functions cost: by function, day, month and tag, by other prices, beside a machine, and before they ever ran."""

import datetime
import decimal
import json
import signal
import subprocess
import xml.etree.ElementTree

import pytest
from conftest import BINARY, ROLE, eventually, messages, package, running
from test_urls import Url, let_everyone

D = decimal.Decimal
NOTHING = "def handler(e, c): return 1"


def cost(node, *arguments):
    return json.loads(node.neap("cost", "--json", *arguments).stdout)


def by_name(rows, key="name"):
    return {row[key]: row for row in rows}


@pytest.fixture(scope="module")
def used():
    """A node of its own, where two tagged functions and one without a tag have run."""
    with running() as node:
        lam = node.client("lambda")
        for name, memory, tags in [("shop", 128, {"team": "red"}), ("cart", 1024, {"team": "red"}), ("lone", 256, {})]:
            lam.create_function(
                FunctionName=name,
                Runtime="python3.11",
                Handler="app.handler",
                Role=ROLE,
                Code={"ZipFile": package({"app.py": NOTHING})},
                MemorySize=memory,
                Tags=tags,
            )
            lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
            for _ in range(2):
                lam.invoke(FunctionName=name)
        yield node


def test_days_and_functions_sum_to_the_month(used):
    usage = cost(used, "--by", "day")
    assert sorted(by_name(usage["functions"], "function")) == ["cart", "lone", "shop"]
    assert [day["invocations"] for day in usage["days"]] == [6]
    assert usage["days"][0]["day"] == datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    assert all(len(function["days"]) == 1 for function in usage["functions"])
    # There is no provisioned concurrency: nothing is left out.
    assert usage["not_included"] == []
    # Without being asked for, days are not there.
    assert "days" not in cost(used)
    text = used.neap("cost", "--by", "day").stdout
    assert text.startswith("DAY") and usage["days"][0]["day"] in text


def test_months_have_free_tiers_of_their_own(used):
    months = cost(used, "--by", "month", "--months", "3")["months"]
    assert len(months) == 3 and months[2]["books"][0]["requests"] == 6
    assert [month["functions"] for month in months[:2]] == [[], []]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m")
    assert months[2]["month"] == now and now in used.neap("cost", "--by", "month").stdout


def test_costs_by_tag_are_those_of_the_functions(used):
    found = cost(used, "--tag", "team")
    red, none = found["groups"]
    assert (red["value"], sorted(red["functions"]), red["invocations"]) == ("red", ["cart", "shop"], 4)
    assert (none["value"], none["functions"]) == (None, ["lone"])
    functions = by_name(cost(used)["functions"], "function")
    assert red["gb_seconds"] == pytest.approx(functions["cart"]["gb_seconds"] + functions["shop"]["gb_seconds"])
    assert "(none)" in used.neap("cost", "--tag", "team").stdout
    # A function that is gone still cost what it cost; its tags are gone with it.
    lam = used.client("lambda")
    lam.tag_resource(Resource=lam.get_function(FunctionName="lone")["Configuration"]["FunctionArn"], Tags={"team": "blue"})
    assert [group["value"] for group in cost(used, "--tag", "team")["groups"]] == ["blue", "red"]


def test_the_same_usage_by_every_list_of_prices(used):
    usage = cost(used)
    alternatives = by_name(usage["alternatives"])
    assert list(alternatives) == ["aws-x86", "aws-arm", "aws-100ms", "azure", "google", "google-gen1"]
    billed = sum(line["billed_ms"] * line["memory_mb"] for f in usage["functions"] for line in f["lines"])
    x86, arm = alternatives["aws-x86"], alternatives["aws-arm"]
    assert x86["gb_seconds"] == pytest.approx(billed / 1024 / 1000)
    for found, price in [(x86, "0.0000166667"), (arm, "0.0000133334")]:
        exact = 6 * D("0.0000002") + D(billed) / 1024 / 1000 * D(price)
        assert abs(D(found["total_without_free_tier"]) - exact) <= D("0.000000000001")
        assert found["total"] == "0.00" and "break_even" not in found
    assert alternatives["aws-100ms"]["gb_seconds"] >= 6 * 0.1 * 0.125 > 0
    text = used.neap("cost", "--what-if", "--machine-price", "12.50").stdout
    assert "google-gen1" in text and "$ 12.50 a month" in text
    even = cost(used, "--machine-price", "12.50")["alternatives"][0]["break_even"]
    assert even["cheaper"] == "functions" and even["requests"] > 1_000_000


def test_provisioned_concurrency_is_charged_from_its_beginning():
    with running() as node:
        lam = node.client("lambda")
        lam.create_function(
            FunctionName="ready", Runtime="python3.11", Handler="app.handler", Role=ROLE, MemorySize=1024, Publish=True,
            Code={"ZipFile": package({"app.py": NOTHING})}, Tags={"team": "red"},
        )
        lam.get_waiter("published_version_active").wait(FunctionName="ready", Qualifier="1", WaiterConfig={"Delay": 0.1})
        lam.put_provisioned_concurrency_config(FunctionName="ready", Qualifier="1", ProvisionedConcurrentExecutions=2)
        # What is answered is charged, also by a node that is killed at once: the first five minutes of two environments.
        node.kill()
        node.start()
        lam = node.client("lambda")

        def is_ready():
            found = lam.get_provisioned_concurrency_config(FunctionName="ready", Qualifier="1")
            return found["Status"] == "READY"

        eventually(is_ready)
        lam.invoke(FunctionName="ready", Qualifier="1")
        lam.invoke(FunctionName="ready", Qualifier="$LATEST")
        usage = cost(node, "--by", "day")
        [function], aws = usage["functions"], by_name(usage["books"])["aws"]
        lines = by_name(function["lines"], "version")
        # Steps of five minutes: a slow run may see the second begin.
        steps = lines["1"]["reserved_gb_seconds"] / 600
        assert steps in (1, 2) and lines["$LATEST"]["reserved_gb_seconds"] == 0
        assert aws["reserved_cost"] == cents(D(steps) * 600 * D("0.0000041667"))
        on, beyond = lines["1"], lines["$LATEST"]
        assert on["provisioned_gb_seconds"] == on["gb_seconds"] > 0 == beyond["provisioned_gb_seconds"]
        assert aws["provisioned_cost"] == cents(on["billed_ms"] * D("0.0000097222") / 1000)
        # The free tier covers what ran on demand, and the requests.
        assert D(aws["total"]) == D(aws["reserved_cost"]) + D(aws["provisioned_cost"])
        assert D(function["cost"]["aws"]) == D(aws["total"]) == D(usage["days"][0]["cost"]["aws"])
        assert by_name(usage["books"])["azure"]["total"] == "0.00"
        assert "Azure and Google" in usage["not_included"][0]
        assert "provisioned concurrency: " in node.neap("cost").stdout
        for what_if in (node.neap("cost", "--what-if").stdout, node.neap("cost", "--book", "google").stdout):
            assert "Azure and Google" in what_if
        [red] = cost(node, "--tag", "team")["groups"]
        assert red["cost"]["aws"] == aws["total"] and "PROVISIONED" in node.neap("cost", "--by", "month").stdout
        lam.delete_provisioned_concurrency_config(FunctionName="ready", Qualifier="1")
        lam.put_provisioned_concurrency_config(FunctionName="ready", Qualifier="1", ProvisionedConcurrentExecutions=1)
        after = by_name(cost(node)["functions"][0]["lines"], "version")["1"]["reserved_gb_seconds"]
        assert after - 600 * steps in (300, 900)


def cents(amount):
    """As amounts are written: to a trillionth of a dollar, at least two decimals."""
    whole, _, fraction = f"{D(amount):.12f}".partition(".")
    return f"{whole}.{fraction.rstrip('0'):0<2}"


def test_a_load_is_priced_before_it_ever_ran(node):
    def totals(*arguments):
        return {row["name"]: row["total"] for row in cost(node, *arguments)["alternatives"]}

    # The guides' worked case: a million short calls cost nothing.
    assert set(totals("--estimate", "1000000,100,128").values()) == {"0.00"}
    # 3,000,000 × 1 s × 512 MB.
    found = totals("--estimate", "3000000,1000,512")
    assert (found["aws-x86"], found["azure"], found["google"]) == ("18.73337", "18.00", "11.40")
    # Workloads share the free tier.
    assert totals("--estimate", "1500000,1000,512", "--estimate", "1500000,1000,512") == found
    [first, *_] = cost(node, "--estimate", "10,1000,1024", "--machine-price", "30")["alternatives"]
    assert first["break_even"]["requests"] == 2_185_767
    assert "UP TO CALLS/MONTH" in node.neap("cost", "--estimate", "10,1000,1024", "--machine-price", "30").stdout


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--estimate", "1,2"], "three whole numbers"),
        (["--estimate", "1,900001,128"], "duration_ms"),
        (["--estimate", "1,1,127"], "memory_mb"),
        (["--estimate", "1000000000001,1,128"], "requests"),
        (["--machine-price", "1e3"], "machine_price"),
        (["--machine-price=-1"], "machine_price"),
        (["--tag", "team", "--by", "day"], "cannot be used"),
        (["--month", "2026-13"], "month"),
    ],
)
def test_what_cannot_be_priced_is_refused(node, arguments, says):
    done = node.neap("cost", *arguments, check=False)
    assert done.returncode != 0 and says in done.stderr, done.stderr


def test_advice_follows_the_memory_that_was_used(used):
    functions = by_name(cost(used)["functions"], "function")
    line = functions["cart"]["lines"][0]
    assert 0 < line["memory_used_max_bytes"] < 500 * 1024 * 1024
    assert line["advice"]["change"] == "lower" and line["advice"]["memory_mb"] < 1024
    assert D(line["advice"]["saving"]["aws"]) > 0
    # 128 MB is the least there is.
    assert "advice" not in functions["shop"]["lines"][0]
    text = used.neap("cost", "--advice").stdout
    assert "cart" in text and "shop" not in text and "neap tune" in text


WORK = """
import os
def handler(event, context):
    if event.get("fail"):
        raise ValueError("no " + os.environ["WORD"])
    if event.get("large"):
        event["large"] = len(bytearray(150_000_000))
    return os.environ["WORD"]
"""


def copies(lam, name):
    listed = [f["FunctionName"] for page in lam.get_paginator("list_functions").paginate() for f in page["Functions"]]
    return [one for one in listed if one.startswith(f"{name}-tune-")]


def test_a_function_is_tuned_on_a_copy_that_is_removed(node, lam, logs, deploy, tmp_path):
    function = deploy(WORK, MemorySize=200, Environment={"Variables": {"WORD": "hello"}})
    before = lam.get_function_configuration(FunctionName=function.name)
    picture = tmp_path / "tune.svg"
    found = json.loads(
        node.neap("tune", function.name, "--memory", "256,128", "--calls", "3", "--svg", picture, "--json").stdout
    )
    assert [point["memory_mb"] for point in found["points"]] == [128, 256]
    for point in found["points"]:
        assert (point["calls"], point["failures"]) == (3, 0)
        assert point["max_ms"] >= point["median_ms"] > 0 and point["memory_used_mb"] > 0 and point["init_ms"] > 0
        # A millisecond at least, each; the request on top.
        least = D("0.20") + 1000 * D(point["memory_mb"]) / 1024 * D("0.0000166667")
        assert D(point["cost_per_million"]["aws"]) >= least.quantize(D("0.000000000001"), decimal.ROUND_DOWN)
    assert {found["cheapest"], found["fastest"], found["balanced"]} <= {128, 256}
    drawn = xml.etree.ElementTree.parse(picture).getroot()
    assert len(drawn.findall("{http://www.w3.org/2000/svg}circle")) == 4
    after = lam.get_function_configuration(FunctionName=function.name)
    assert after["RevisionId"] == before["RevisionId"] and after["MemorySize"] == 200
    assert copies(lam, function.name) == []
    groups = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{function.name}")["logGroups"]
    assert [group["logGroupName"] for group in groups if "-tune-" in group["logGroupName"]] == []
    # The calls were real and are counted as such.
    [made] = [f for f in cost(node)["functions"] if f["function"].startswith(f"{function.name}-tune-")]
    assert made["invocations"] == 2 * (3 + 1)


def test_a_size_that_is_too_small_is_told_and_the_others_measured(node, lam, deploy):
    function = deploy(WORK, Environment={"Variables": {"WORD": "x"}}, Timeout=10)
    done = node.neap("tune", function.name, "--payload", '{"large": true}', "--memory", "128,512", "--calls", "2", "--json")
    small, large = json.loads(done.stdout)["points"]
    assert small["failures"] == 3 and "calls" not in small
    assert large["failures"] == 0 and large["memory_used_mb"] >= 140
    assert copies(lam, function.name) == []


def test_a_function_that_fails_cannot_be_tuned(node, lam, deploy):
    function = deploy(WORK, Environment={"Variables": {"WORD": "luck"}})
    done = node.neap("tune", function.name, "--payload", '{"fail": 1}', "--memory", "128", "--calls", "1", check=False)
    assert done.returncode != 0 and "no luck" in done.stderr and copies(lam, function.name) == []
    gone = node.neap("tune", "t-none", check=False)
    assert gone.returncode != 0 and "Function not found" in gone.stderr
    for bad in (["--memory", "127"], ["--calls", "0"], ["--payload", "{"]):
        assert node.neap("tune", function.name, *bad, check=False).returncode != 0, bad
    assert copies(lam, function.name) == []


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_tuning_leaves_nothing(node, lam, deploy, end):
    function = deploy("import time\ndef handler(e, c): time.sleep(20)", Timeout=60)
    process = subprocess.Popen(
        [BINARY, "tune", function.name, "--memory", "128"],
        env=node.aws_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    eventually(lambda: copies(lam, function.name))
    process.send_signal(end)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and b"interrupted" in said
    assert copies(lam, function.name) == []


def throttled(lam, name, **options):
    """The refusal of an invocation, or nothing."""
    try:
        lam.invoke(FunctionName=name, **options)
    except lam.exceptions.TooManyRequestsException as refused:
        return refused.response
    return None


def budgets(node):
    return by_name(json.loads(node.neap("budget", "ls", "--json").stdout)["budgets"])


def events_of(node, group):
    return messages(node.client("logs"), group)


def test_a_spent_budget_stops_its_function_and_still_does_after_a_restart(tmp_path):
    def start():
        return running(data=tmp_path / "node")

    with start() as node:
        lam = node.client("lambda")
        for name in ("dear", "other", "teller"):
            code = "def handler(e, c):\n    print('told', e)\n    return 1"
            lam.create_function(
                FunctionName=name, Runtime="python3.11", Handler="app.handler", Role=ROLE,
                Code={"ZipFile": package({"app.py": code})},
            )
            lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
        arn = lam.get_function(FunctionName="teller")["Configuration"]["FunctionArn"]
        made = json.loads(
            node.neap(
                "budget", "set", "tiny", "--amount", "0.0000001", "--function", "dear", "--no-free-tier", "--cap",
                "--alert", "50,100", "--notify", arn, "--json",
            ).stdout
        )
        assert (made["spent"], made["percent"], made["capped"], made["reached"]) == ("0.00", 0, False, [])
        assert throttled(lam, "dear") is None
        refused = eventually(lambda: throttled(lam, "dear"))
        assert refused["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert "the budget tiny of $ 0.0000001 a month is spent" in refused["Error"]["Message"], refused
        assert refused["Reason"] == "BudgetSpent"
        # However it is invoked: what would not run is not accepted.
        assert throttled(lam, "dear", InvocationType="Event")["Reason"] == "BudgetSpent"
        assert throttled(lam, "dear", Qualifier="$LATEST")["Reason"] == "BudgetSpent"
        with pytest.raises(lam.exceptions.TooManyRequestsException, match="budget tiny"):
            lam.invoke_with_response_stream(FunctionName="dear")
        made = lam.create_function_url_config(FunctionName="dear", AuthType="NONE")
        let_everyone(lam, "dear")
        answer = Url(node, made["FunctionUrl"])()
        assert answer.status_code == 429 and answer.json()["Reason"] == "BudgetSpent"
        assert "budget tiny" in answer.json()["message"]
        assert lam.invoke(FunctionName="dear", InvocationType="DryRun")["StatusCode"] == 204
        assert throttled(lam, "other") is None
        state = budgets(node)["tiny"]
        assert state["capped"] and state["reached"] == [50, 100] and D(state["spent"]) > D("0.0000002")
        # Each percentage is told once: by an event, and by an invocation.

        def events(group):
            return [text for text in events_of(node, group) if "threshold_percent" in text]

        eventually(lambda: len(events("/aws/lambda/teller")) == 2)
        told = [json.loads(text) for text in events("/neap/budgets")]
        assert sorted(one["threshold_percent"] for one in told) == [50, 100]
        assert told[0]["budget"] == "tiny" and told[0]["function"] == "dear"
        shown = node.neap("cost")
        assert "budget tiny: function dear has used" in shown.stderr and "refused" in shown.stderr
        assert "stopped" in node.neap("budget", "ls").stdout
        node.kill()
    with start() as node:
        lam = node.client("lambda")
        assert throttled(lam, "dear")["Reason"] == "BudgetSpent"
        assert len(events_of(node, "/neap/budgets")) == 2
        # A larger amount lets it run again, at once; so does no budget.
        node.neap("budget", "set", "tiny", "--amount", "1", "--function", "dear", "--no-free-tier", "--cap")
        assert throttled(lam, "dear") is None
        node.neap("budget", "set", "tiny", "--amount", "0.0000001", "--function", "dear", "--no-free-tier", "--cap")
        assert throttled(lam, "dear")["Reason"] == "BudgetSpent"
        node.neap("budget", "rm", "tiny")
        assert throttled(lam, "dear") is None
        # The whole account, but for whom it tells.
        node.neap("budget", "set", "all", "--amount", "0.0000001", "--no-free-tier", "--cap", "--notify", arn)
        assert throttled(lam, "other")["Reason"] == throttled(lam, "dear")["Reason"] == "BudgetSpent"
        assert throttled(lam, "teller") is None


def test_a_budget_without_cap_only_tells(node, lam, deploy):
    function = deploy(NOTHING)
    name = function.name
    node.neap("budget", "set", name, "--amount", "0.0000001", "--function", name, "--no-free-tier", "--alert", "100")
    function.invoke()
    eventually(lambda: any(name in text for text in events_of(node, "/neap/budgets")))
    assert function.invoke()["StatusCode"] == 200
    state = budgets(node)[name]
    assert not state["capped"] and state["reached"] == [100] and state["percent"] > 100
    # Within the free tier nothing is spent.
    node.neap("budget", "set", name, "--amount", "0.0000001", "--function", name, "--cap")
    assert budgets(node)[name]["spent"] == "0.00" and function.invoke()["StatusCode"] == 200
    node.neap("budget", "rm", name)
    gone = node.neap("budget", "rm", name, check=False)
    assert gone.returncode != 0 and "does not exist" in gone.stderr


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["b", "--amount", "0"], "amount"),
        (["b", "--amount", "five"], "amount"),
        (["b", "--amount", "0.0000000000001"], "amount"),
        (["a b", "--amount", "1"], "name"),
        (["b" * 65, "--amount", "1"], "name"),
        (["b", "--amount", "1", "--alert", "0"], "alert"),
        (["b", "--amount", "1", "--alert", ",".join(str(n) for n in range(1, 12))], "alerts"),
        (["b", "--amount", "1", "--book", "ibm"], "book"),
        (["b", "--amount", "1", "--notify", "teller"], "notify"),
        (["b", "--amount", "1", "--notify", "arn:aws:sqs:us-east-1:000000000000:q"], "notify"),
        (["b", "--amount", "1", "--notify", "arn:aws:lambda:us-east-1:111111111111:function:f"], "notify"),
        (["b", "--amount", "1", "--function", "no!"], "function"),
    ],
)
def test_a_malformed_budget_is_refused(node, arguments, says):
    done = node.neap("budget", "set", *arguments, check=False)
    assert done.returncode != 0 and says in done.stderr, done.stderr
    assert "b" not in budgets(node)
