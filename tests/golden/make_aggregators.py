#!/usr/bin/env python3
"""Writes aggregators.txt, golden vectors of gradient aggregators, from a file of cases in JSON:

    tests/golden/make_aggregators.py aggregators.json

The cases are given by Jacobian, method and parameters. Their numbers come from an independent computation in float64 (exact
enumeration of active sets, or 40-digit Newton, rounded) that agrees with the values pinned in TorchJD 0.17's unit tests to
their four decimals. Left out: sums with fixed weights, which need no aggregator, cases with TorchJD's regularisation, which
is not ours, and Krum.
"""

import json
import pathlib
import sys


def line(name, values):
    shape = [len(values)]
    if isinstance(values[0], list):
        shape.append(len(values[0]))
        values = [v for row in values for v in row]
    return f"{name} {shape} " + " ".join(repr(float(v)) for v in values)


def main():
    data = json.loads(pathlib.Path(sys.argv[1]).read_text())
    lines = ["# Golden vectors of gradient aggregators: make_aggregators.py tells where they come from."]
    used = set()
    for case in data["cases"]:
        method, params = case["method"], case["params"]
        if method in ("Sum", "Mean", "Constant", "Krum") or params.get("reg_eps"):
            continue
        name = "/".join([case["input"], method] + [f"{k}={v}" for k, v in params.items() if k not in ("p", "reg_eps")])
        used.add(case["input"])
        lines.append(line(name + "/d", case["d"]))
        if case["w"]:
            lines.append(line(name + "/w", case["w"]))
        lines.append(line(name + "/tolerance", [case["tolerance_abs"]]))
    lines[1:1] = [line(name, rows) for name, rows in data["inputs"].items() if name in used]
    pathlib.Path(__file__).with_name("aggregators.txt").write_text("\n".join(lines) + "\n")


main()
