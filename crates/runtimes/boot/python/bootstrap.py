"""Runs a Lambda function written in Python: loads the handler, then answers events that come over descriptor 3.

The protocol is described in `frames.rs`, the behaviour follows Lambda's managed runtimes. Works from Python 3.8 on.
Modules that not every function needs (logging, traceback, decimal) are not imported here: each costs milliseconds at a
cold start.

Started as a stem cell (`cells.rs`) it waits for the environment of its function: nothing here may look at that, or at the
function's folders, before `_read_environment`.
"""

import _posixsubprocess
import gc
import json
import os
import sys
from _socket import AF_UNIX, SOCK_STREAM, socket
from select import POLLIN, poll
from struct import Struct
from time import time

_CHANNEL = 3
_BOOTED, _READY, _INIT_ERROR, _RESPONSE, _ERROR, _FINAL_ERROR, _WAITING, _RESTORED, _RESTORE_ERROR = 1, 2, 3, 4, 5, 10, 11, 12, 13
_EVENT = Struct("<IBq36sHHI")
_HEADER = Struct("<IB")
_LOG_HEADER = Struct(">IIQ")
_TEXT_FRAME, _JSON_FRAME = 0xA55A0003, 0xA55A0002
_NO_BREAK_SPACE = "\u00a0"
# Of `sys.path`, before the standard library's.
_OWN_PATHS = 5

_environ = os.environ
_json_logs = False
_log_level = ""
_request_id = None


class _Fault(Exception):
    """An error that Lambda names itself."""

    def __init__(self, kind, message, trace=None):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.trace = trace or []


# ---------------------------------------------------------------------------------------------------------- context


class _Slots:
    """An object whose fields come from a JSON object; missing ones are None."""

    __slots__ = ()

    def __init__(self, fields):
        for name in self.__slots__:
            setattr(self, name, fields.get(name))

    def __repr__(self):
        fields = ",".join("%s=%s" % (name, getattr(self, name)) for name in self.__slots__)
        return "%s([%s])" % (type(self).__name__, fields)


class CognitoIdentity(_Slots):
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


def _anonymous():
    # What every invocation gets, the short way.
    identity = CognitoIdentity.__new__(CognitoIdentity)
    identity.cognito_identity_id = identity.cognito_identity_pool_id = None
    return identity


class Client(_Slots):
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")


class ClientContext(_Slots):
    __slots__ = ("custom", "env", "client")

    def __init__(self, fields):
        super().__init__(fields)
        if self.client is not None:
            self.client = Client(self.client)


class LambdaContext:
    """What handlers get as their second argument."""

    function_name = function_version = memory_limit_in_mb = log_group_name = log_stream_name = tenant_id = None
    client_context = None

    def __init__(self, request_id, deadline_ms, arn, client_context):
        self.aws_request_id = request_id
        self.invoked_function_arn = arn
        self.identity = _anonymous()
        self._epoch_deadline_time_in_ms = deadline_ms
        if client_context:
            try:
                self.client_context = ClientContext(json.loads(client_context))
            except Exception as error:
                raise _Fault(
                    "Runtime.LambdaContextUnmarshalError", "Unable to parse Client Context JSON: %s" % error
                ) from None

    def get_remaining_time_in_millis(self):
        left = self._epoch_deadline_time_in_ms - int(time() * 1000)
        return left if left > 0 else 0

    def log(self, message):
        _log(str(message))

    def __repr__(self):
        return (
            "LambdaContext([aws_request_id=%s,log_group_name=%s,log_stream_name=%s,function_name=%s,"
            "memory_limit_in_mb=%s,function_version=%s,invoked_function_arn=%s,client_context=%s,identity=%s,"
            "tenant_id=%s])"
            % (
                self.aws_request_id,
                self.log_group_name,
                self.log_stream_name,
                self.function_name,
                self.memory_limit_in_mb,
                self.function_version,
                self.invoked_function_arn,
                self.client_context,
                self.identity,
                self.tenant_id,
            )
        )


# ------------------------------------------------------------------------------------------------------------- JSON


def _make_encoder(ascii_only):
    pending = []

    def default(value):
        # Decimals become JSON numbers with all their digits, which the encoder cannot write: a mark stands in for them.
        kind = type(value)
        if kind.__module__ == "decimal" and kind.__name__ == "Decimal":
            if value.is_nan():
                return float("nan")
            pending.append(str(value))
            return "\ue000decimal-%d\ue000" % (len(pending) - 1)
        raise TypeError("Object of type %s is not JSON serializable" % kind.__name__)

    encode = json.JSONEncoder(ensure_ascii=ascii_only, default=default).encode
    quote = json.JSONEncoder(ensure_ascii=ascii_only).encode

    def to_json(value):
        text = encode(value)
        if pending:
            for index, number in enumerate(pending):
                text = text.replace(quote("\ue000decimal-%d\ue000" % index), number)
            pending.clear()
        return text

    return to_json


