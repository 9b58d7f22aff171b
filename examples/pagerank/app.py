"""PageRank of a graph: `edges` as pairs of vertex names, or a scale-free graph of `vertices` made from `seed`."""

import random

import igraph


def handler(event, context):
    graph = given(event["edges"]) if "edges" in event else made(event.get("vertices", 10_000), event.get("seed", 1))
    scores = graph.pagerank(damping=event.get("damping", 0.85))
    order = sorted(range(graph.vcount()), key=lambda vertex: -scores[vertex])
    top = [{"vertex": graph.vs[vertex]["name"], "score": scores[vertex]} for vertex in order[: event.get("top", 10)]]
    print(f"{graph.vcount()} vertices, {graph.ecount()} edges")
    return {"vertices": graph.vcount(), "edges": graph.ecount(), "sum": sum(scores), "top": top}


def given(edges):
    return igraph.Graph.TupleList(edges, directed=True)


def made(vertices, seed):
    random.seed(seed)
    graph = igraph.Graph.Barabasi(vertices, 10, directed=True)
    graph.vs["name"] = [str(vertex) for vertex in range(vertices)]
    return graph
