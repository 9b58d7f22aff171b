"""Functions in Ruby: handlers, answers, errors, logs, gems and layers, as Lambda's runtime has them."""

import base64
import json
import re
import shutil
import subprocess

import pytest
from conftest import by_url, eventually, messages, package, root

KNOWN = ("3.1", "3.2", "3.3", "3.4", "4.0")


def installed():
    """The version of this host's Ruby, e.g. 3.1, where there is one that runs functions."""
    if not shutil.which("ruby"):
        return None
    version = subprocess.run(["ruby", "-e", "print RUBY_VERSION[/\\d+\\.\\d+/]"], capture_output=True, text=True).stdout
    return version if version in KNOWN else None


VERSION = installed()
RUNTIME = f"ruby{VERSION}"
needs_ruby = pytest.mark.skipif(not VERSION, reason=f"no Ruby of {', '.join(KNOWN)} on this host")


@pytest.fixture
def ruby(deploy):
    def ruby(source, handler="app.handler", **options):
        files = source if isinstance(source, dict) else {"app.rb": source}
        return deploy(files, runtime=RUNTIME, handler=handler, **options)

    return ruby


def tail(reply):
    return base64.b64decode(reply["LogResult"]).decode()


def told(reply):
    assert reply["FunctionError"] == "Unhandled", reply["Body"]
    return reply["Body"]["errorType"], reply["Body"]["errorMessage"]


CONTEXT = """
def handler(event:, context:)
  { event: event, name: context.function_name, version: context.function_version, arn: context.invoked_function_arn,
    memory: context.memory_limit_in_mb, id: context.aws_request_id, group: context.log_group_name,
    stream: context.log_stream_name, left: context.get_remaining_time_in_millis, deadline: context.deadline_ms,
    now: (Time.now.to_f * 1000).to_i, client: context.client_context, identity: context.identity,
    tenant: context.tenant_id, trace: ENV["_X_AMZN_TRACE_ID"], environment: ENV["AWS_EXECUTION_ENV"],
    encoding: [Encoding.default_external.name, __ENCODING__.name], where: [Dir.pwd, __FILE__] }
end
"""