_to_json = _make_encoder(False)
_from_json = json.JSONDecoder().decode


# ---------------------------------------------------------------------------------------------------------- logging

_stdout, _stderr = sys.stdout, sys.stderr
_configure_logging = None


def _log(message, frame_type=_TEXT_FRAME):
    """Writes one record of any number of lines, in order with what was printed."""
    _flush()
    data = message.encode("utf-8", "backslashreplace")
    data = memoryview(_LOG_HEADER.pack(frame_type, len(data), int(time() * 1e6)) + data)
    while data:
        data = data[os.write(1, data) :]


def _flush():
    try:
        _stdout.flush()
        _stderr.flush()
    except (OSError, ValueError):
        pass  # closed by the function


class _LoggingHook:
    """Configures the root logger when the function imports `logging`, as it finds it on Lambda."""

    @staticmethod
    def find_spec(name, path, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(_LoggingHook)
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                _set_up_logging(module)

            spec.loader.exec_module = exec_module
        return spec


def _set_up_logging(logging):
    global _configure_logging
    from time import gmtime

    logging.Formatter.converter = gmtime

    class LambdaLoggerFilter(logging.Filter):
        def filter(self, record):
            record.aws_request_id = _request_id or ""
            return True

    class LambdaLoggerHandler(logging.Handler):
        def emit(self, record):
            try:
                _log(self.format(record), _JSON_FRAME if _json_logs else _TEXT_FRAME)
            except Exception:
                self.handleError(record)

    class JsonFormatter(logging.Formatter):
        reserved = {
            "name", "msg", "args", "levelname", "levelno", "pathname", "filename", "module", "exc_info", "exc_text",
            "stack_info", "lineno", "funcName", "created", "msecs", "relativeCreated", "thread", "threadName",
            "processName", "process", "aws_request_id", "taskName",
        }  # fmt: skip
        encode = json.JSONEncoder(ensure_ascii=False, default=str).encode

        def format(self, record):
            fields = {
                "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
                "level": record.levelname,
                "message": record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage(),
                "logger": record.name,
            }
            if record.exc_info and record.exc_info[0]:
                import traceback

                kind, error, trace = record.exc_info
                fields["stackTrace"] = traceback.format_tb(trace)
                fields["errorType"] = kind.__name__
                fields["errorMessage"] = str(error)
            fields["requestId"] = record.aws_request_id
            if record.exc_info:
                fields["location"] = "%s:%s:%s" % (record.pathname, record.funcName, record.lineno)
            for name, value in record.__dict__.items():
                if name not in self.reserved and name not in fields:
                    fields[name] = value
            return self.encode({name: value for name, value in fields.items() if value is not None})

    handler = LambdaLoggerHandler()
    handler.addFilter(LambdaLoggerFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    text = logging.Formatter(
        "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"
    )

    def configure():
        handler.setFormatter(JsonFormatter() if _json_logs else text)
        if _log_level in logging._nameToLevel:
            root.setLevel(_log_level)

    configure()
    _configure_logging = configure


def _log_error(report):
    if _json_logs:
        from time import gmtime, strftime

        record = {"timestamp": strftime("%Y-%m-%dT%H:%M:%SZ", gmtime()), "level": "ERROR"}
        record.update(report)
        return _log(_to_json(record), _JSON_FRAME)
    lines = ["[ERROR] %s%s" % (report["errorType"], ": " + report["errorMessage"] if report["errorMessage"] else "")]
    lines.append("Traceback (most recent call last):")
    for element in report["stackTrace"]:
        for line in element.splitlines() or [""]:
            text = line.lstrip(" ")
            lines.append(_NO_BREAK_SPACE * (len(line) - len(text)) + text)
    _log("\n".join(lines))


def _report(error, request_id):
    """What Lambda tells the caller about an exception."""
    if isinstance(error, _Fault):
        kind, message, trace = error.kind, error.message, error.trace
    else:
        import traceback

        frames = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(error.__traceback__)]
        own = 0
        while own < len(frames) and frames[own][0] == _report.__code__.co_filename:
            own += 1
        kind, trace = type(error).__name__, traceback.format_list(frames[own:])
        try:
            message = str(error)
        except Exception:
            message = "the exception has no text"
    return {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": trace}


# ---------------------------------------------------------------------------------------------------------- channel

_channel = socket(AF_UNIX, SOCK_STREAM, 0, _CHANNEL)
# Waited for by poll: a blocked read would also be woken when the daemon takes what was written.
_await = poll()
_await.register(_CHANNEL, POLLIN)
_await = _await.poll
_buffer = bytearray(64 * 1024)


def _frame(most=0):
    """The next frame: a buffer that it begins, and where it ends there. `most` is 4 where another may be behind it."""
    _await()
    got = _channel.recv_into(_buffer, most)
    while got < 4:
        if not got:
            os._exit(0)
        more = _channel.recv_into(memoryview(_buffer)[got:])
        if not more:
            os._exit(0)
        got += more
    end = int.from_bytes(_buffer[:4], "little") + 4
    buffer = _buffer
    if end > len(buffer):
        buffer = bytearray(end)
        buffer[:got] = memoryview(_buffer)[:got]
    while got < end:
        more = _channel.recv_into(memoryview(buffer)[got:end])
        if not more:
            os._exit(0)
        got += more
    return buffer, end


def _receive():
    """The next event as (request id, deadline, arn, trace id, client context, payload)."""
    buffer, end = _frame()
    _, _, deadline, request_id, arn, trace, context = _EVENT.unpack_from(buffer)
    start = _EVENT.size
    arn, start = buffer[start : start + arn].decode(), start + arn
    trace, start = buffer[start : start + trace].decode(), start + trace
    context, start = buffer[start : start + context].decode(), start + context
    return request_id.decode(), deadline, arn, trace, context, buffer[start:end]


def _send(kind, body):
    header = _HEADER.pack(len(body) + 1, kind)
    _channel.sendall(header + body)


def _send_error(kind, report, name=None):
    name = (name or report["errorType"]).encode("utf-8", "replace")[:1024]
    body = _to_json(report).encode("utf-8", "backslashreplace")
    _send(kind, len(name).to_bytes(2, "little") + name + body)


# ---------------------------------------------------------------------------------------------------------- running


def _load(handler):
    module_name, dot, function_name = handler.rpartition(".")
    if not dot:
        raise _Fault(
            "Runtime.MalformedHandlerName",
            "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % handler,
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise _Fault(
            "Runtime.BuiltInModuleConflict", "Cannot use built-in module %s as a handler module" % module_name
        )
    from importlib import import_module

    try:
        module = import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise _Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module_name, error)) from None
    except SyntaxError as error:
        raise _Fault(
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module '%s': %s" % (module_name, error),
            ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)],
        ) from None
    try:
        return getattr(module, function_name)
    except AttributeError:
        raise _Fault(
            "Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (function_name, module_name)
        ) from None


