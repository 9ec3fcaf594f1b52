#!/usr/bin/env python3
"""Where Nash-MTL and FairGrad (alpha = 2) end on the two-task toy, found without a solver, for
tests/multitask/aggregate_test.cpp:

    tests/golden/toy_bargaining.py [starts, 20] [A, B, C or all]

Two tasks have their weights in closed form but for one monotonous equation, solved here by bisection in float64. With
u = n1 + n2 the sum of the unit gradients and e = |u|^2 / 2 = 1 + cos, taken from u so that it keeps its digits where the
gradients are opposite: Nash-MTL's direction is sqrt(2) u / |u|; FairGrad's is y1 (n1 + t n2), where
sqrt(t) (t - 1 + e) / (1 - t + t e) = sqrt(|g1| / |g2|) and y1^1.5 (1 - t + t e) = |g1|^-0.5. `exact` takes them as they
are; `capped` lets no y exceed 1e4 times the largest that it would be for orthogonal gradients, as the library does. Adam
at 1e-3 from starts moved by up to 2e-9. Prints for each the ranges of the steps of arrival, of x1 25,000 steps after
arrival and of x1 after 100,000 steps.
"""

import math
import random
import sys


def gradients(x1, x2):
    th = math.tanh(x2)
    slope, half = 1 - th * th, math.tanh(x2 / 2)
    turn = 0.5 * (1 - half * half)
    c1, c2 = max(half, 0.0), max(-half, 0.0)
    d1, d2 = (turn if x2 >= 0 else 0.0), (-turn if x2 <= 0 else 0.0)
    found = []
    for v, far, sign in ((0.5 * (-x1 - 7) + th, x1 - 7, 1), (0.5 * (-x1 + 3) - th + 2, x1 + 7, -1)):
        steep = 1 / v if abs(v) >= 5e-6 else 0.0
        h = math.log(max(abs(v), 5e-6)) + 6
        q = (far * far + 0.1 * (x2 + 8) ** 2) / 10 - 20
        down = sign * slope * steep * c1 + h * d1 + 0.02 * (x2 + 8) * c2 + q * d2
        found.append((-0.5 * steep * c1 + 0.2 * far * c2, down))
    return found


def direction(method, capped, g1, g2):
    l1, l2 = math.hypot(*g1), math.hypot(*g2)
    n1, n2 = (g1[0] / l1, g1[1] / l1), (g2[0] / l2, g2[1] / l2)
    e = ((n1[0] + n2[0]) ** 2 + (n1[1] + n2[1]) ** 2) / 2
    if e == 0:
        return 0.0, 0.0
    if method == "nash":
        y1 = y2 = 1 / math.sqrt(e)
        start = 1.0
    else:
        target = math.sqrt(l1 / l2)
        low, high = (1 - e, 1 / (1 - e)) if e < 1 else (0.0, None)
        if high is None:
            high = 1.0
            while math.sqrt(high) * (high - 1 + e) / (1 - high + high * e) < target:
                high *= 2
        for _ in range(200):
            t = 0.5 * (low + high)
            if t in (low, high):
                break
            below = 1 - t + t * e
            if below <= 0 or math.sqrt(t) * max(0.0, t - 1 + e) > target * below:
                high = t
            else:
                low = t
        k1, k2 = l1 ** -0.5, l2 ** -0.5
        first, second = 1 - t + t * e, t - 1 + e  # whichever has more digits
        y1 = (k1 / first) ** (2 / 3) if first > second else (k2 / (math.sqrt(t) * second)) ** (2 / 3)
        y2 = t * y1
        start = max(k1, k2) ** (2 / 3)
    if capped and max(y1, y2) > 1e4 * start:
        scale = 1e4 * start / max(y1, y2)
        y1, y2 = y1 * scale, y2 * scale
    return y1 * n1[0] + y2 * n2[0], y1 * n1[1] + y2 * n2[1]


def run(method, capped, x1, x2):
    x, m, v = [x1, x2], [0.0, 0.0], [0.0, 0.0]
    arrival, soon, p1, p2 = 0, None, 1.0, 1.0
    for step in range(1, 100001):
        d = direction(method, capped, *gradients(*x))
        p1, p2 = p1 * 0.9, p2 * 0.999
        for i in range(2):
            m[i] = 0.9 * m[i] + 0.1 * d[i]
            v[i] = 0.999 * v[i] + 0.001 * d[i] * d[i]
            x[i] -= 1e-3 * (m[i] / (1 - p1)) / (math.sqrt(v[i] / (1 - p2)) + 1e-8)
        if arrival == 0 and -8.5 < x[1] < -8.2 and abs(x[0]) <= 7.05:
            arrival = step
        if arrival and step == arrival + 25000:
            soon = x[0]
    return arrival, soon, x[0]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    which = sys.argv[2] if len(sys.argv) > 2 else "all"
    for name, start in (("A", (-8.5, 7.5)), ("B", (-8.5, -5.0)), ("C", (9.0, 9.0))):
        if which not in ("all", name):
            continue
        for method in ("nash", "fair"):
            for capped in (False, True):
                draw = random.Random(1)
                moved = [[s + (draw.uniform(-2e-9, 2e-9) if k else 0) for s in start] for k in range(count)]
                runs = [run(method, capped, *place) for place in moved]
                low, high = (tuple(f(r[i] for r in runs) for i in range(3)) for f in (min, max))
                print(f"{method} {'capped' if capped else 'exact '} {name}: arrival {low[0]}..{high[0]}, x1 25,000 steps "
                      f"later {low[1]:.3f}..{high[1]:.3f}, after 100,000 {low[2]:.3f}..{high[2]:.3f}", flush=True)


main()