@needs_ruby
def test_the_handler_receives_the_event_and_lambdas_context(ruby):
    function = ruby(CONTEXT, MemorySize=192, Timeout=9)
    client = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    reply = function.invoke({"a": [1, "ü", None, 1.5]}, ClientContext=client)
    body = reply["Body"]
    assert body["event"] == {"a": [1, "ü", None, 1.5]}
    assert body["name"] == function.name and body["version"] == "$LATEST" and body["arn"] == function.arn
    assert body["memory"] == "192" and body["group"] == f"/aws/lambda/{function.name}"
    assert body["id"] == reply["ResponseMetadata"]["RequestId"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", body["stream"])
    assert 0 < body["left"] <= 9000 and body["now"] < body["deadline"] <= body["now"] + 9000
    assert body["client"] == {"custom": {"k": "v"}} and body["identity"] is None and body["tenant"] is None
    assert body["trace"].startswith("Root=1-") and body["environment"] == f"AWS_Lambda_{RUNTIME}"
    assert body["encoding"] == ["UTF-8", "UTF-8"] and body["where"] == ["/var/task", "/var/task/app.rb"]
    assert function.invoke()["Body"]["client"] is None


@needs_ruby
@pytest.mark.parametrize(
    "handler, file, source",
    [
        ("app.Greeter.call", "app.rb", "class Greeter\n  def self.call(event:, context:) = event['n'] + 1\nend"),
        ("app.Deep::Inner.call", "app.rb", "module Deep; module Inner; def self.call(event:, context:) = event['n'] + 1; end; end"),
        ("lib/deep/app.run", "lib/deep/app.rb", "def run(event:, context:) = event['n'] + 1"),
        ("app.any", "app.rb", "def any(all) = all[:event]['n'] + 1"),
        ("app.rest", "app.rb", "def rest(event:, **) = event['n'] + 1"),
    ],
)
def test_handlers_of_each_form_answer(ruby, handler, file, source):
    assert ruby({file: source}, handler=handler)({"n": 1}) == 2


ANSWERS = """
Point = Struct.new(:x)
class Money; def to_json(*args) = { cents: 5 }.to_json(*args); end
def handler(event:, context:)
  case event
  when "string" then "tëxt"
  when "nil" then nil
  when "array" then [1, :two, nil, true]
  when "symbols" then { a: { b: Point.new(1).x } }
  when "own" then Money.new
  when "object" then 10**30
  when "io" then StringIO.new('{"raw": [1,  2]}')
  when "nan" then 0.0 / 0
  when "bytes" then "\\xff".b
  when "large" then "x" * 7_000_000
  else event
  end
end
"""


@needs_ruby
def test_what_a_handler_returns_becomes_json(ruby, lam):
    function = ruby(ANSWERS, MemorySize=512)
    expected = {
        "string": "tëxt", "nil": None, "array": [1, "two", None, True], "symbols": {"a": {"b": 1}},
        "own": {"cents": 5}, "object": 10**30, "io": {"raw": [1, 2]}, "other": "other",
    }  # fmt: skip
    for asked, answer in expected.items():
        assert function(asked) == answer
    for event in (None, 7, [], {"deep": {"er": [{}]}}, "ü" * 100_000, {"k": "x" * 5_000_000}):
        assert function(event) == event
    # A body that is read from is passed on as it is.
    assert lam.invoke(FunctionName=function.name, Payload=b'"io"')["Payload"].read() == b'{"raw": [1,  2]}'
    kind, text = told(function.invoke("nan"))
    assert kind == "Function<JSON::GeneratorError>" and "NaN" in text
    assert told(function.invoke("bytes"))[0] in ("Function<JSON::GeneratorError>", "Function<Encoding::UndefinedConversionError>")
    kind, text = told(function.invoke("large"))
    assert kind == "Function.ResponseSizeTooLarge" and "6291556" in text
    assert function("string") == "tëxt"


@needs_ruby
@pytest.mark.parametrize(
    "files, handler, kind, text",
    [
        ({"app.rb": "x = 1"}, "app", "Init<ArgumentError>", "FILE.METHOD"),
        ({"app.rb": "x = 1"}, "a.b.c.d", "Init<ArgumentError>", "FILE.CLASS.METHOD"),
        ({"other.rb": "x = 1"}, "app.handler", "Init<LoadError>", "cannot load such file -- app"),
        ({"app.rb": "require 'nonexistent_gem'"}, "app.handler", "Init<LoadError>", "nonexistent_gem"),
        ({"app.rb": "def handler(:"}, "app.handler", "Init<SyntaxError>", "yntax"),
        ({"app.rb": "raise 'at load'"}, "app.handler", "Init<RuntimeError>", "at load"),
        ({"app.rb": "exit 3"}, "app.handler", "Init<SystemExit>", "exit"),
        ({"app.rb": "gem 'nonexistent_gem'"}, "app.handler", "Init<Gem::MissingSpecError>", "nonexistent_gem"),
        ({"app.rb": "x = 1"}, "app.handler", "Function<NoMethodError>", "handler"),
        ({"app.rb": "x = 1"}, "app.Absent.handler", "Function<NameError>", "Absent"),
        ({"app.rb": "def handler(event, context); end"}, "app.handler", "Function<ArgumentError>", "given 1, expected 2"),
        ({"app.rb": "def handler(event:); end"}, "app.handler", "Function<ArgumentError>", "context"),
    ],
)  # fmt: skip
def test_what_cannot_be_called_is_named_as_on_lambda(ruby, files, handler, kind, text):
    function = ruby(files, handler=handler)
    for _ in range(2):
        got, message = told(function.invoke())
        assert got == kind and text in message


ERRORS = """
START = Process.clock_gettime(Process::CLOCK_MONOTONIC)
class Odd < StandardError; end
def inner(text) = raise(Odd, text)
def deeper(n) = deeper(n + 1) + 1
def handler(event:, context:)
  case event
  when "raise" then inner("no wäy")
  when "bytes" then inner("\\xff\\xfe")
  when "name" then no_such_name
  when "exit" then exit 3
  when "exit!" then exit! 3
  when "abort" then abort "at once"
  when "stack" then deeper(0)
  when "signal" then Process.kill("KILL", Process.pid)
  when "interrupt" then raise Interrupt
  else START
  end
end
"""


@needs_ruby
def test_errors_have_lambdas_shape_and_the_environment_serves_on(ruby):
    function = ruby(ERRORS)
    born = function()
    reply = function.invoke("raise", LogType="Tail")
    assert reply["StatusCode"] == 200 and told(reply) == ("Function<Odd>", "no wäy")
    trace = reply["Body"]["stackTrace"]
    assert "app.rb:4" in trace[0] and "inner" in trace[0] and len(trace) == 2 and "handler" in trace[1]
    log = tail(reply)
    assert "Error raised from handler method" in log and '"errorType": "Function<Odd>"' in log
    assert told(function.invoke("bytes")) == ("Function<Odd>", "\ufffd\ufffd")
    assert function() == born


@needs_ruby
@pytest.mark.parametrize(
    "how, kind",
    [
        ("name", "Function<NameError>"),
        ("exit", "Function<SystemExit>"),
        ("abort", "Function<SystemExit>"),
        ("stack", "Function<SystemStackError>"),
        ("interrupt", "Function<Interrupt>"),
        ("exit!", "Runtime.ExitError"),
        ("signal", "Runtime.ExitError"),
    ],
)
def test_what_is_no_ordinary_error_ends_the_environment(ruby, how, kind):
    function = ruby(ERRORS)
    born = function()
    assert told(function.invoke(how))[0] == kind
    assert function() > born


@needs_ruby
def test_an_event_too_deep_for_rubys_parser_is_an_error_of_its_own(ruby, lam):
    function = ruby("def handler(event:, context:) = $$")
    pid = function()
    reply = lam.invoke(FunctionName=function.name, Payload=b"[" * 120 + b"]" * 120)
    assert reply["FunctionError"] == "Unhandled"
    assert json.loads(reply["Payload"].read())["errorType"] == "Runtime<JSON::NestingError>"
    assert function() == pid


@needs_ruby
def test_time_and_memory_are_limited(ruby):
    function = ruby(
        """
        def handler(event:, context:)
          sleep if event == "sleep"
          loop { ($held ||= []) << "x" * 10_000_000 } if event == "eat"
          "fine"
        end
        """,
        Timeout=2,
    )
    reply = function.invoke("sleep")
    assert reply["FunctionError"] == "Unhandled" and "Task timed out after 2.00 seconds" in json.dumps(reply["Body"])
    assert function() == "fine"
    assert told(function.invoke("eat"))[0] in ("Runtime.OutOfMemory", "Runtime.ExitError", "Function<NoMemoryError>")
    assert function() == "fine"


@needs_ruby
def test_an_environment_keeps_what_the_file_and_the_handler_set(ruby):
    function = ruby("$calls = 0\ndef handler(event:, context:) = [$calls += 1, @calls = @calls.to_i + 1, $$]")
    first, second = function(), function()
    assert first == [1, 1, first[2]] and second == [2, 2, first[2]]


PRINTING = r"""
require "open3"
LOGGER = Logger.new($stdout, progname: "shop")
puts "loading"
def handler(event:, context:)
  puts "one", "two"
  puts
  print "half "
  puts "line"
  $stdout.puts "plain"
  $stderr.puts "to stderr"
  warn "a warning"
  system "echo from a child; echo and its errors >&2"
  LOGGER.info("of two\nlines")
  LOGGER.debug { "shown" }
  print "cut"
  LOGGER.error("after a cut")
  Thread.new { puts "in a thread" }.join
  nil
end
"""


@needs_ruby
def test_everything_printed_is_logged_line_by_line(ruby, logs):
    function = ruby(PRINTING)
    reply = function.invoke(LogType="Tail")
    assert reply["Body"] is None
    group, identity = f"/aws/lambda/{function.name}", reply["ResponseMetadata"]["RequestId"]
    lines = eventually(lambda: (found := messages(logs, group)) and any("REPORT" in one for one in found) and found)
    lines = [line.rstrip("\n") for line in lines]
    begin, end = (next(n for n, line in enumerate(lines) if line.startswith(word)) for word in ("START", "END"))
    assert "loading" in lines[:begin]
    printed = lines[begin + 1 : end]
    assert printed[:8] == [
        "one\ntwo", "", "half line", "plain", "to stderr", "a warning", "from a child", "and its errors",
    ]  # fmt: skip
    logger = rf"I, \[[0-9T:.-]+ #\d+\]  INFO {identity} -- shop: of two\nlines"
    assert re.fullmatch(logger, printed[8]), printed[8]
    assert printed[9].startswith("D, [") and printed[9].endswith("-- shop: shown")
    # A line has the time at which it is read, a record that at which it was written: they are told in the order of their times.
    assert "cut" in printed[10:12] and any(line.endswith(": after a cut") for line in printed[10:12])
    assert printed[12:] == ["in a thread"]


JSON_PRINTING = """
LOGGER = Logger.new($stderr, progname: "shop")
def handler(event:, context:)
  LOGGER.info("hidden")
  LOGGER.warn("shöwn\\ntwice")
  begin
    raise ArgumentError, "caught"
  rescue => error
    LOGGER.error(error)
  end
  Logger.new($stdout, level: :debug).debug({ a: 1 })
  puts "plain"
  raise "at last" if event
end
"""


@needs_ruby
def test_loggers_write_json_where_the_function_asks_for_it(ruby, logs):
    function = ruby(
        JSON_PRINTING,
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "WARN"},
    )
    reply = function.invoke(True)
    identity = reply["ResponseMetadata"]["RequestId"]
    group = f"/aws/lambda/{function.name}"
    found = eventually(lambda: (all := messages(logs, group)) and any("at last" in one for one in all) and all)
    assert "plain" in [line.rstrip("\n") for line in found]
    records = [record for line in found if line.startswith("{") and "level" in (record := json.loads(line))]
    warned, caught, inspected, failed = records
    assert (warned["level"], warned["message"], warned["logger"]) == ("WARN", "shöwn\ntwice", "shop")
    assert warned["requestId"] == identity and re.fullmatch(r"[0-9-]{10}T[0-9:]{8}\.\d{6}Z", warned["timestamp"])
    assert (caught["errorType"], caught["errorMessage"]) == ("ArgumentError", "caught")
    assert "/var/task/app.rb:7" in caught["stackTrace"][0] and caught["location"] == caught["stackTrace"][0]
    assert inspected["level"] == "DEBUG" and "1" in inspected["message"]
    assert (failed["level"], failed["errorType"]) == ("ERROR", "Function<RuntimeError>")
    assert failed["errorMessage"] == "at last" and failed["requestId"] == identity


