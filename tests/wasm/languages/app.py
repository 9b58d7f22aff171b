"""Greets whom the event names."""

import json
import os
import sys

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports.types import Fields, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request, response_out):
        incoming, event = request.consume(), b""
        with incoming.stream() as stream:
            try:
                while True:
                    event += stream.blocking_read(65536)
            except Err:  # Its end.
                pass
        print("from Python", file=sys.stderr)
        with open("/tmp/kept", "a") as kept:
            kept.write("x")
        with open("/tmp/kept") as kept:
            times = len(kept.read())
        answer = {"hello": json.loads(event)["name"], "colour": os.environ.get("COLOUR"), "times": times}
        response = OutgoingResponse(Fields.from_list([("content-type", b"application/json")]))
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        with body.write() as out:
            out.blocking_write_and_flush(json.dumps(answer).encode())
        OutgoingBody.finish(body, None)
