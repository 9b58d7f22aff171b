"""Compares with PageRank by power iteration, on a small graph and on one of 300 vertices; then ranks 10,000."""

import json
import pathlib
import random


def cases():
    small = json.loads(pathlib.Path(__file__).with_name("event.json").read_text())
    dice = random.Random(7)
    edges = [[f"v{int(300 * dice.random() ** 2)}", f"v{int(300 * dice.random() ** 3)}"] for _ in range(2_000)]
    return [small, {"edges": edges, "top": 20}, {"vertices": 10_000, "seed": 42}]


def ranks(edges, damping=0.85):
    vertices = {vertex for edge in edges for vertex in edge}
    out = {vertex: [] for vertex in vertices}
    for source, target in edges:
        out[source].append(target)
    scores = dict.fromkeys(vertices, 1 / len(vertices))
    for _ in range(200):
        idle = sum(scores[vertex] for vertex in vertices if not out[vertex])
        following = dict.fromkeys(vertices, (1 - damping + damping * idle) / len(vertices))
        for vertex, targets in out.items():
            for target in targets:
                following[target] += damping * scores[vertex] / len(targets)
        scores = following
    return scores


def check(event, answer):
    assert abs(answer["sum"] - 1) < 1e-9
    scores = [entry["score"] for entry in answer["top"]]
    assert scores == sorted(scores, reverse=True)
    if "edges" not in event:
        assert answer["vertices"] == event["vertices"] and len(scores) == 10
        return
    wanted = ranks(event["edges"])
    assert answer["vertices"] == len(wanted) and answer["edges"] == len(event["edges"])
    for entry in answer["top"]:
        assert abs(entry["score"] - wanted[entry["vertex"]]) < 1e-6, entry
    assert abs(scores[0] - max(wanted.values())) < 1e-6