def gem(name, root, text):
    """The files of an installed gem."""
    return {
        f"{root}/gems/{name}-1.0.0/lib/{name}.rb": text,
        f"{root}/specifications/{name}-1.0.0.gemspec": f"""
        Gem::Specification.new do |s|
          s.name, s.version, s.summary, s.authors = "{name}", "1.0.0", "a test", ["nobody"]
          s.require_paths = ["lib"]
          s.installed_by_version = "3.3.15"
        end
        """,
    }


USING = """
require "packed"
require "layered"
require "of_library"
require "rexml/document"
def handler(event:, context:)
  require "set"
  [Packed::NAME, Layered::NAME, OF_LIBRARY, Gem.loaded_specs.keys & %w[packed layered],
   Gem::Version.new("1.10") > Gem::Version.new("1.9"), REXML::Document.new("<a/>").root.name,
   Gem.path.first(2), $LOAD_PATH.include?("/opt/ruby/lib")]
end
"""


@needs_ruby
def test_gems_of_the_package_and_of_layers_are_found(ruby, lam):
    abi = f"{VERSION}.0"
    files = {"app.rb": USING, **gem("packed", f"vendor/bundle/ruby/{abi}", "module Packed; NAME = 'packed'; end")}
    layer = {
        **gem("layered", f"ruby/gems/{abi}", "module Layered; NAME = 'layered'; end"),
        "ruby/lib/of_library.rb": "OF_LIBRARY = 'library'",
    }
    published = lam.publish_layer_version(
        LayerName="ruby-gems", Content={"ZipFile": package(layer)}, CompatibleRuntimes=[RUNTIME]
    )
    try:
        found = ruby(files, Layers=[published["LayerVersionArn"]])()
        assert found[:6] == ["packed", "layered", "library", ["packed", "layered"], True, "a"]
        assert sorted(found[6]) == sorted([f"/var/task/vendor/bundle/ruby/{abi}", f"/opt/ruby/gems/{abi}"])
        assert found[7] is True
        kind, text = told(ruby(files).invoke())
        assert kind == "Init<LoadError>" and "layered" in text
    finally:
        lam.delete_layer_version(LayerName="ruby-gems", VersionNumber=published["Version"])


