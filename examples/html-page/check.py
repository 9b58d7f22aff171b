"""What the answer must be."""


def check(event, answer):
    assert answer["statusCode"] == 200
    assert answer["headers"]["content-type"].startswith("text/html")
    page = answer["body"]
    assert "<h1>Hello, Ada &lt;the first&gt;!</h1>" in page, "the name must be escaped"
    assert page.count("<li>") == len(event["items"])
    assert "<li>Brass &amp; gears: 87.00</li>" in page
    assert "<p>Total: 99.50</p>" in page
