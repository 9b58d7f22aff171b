"""Renders a page from a template: the answer is an HTTP response, as API Gateway and function URLs take it."""

from datetime import datetime, timezone
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape

# Loaded once per environment, during initialisation.
pages = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(),
)


def handler(event, context):
    body = pages.get_template("page.html").render(
        name=event.get("name", "world"),
        items=event.get("items", []),
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    return {"statusCode": 200, "headers": {"content-type": "text/html; charset=utf-8"}, "body": body}