@needs_ruby
def test_bundler_sets_up_the_packages_own_gems(ruby):
    if subprocess.run(["ruby", "-rbundler", "-e", "1"], capture_output=True).returncode != 0:
        pytest.skip("this Ruby has no Bundler")
    lock = "GEM\n  remote: https://gems.example/\n  specs:\n    packed (1.0.0)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  packed\n"
    function = ruby(
        {
            "Gemfile": "source 'https://gems.example/'\ngem 'packed'\n",
            "Gemfile.lock": lock,
            "app.rb": "require 'bundler/setup'\nrequire 'packed'\ndef handler(event:, context:) = Packed::NAME",
            **gem("packed", f"vendor/bundle/ruby/{VERSION}.0", "module Packed; NAME = 'packed'; end"),
        },
        Timeout=20,
        MemorySize=512,
    )
    assert function() == "packed"


@needs_ruby
def test_the_standard_library_is_there_and_gems_start_when_they_are_asked_for(ruby):
    function = ruby(
        """
        require "openssl"; require "digest"; require "socket"; require "yaml"; require "zlib"; require "securerandom"
        def handler(event:, context:)
          before = $LOADED_FEATURES.any? { |file| file.end_with?("/rubygems.rb") }
          Gem::VERSION
          after = $LOADED_FEATURES.any? { |file| file.end_with?("/rubygems.rb") }
          [before, after, Digest::SHA256.hexdigest("").slice(0, 8), YAML.load("a: [1]"), Net::HTTP.name, URI("http://x/y").path,
           OpenSSL::Cipher.new("aes-256-gcm").name, "ä".encode("UTF-16LE").bytesize, `ruby -e 'puts RUBY_VERSION'`,
           Dir.children("/var/runtime").sort, Time.now.utc_offset]
        end
        """,
        MemorySize=512,
        Timeout=20,
    )
    found = function()
    assert found[:3] == [False, True, "e3b0c442"] and found[3] == {"a": [1]}
    assert found[4:8] == ["Net::HTTP", "/y", "id-aes256-GCM", 2] or found[6].lower().endswith("gcm")
    assert found[8].startswith(VERSION) and found[9] == ["bootstrap.rb", "lib"] and found[10] == 0


