"""The compiler of WebAssembly programs: a process of its own, whatever a program makes it do."""

import os
import pathlib

import pytest
from botocore.exceptions import ClientError
from conftest import ROLE, eventually, package, running
from test_wasm import component, program, source

CONFIG = "[wasm]\ncompile_max_s = {}\ncompile_memory_mib = {}\n"


def leb(number):
    out = b""
    while True:
        number, low = number >> 7, number & 0x7F
        out += bytes([low | 0x80 if number else low])
        if not number:
            return out


def section(kind, content):
    return bytes([kind]) + leb(len(content)) + content


def hostile(variables=20_000, loops=20_000):
    """A small module that compilers to SSA need gigabytes for: each loop is a place where each variable may have changed."""
    loop = b"\x03\x40\x20\x00\x0d\x00\x0b"  # loop (br_if 0 (local.get 0)) end
    uses = b"".join(b"\x20" + leb(number) + b"\x1a" for number in range(variables))  # (drop (local.get number))
    body = leb(1) + leb(variables) + b"\x7f" + loop * loops + uses + b"\x0b"
    return (
        b"\0asm\x01\0\0\0"
        + section(1, b"\x01\x60\0\0")
        + section(3, b"\x01\0")
        + section(7, b"\x01\x06_start\0\0")
        + section(10, b"\x01" + leb(len(body)) + body)
    )


def create(lam, name, binary):
    lam.create_function(
        FunctionName=name, Runtime="provided.al2023", Handler="x", Role=ROLE, Code={"ZipFile": package(program(binary))}
    )


def reason(lam, name, binary):
    """Why a function cannot be made of a program: said at once, or once that is known."""
    try:
        create(lam, name, binary)
    except ClientError as refused:
        return str(refused)
    states = []
    state = lambda: states.append(lam.get_function_configuration(FunctionName=name)) or states[-1]["State"] != "Pending"
    eventually(state, timeout=300)
    assert states[-1]["State"] == "Failed", states[-1]
    return states[-1]["StateReason"]


def memory_peak(node):
    status = pathlib.Path(f"/proc/{node.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def compilers(parent):
    """Processes that compile for a node."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            stat, words = (folder / "stat").read_text(), (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"compile-wasm" in words and int(stat.rsplit(")", 1)[1].split()[1]) == parent:
            found.append(int(folder.name))
    return found


def test_a_program_that_takes_too_long_to_compile_fails_with_the_reason():
    lean = component(source("lean.wat"))
    with running(config=CONFIG.format(3, 8_000)) as node:
        lam = node.client("lambda")
        create(lam, "lean", lean)
        lam.get_waiter("function_active_v2").wait(FunctionName="lean")
        assert "more than 3 s of processor time" in reason(lam, "slow", hostile())
        assert lam.invoke(FunctionName="lean", Payload=b"1")["Payload"].read() == b'"ok"'
        # A change of code that cannot be compiled leaves what there was.
        lam.update_function_code(FunctionName="lean", ZipFile=package(program(hostile())))
        state = lambda: lam.get_function_configuration(FunctionName="lean")
        eventually(lambda: state()["LastUpdateStatus"] != "InProgress", timeout=300)
        assert state()["LastUpdateStatus"] == "Failed"
        assert "more than 3 s of processor time" in state()["LastUpdateStatusReason"]
        assert lam.invoke(FunctionName="lean", Payload=b"1")["Payload"].read() == b'"ok"'
        assert not list((node.data / "code" / "wasm").glob("*.half")) and not compilers(node.process.pid)


def test_a_program_that_takes_too_much_memory_to_compile_fails_with_the_reason():
    lean = component(source("lean.wat"))
    with running(config=CONFIG.format(300, 512)) as node:
        lam = node.client("lambda")
        create(lam, "lean", lean)
        lam.get_waiter("function_active_v2").wait(FunctionName="lean")
        before = memory_peak(node)
        assert "more than 512 MiB of memory" in reason(lam, "large", hostile())
        assert memory_peak(node) - before < 64
        assert lam.invoke(FunctionName="lean", Payload=b"1")["Payload"].read() == b'"ok"'


def test_a_compiler_ends_with_its_node():
    with running(config=CONFIG.format(300, 30_000)) as node:
        lam = node.client("lambda")
        create(lam, "slow", hostile())
        [compiler] = eventually(lambda: compilers(node.process.pid))
        status = pathlib.Path(f"/proc/{compiler}/status").read_text()
        assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status
        assert sorted(os.listdir(f"/proc/{compiler}/fd")) == ["0", "1", "2"]
        assert b"AWS" not in pathlib.Path(f"/proc/{compiler}/environ").read_bytes()
        node.kill()
        eventually(lambda: not pathlib.Path(f"/proc/{compiler}/cmdline").exists())


@pytest.mark.parametrize("key, value", [("compile_max_s", 0), ("compile_memory_mib", 255)])
def test_bounds_that_nothing_could_be_compiled_within_are_refused(key, value):
    with pytest.raises(Exception, match=key), running(config=f"[wasm]\n{key} = {value}\n"):
        pass
