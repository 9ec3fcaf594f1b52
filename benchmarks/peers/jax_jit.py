"""JAX: the whole step, Adam included, as one jitted function."""

import jax
import jax.numpy as jnp

from case import run


def make(case):
    assert not case.upgrad
    weights = jax.tree.map(jnp.asarray, {"trunk": case.trunk, "heads": case.heads})
    zeros = jax.tree.map(jnp.zeros_like, weights)
    x, targets = jnp.asarray(case.x), [jnp.asarray(t) for t in case.targets]

    def total(weights):
        h = x
        for i, (w, b) in enumerate(weights["trunk"]):
            h = (jax.nn.relu(h) if i > 0 else h) @ w.T + b
        return sum(jnp.mean((h @ w.T + b - t) ** 2) for (w, b), t in zip(weights["heads"], targets))

    def adam(w, g, m, v, n):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return w - 1e-3 * (m / (1 - 0.9**n)) / (jnp.sqrt(v / (1 - 0.999**n)) + 1e-8), m, v

    def step(state):
        weights, means, squares, n = state
        loss, gradients = jax.value_and_grad(total)(weights)
        n = n + 1
        triples = jax.tree.map(lambda w, g, m, v: adam(w, g, m, v, n), weights, gradients, means, squares)
        parts = [jax.tree.map(lambda _, t: t[i], weights, triples) for i in range(3)]
        return (*parts, n), loss

    jitted = jax.jit(step, donate_argnums=0)
    state = [(weights, zeros, jax.tree.map(jnp.zeros_like, weights), jnp.float32(0))]

    def call():
        state[0], loss = jitted(state[0])
        return loss

    return call, lambda: jax.block_until_ready(state[0])


run(make, "JAX " + jax.__version__)