@needs_ruby
def test_names_of_the_functions_own_files_do_not_break_the_runtime(ruby):
    function = ruby({"app.rb": "def handler(event:, context:) = { ok: true }", "json.rb": "raise 'mine'", "logger.rb": "raise 'mine'"})
    assert function() == {"ok": True}


@needs_ruby
def test_a_function_may_replace_lambdas_marshaller(ruby):
    function = ruby(
        """
        class AwsLambda::Marshaller
          def self.marshall_request(raw) = [raw["Content-Type"], raw["Lambda-Runtime-Aws-Request-Id"], raw.body]
          def self.marshall_response(answer) = { answer: answer }.to_json
        end
        def handler(event:, context:) = event + [context.aws_request_id]
        """
    )
    answer = function({"a": 1})["answer"]
    assert answer[0] == "application/json" and answer[1] == answer[3] and json.loads(answer[2]) == {"a": 1}


@needs_ruby
def test_an_answer_arrives_whole_where_a_stream_is_asked_for(ruby, lam):
    # Lambda's Ruby has no streaming handlers: the answer is one piece.
    function = ruby("def handler(event:, context:) = { n: event * 2 }")
    reply = lam.invoke_with_response_stream(FunctionName=function.name, Payload=b"21")
    events = list(reply["EventStream"])
    assert b"".join(event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event) == b'{"n":42}'
    assert "ErrorCode" not in events[-1]["InvokeComplete"]


