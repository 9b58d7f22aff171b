"""docs/languages.md: what it shows works as it is written there, and its table names the runtimes that there are."""

import pathlib
import re

import pytest
import test_ruby
from conftest import package

PAGE = (pathlib.Path(__file__).parent.parent / "docs" / "languages.md").read_text()


def block(language):
    """The first block of code in a language."""
    return re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[1]


def test_the_shell_script_is_a_function(deploy):
    files = {"bootstrap": (0o100755, block("sh"))}
    function = deploy(files, runtime="provided.al2023", handler="any")
    assert [function({"n": n}) for n in range(2)] == [{"got": {"n": 0}}, {"got": {"n": 1}}]


@test_ruby.needs_ruby
def test_the_ruby_function_answers(deploy):
    assert deploy({"app.rb": block("ruby")}, runtime=test_ruby.RUNTIME)({"name": "Ada"}) == {"message": "Hello, Ada!"}


@pytest.mark.parametrize("runtime", ["dotnet8", "go1.x", "ruby2.7", "nodejs16.x"])
def test_what_the_page_calls_refused_is_refused(lam, runtime):
    with pytest.raises(lam.exceptions.InvalidParameterValueException, match=runtime):
        lam.create_function(
            FunctionName="never", Runtime=runtime, Handler="app.handler", Role="arn:aws:iam::000000000000:role/tests",
            Code={"ZipFile": package({"app.rb": "1"})},
        )  # fmt: skip
