"""Makes a real picture, and reads the thumbnail's pixels. Standard library only."""

import base64
import json
import math
import pathlib
import struct
import zlib

WIDTH, HEIGHT, SIDE = 1200, 900, 128
# Colours of the picture's quarters: top left, top right, bottom left, bottom right.
QUARTERS = [(200, 40, 40), (40, 180, 60), (50, 70, 210), (220, 200, 50)]


def png(width, height, pixel):
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            rows.extend(pixel(x, y))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows), 6)) + chunk(b"IEND", b"")


def pixel(x, y):
    quarter = QUARTERS[(y >= HEIGHT // 2) * 2 + (x >= WIDTH // 2)]
    ripple = int(12 * math.sin(x / 7) * math.cos(y / 11))
    return bytes(channel + ripple for channel in quarter)


def cases():
    small = json.loads(pathlib.Path(__file__).with_name("event.json").read_text())
    large = base64.b64encode(png(WIDTH, HEIGHT, pixel)).decode()
    return [small, {"picture": large, "side": SIDE, "format": "PNG"}]


def pixels(data):
    """Width and height of an 8-bit RGB PNG, and a function that tells the colour at a place."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, parts = 8, {}
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        parts[kind] = parts.get(kind, b"") + body
        at += size + 12
    width, height, depth, colour = struct.unpack(">IIBB", parts[b"IHDR"][:10])
    assert (depth, colour) == (8, 2)
    raw, stride = zlib.decompress(parts[b"IDAT"]), width * 3
    rows, above = [], bytes(stride)
    for y in range(height):
        kind = raw[y * (stride + 1)]
        line = bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        for i in range(stride):
            left, up = line[i - 3] if i >= 3 else 0, above[i]
            corner = above[i - 3] if i >= 3 else 0
            line[i] = (line[i] + [0, left, up, (left + up) // 2, paeth(left, up, corner)][kind]) & 255
        rows.append(line)
        above = line
    return width, height, lambda x, y: tuple(rows[y][x * 3 : x * 3 + 3])


def paeth(left, up, corner):
    guess = left + up - corner
    return min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]


def check(event, answer):
    full_width, full_height = struct.unpack(">II", base64.b64decode(event["picture"])[16:24])
    width, height, colour = pixels(base64.b64decode(answer["picture"]))
    assert (width, height) == (answer["width"], answer["height"])
    assert (width, height) == (event["side"], event["side"] * full_height // full_width)
    near, far = (width // 4, height // 4), (3 * width // 4, 3 * height // 4)
    for number, wanted in enumerate(QUARTERS):
        x, y = (near, far)[number % 2][0], (near, far)[number // 2][1]
        got = colour(x, y)
        assert all(abs(a - b) <= 12 for a, b in zip(got, wanted)), f"{got} at {x},{y} is not {wanted}"