@needs_ruby
def test_the_channel_and_its_secrets_are_not_inherited(ruby):
    function = ruby(
        """
        def handler(event:, context:)
          child = IO.popen("ls /proc/self/fd; env", &:read)
          [child.lines.grep(/^3$/).size, ENV.key?("_LAMBDA_TELEMETRY_LOG_FD"), child.include?("_NEAP_"), `id -u`.to_i > 0]
        end
        """
    )
    # `ls` itself opens the folder that it lists as descriptor 3.
    open_in_child, telemetry, own, unprivileged = function()
    assert open_in_child == 1 and not telemetry and not own and unprivileged


@needs_ruby
def test_versions_are_served_by_themselves_or_newer_ones_only(lam, deploy):
    source = {"app.rb": "def handler(event:, context:) = [RUBY_VERSION, ENV['GEM_PATH'].split(':')]"}
    for known in (known for known in KNOWN if known <= VERSION):
        version, gems = deploy(source, runtime=f"ruby{known}")()
        assert version.startswith(VERSION)
        assert {f"/opt/ruby/gems/{known}.0", f"/opt/ruby/gems/{VERSION}.0"} <= set(gems)
    for known in ["2.7", *(known for known in KNOWN if known > VERSION)]:
        with pytest.raises(lam.exceptions.InvalidParameterValueException, match=f"ruby{known}"):
            lam.create_function(
                FunctionName="never", Runtime=f"ruby{known}", Handler="app.handler",
                Role="arn:aws:iam::000000000000:role/tests", Code={"ZipFile": package({"app.rb": "1"})},
            )  # fmt: skip


@needs_ruby
def test_a_tenant_is_told_and_its_variable_is_not_left(ruby, lam):
    function = ruby(
        "def handler(event:, context:) = [context.tenant_id, ENV.keys.grep(/TENANT/)]",
        TenancyConfig={"TenantIsolationMode": "PER_TENANT"},
    )
    for tenant in ("blue", "red"):
        reply = lam.invoke(FunctionName=function.name, TenantId=tenant, Payload=b"{}")
        assert json.loads(reply["Payload"].read()) == [tenant, []]


FOLLOWER = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
id=$(curl -sS -D - -o /dev/null -H 'Lambda-Extension-Name: follower' -d '{"events": ["INVOKE", "SHUTDOWN"]}' \\
  "$api/register" | sed -n 's/^[Ll]ambda-[Ee]xtension-[Ii]dentifier: *//p' | tr -d '\\r')
while event=$(curl -sS -H "Lambda-Extension-Identifier: $id" "$api/event/next"); do
  case "$event" in *SHUTDOWN*) exit 0;; esac
done
"""


@needs_ruby
@root
def test_what_is_to_run_at_exit_runs_when_the_environment_is_asked_to_end(ruby, lam, logs):
    layer = {"extensions/follower": (0o100755, FOLLOWER)}
    published = lam.publish_layer_version(LayerName="ruby-follower", Content={"ZipFile": package(layer)})
    try:
        function = ruby(
            "at_exit { puts 'at the end' }\ndef handler(event:, context:) = 1", Layers=[published["LayerVersionArn"]]
        )
        assert function() == 1
        lam.delete_function(FunctionName=function.name)
        eventually(lambda: any("at the end" in line for line in messages(logs, f"/aws/lambda/{function.name}")))
    finally:
        lam.delete_layer_version(LayerName="ruby-follower", VersionNumber=published["Version"])


@needs_ruby
def test_the_traces_of_many_calls_are_shown_without_being_kept(ruby):
    source = """
def handler(event:, context:)
  return "" if event && event["requestContext"]
  { shown: ENV["_X_AMZN_TRACE_ID"], told: `echo $_X_AMZN_TRACE_ID`.strip, loaded: $LOADED_FEATURES.any? { |one| one.include?("fiddle") } }
end
"""
    function = ruby(source, MemorySize=256)
    first = function({})
    by_url(function)(1000)
    second, third = function({}), function({})
    assert [one["loaded"] for one in (first, second, third)] == [False, True, True]
    assert all(one["shown"] == one["told"] and one["shown"].startswith("Root=1-") for one in (first, second, third))
    assert len({one["shown"] for one in (first, second, third)}) == 3
