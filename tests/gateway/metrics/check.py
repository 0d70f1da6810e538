"""Reads metrics and queries as Prometheus's own libraries do; what they refuse ends it.

check.py text     /metrics in the text format on standard input; prints families and samples as JSON
check.py open     the same in OpenMetrics
check.py queries  {"queries": [...], "families": {name: [labels]}}; prints what is wrong, a line each
"""

import json
import sys


def samples(parse):
    families, found = {}, []
    for family in parse(sys.stdin.read()):
        families[family.name] = family.type
        for sample in family.samples:
            found.append([sample.name, sample.labels, sample.value])
    names = [(name, sorted(labels.items())) for name, labels, _ in found]
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        sys.exit(f"told twice: {doubled}")
    return {"families": families, "samples": found}


def wrong(query, families):
    import promql_parser

    # What Grafana fills in.
    for name, value in {"$__rate_interval": "5m", "$fleet": "default", "$program": "web"}.items():
        query = query.replace(name, value)
    try:
        tree = promql_parser.parse(query)
    except ValueError as error:
        return [f"{query}: {error}"]
    found = []

    def visit(node):
        if isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        elif isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(tree, visit)
    problems = [] if found else [f"{query}: asks for nothing"]
    for selector in found:
        if selector.name not in families:
            problems.append(f"{query}: there is no {selector.name}")
            continue
        labels = {matcher.name for matcher in selector.matchers.matchers}
        for label in labels - set(families[selector.name]):
            problems.append(f"{query}: {selector.name} has no label {label}")
    return sorted(set(problems))


def main():
    kind = sys.argv[1]
    if kind == "text":
        from prometheus_client.parser import text_string_to_metric_families as parse

        json.dump(samples(parse), sys.stdout)
    elif kind == "open":
        from prometheus_client.openmetrics.parser import (
            text_string_to_metric_families as parse,
        )

        json.dump(samples(parse), sys.stdout)
    elif kind == "queries":
        given = json.load(sys.stdin)
        for query in given["queries"]:
            for problem in wrong(query, given["families"]):
                print(problem)
    else:
        sys.exit(__doc__)


main()
