"""The page on security names tests: they exist."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent


def test_every_test_that_the_page_names_exists():
    page = (ROOT / "docs/security.md").read_text()
    names = set(re.findall(r"`((?:test_)?[a-z]+(?:_[a-z0-9]+){2,})`", page)) - {"no_new_privs"}
    assert len(names) > 40
    patterns = ("tests/*.py", "crates/sandbox/**/*.rs", "crates/wasm/**/*.rs", "crates/runtimes/tests/zygote.rs")
    sources = [path for pattern in patterns for path in ROOT.glob(pattern)]
    text = "\n".join(path.read_text() for path in sources if path != pathlib.Path(__file__))
    defined = set(re.findall(r"(?:def |fn |hostile!\()(\w+)", text))
    assert names <= defined, names - defined