def _hooks(when):
    """Runs what the function has registered, if it uses the module at all (its own copy, perhaps)."""
    module = sys.modules.get("snapshot_restore_py")
    if module is None:
        return
    if when == "before":
        calls = module.get_before_snapshot()
        while calls:
            hook, arguments, named = calls.pop()
            hook(*arguments, **named)
    else:
        for hook, arguments, named in module.get_after_restore():
            hook(*arguments, **named)


def _fail(kind, error, name=None):
    report = _report(error, "")
    _log_error(report)
    _send_error(kind, report, name)
    sys.exit(1)


def _wait_for_restore():
    _frame()
    try:
        _hooks("after")
    except Exception as error:
        _fail(_RESTORE_ERROR, error, "Runtime.AfterRestoreError")
    _flush()
    _send(_RESTORED, b"")


# The environment as Python keeps it, and as the C library does, which never gives back a value that it has been told: it is told
# of the trace's only when other programs are about to find it there.
_TRACE = b"_X_AMZN_TRACE_ID"
_variables = _environ._data


def _tell_trace():
    trace = _variables.get(_TRACE)
    if trace is not None:
        os.putenv(_TRACE, trace)


def _telling(act):
    def told(*arguments, **named):
        _tell_trace()
        return act(*arguments, **named)

    told.__name__, told.__doc__ = act.__name__, act.__doc__
    return told


def _handle(handler, event):
    global _request_id
    request_id, deadline, arn, trace, context, payload = event
    _request_id = request_id
    _variables[_TRACE] = trace.encode()
    try:
        context = LambdaContext(request_id, deadline, arn, context)
        try:
            payload = _from_json(payload.decode())
        except Exception as error:
            raise _Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error) from None
        answer = handler(payload, context)
        if not isinstance(answer, bytes):
            try:
                answer = _to_json(answer).encode()
            except Exception as error:
                raise _Fault("Runtime.MarshalError", "Unable to marshal response: %s" % error) from None
    except Exception as error:
        report = _report(error, request_id)
        _log_error(report)
        return _send_error(_ERROR, report)
    _flush()
    _send(_RESPONSE, answer)


def _prepare():
    """What users find in an interpreter that Lambda started."""
    version = "python%d.%d" % sys.version_info[:2]
    own = os.path.dirname(os.path.abspath(__file__))
    root = _environ.get("LAMBDA_TASK_ROOT", "/var/task")
    libraries = os.path.join(own, "site-packages")
    first = [root, "/opt/python/lib/%s/site-packages" % version, "/opt/python", libraries, own]
    assert len(first) == _OWN_PATHS
    sys.path[:] = first + [path for path in sys.path if path not in first]
    sys.argv = [os.path.join(own, "bootstrap.py")]
    os.dup2(1, 2)
    for stream in (_stdout, _stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    os.register_at_fork(before=_tell_trace)
    _posixsubprocess.fork_exec = _telling(_posixsubprocess.fork_exec)
    os.system, os.execv = _telling(os.system), _telling(os.execv)
    # Without `site` (it would look for packages of the host) its few builtins are missing.
    import _sitebuiltins

    import builtins

    builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D (i.e. EOF)")
    builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D (i.e. EOF)")
    if "logging" in sys.modules:
        # Forked from a zygote which has loaded it.
        _set_up_logging(sys.modules["logging"])
    else:
        sys.meta_path.insert(0, _LoggingHook)


def _read_environment():
    """Takes what is needed of the environment, and away what is nobody else's business."""
    global _json_logs, _log_level, _to_json
    get = _environ.get
    _environ.pop("_LAMBDA_TELEMETRY_LOG_FD", None)
    _json_logs = get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    level = get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    _log_level = {"TRACE": "DEBUG", "FATAL": "CRITICAL"}.get(level, level)
    context = LambdaContext
    context.function_name = get("AWS_LAMBDA_FUNCTION_NAME")
    context.function_version = get("AWS_LAMBDA_FUNCTION_VERSION")
    context.memory_limit_in_mb = get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    context.log_group_name = get("AWS_LAMBDA_LOG_GROUP_NAME")
    context.log_stream_name = get("AWS_LAMBDA_LOG_STREAM_NAME")
    context.tenant_id = _environ.pop("_NEAP_TENANT_ID", None)
    # Lambda writes characters themselves instead of escapes from Python 3.12 on.
    if get("AWS_EXECUTION_ENV") in ["AWS_Lambda_python3.%d" % minor for minor in range(8, 12)]:
        _to_json = _make_encoder(True)
    if _configure_logging:
        _configure_logging()


def _wait():
    """Waits for a function, with what every function needs done already; then this process is that function's."""
    from importlib import import_module

    known = set(sys.modules)
    # The ways that the first import, event and answer take: what they touch is this process's own memory from then on.
    import_module("empty")
    _from_json(_to_json({"": LambdaContext("", 0, "", "").get_remaining_time_in_millis()}))
    for name in set(sys.modules) - known:
        del sys.modules[name]
    for path in sys.path[:_OWN_PATHS]:
        sys.path_importer_cache.pop(path, None)
    _send(_WAITING, b"")
    buffer, end = _frame(4)
    variables = bytes(buffer[5 : end - 1]).split(b"\0")
    zone, coerced = _environ.get("TZ"), _environ.get("LC_CTYPE")
    _environ.clear()
    if coerced is not None:
        # What an interpreter sets for itself and its children where the locale of its environment is unknown.
        _environ["LC_CTYPE"] = coerced
    for variable in variables:
        name, _, value = variable.partition(b"=")
        os.environb[name] = value
    if _environ.get("TZ") != zone:
        from time import tzset

        tzset()
    buffer, end = _frame()
    # The function's files are there now.
    os.chdir(bytes(buffer[5:end]))
    logging = sys.modules.get("logging")
    if logging is not None:
        logging._startTime = int(time() * 1e9) if isinstance(logging._startTime, int) else time()


def main():
    # What the function starts itself must not hold the channel, nor find the descriptor of log frames.
    os.set_inheritable(_CHANNEL, False)
    _prepare()
    if "_NEAP_STEM_CELL" in _environ:
        _wait()
    _read_environment()
    _send(_BOOTED, b"")
    try:
        handler = _load(_environ.get("_HANDLER", ""))
    except Exception as error:
        _fail(_INIT_ERROR, error)
    restored = _environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"
    if restored:
        try:
            _hooks("before")
        except Exception as error:
            _fail(_INIT_ERROR, error, "Runtime.BeforeSnapshotError")
    _flush()
    gc.freeze()
    _send(_READY, b"")
    if restored:
        _wait_for_restore()
    while True:
        _handle(handler, _receive())


if __name__ == "__main__":
    main()
