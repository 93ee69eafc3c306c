"""The matrix products of forward and backward alone, in NumPy: what no program on the same BLAS can be below."""

from __future__ import annotations

import numpy as np

from . import Problem, Run


def products(problem: Problem) -> Run:
    """As few products as there can be: those in the loop for h and dh, and one over all steps for each other result.

    Features are along the rows, and nothing is allocated or copied.
    """
    T, B, H = problem.T, problem.B, problem.H
    rows, dtype = T * B, problem.dtype
    W = problem.parameters["weight_ih"]
    recurrent = [value for name, value in problem.parameters.items() if name.startswith("weight_h")]
    G = len(W)
    x, dx = np.ones((rows, H), dtype), np.empty((rows, H), dtype)
    z, dW = np.empty((rows, G), dtype), np.empty((G, H), dtype)
    steps = []  # of each recurrent matrix: itself, its transpose, what they are applied to, and the products
    sums = []
    for U in recurrent:
        n = len(U)
        forward = U, np.ones((H, B), dtype), np.empty((n, B), dtype)
        backward = np.ascontiguousarray(U.T), np.ones((n, B), dtype), np.empty((H, B), dtype)
        steps.append((forward, backward))
        sums.append((np.ones((n, rows), dtype), np.empty((n, H), dtype)))

    def run() -> list[np.ndarray]:
        np.dot(x, W.T, out=z)
        for _ in range(T):
            for (U, h, a), _backward in steps:
                np.dot(U, h, out=a)
        for _ in range(T):
            for _forward, (transposed, dz, dh) in steps:
                np.dot(transposed, dz, out=dh)
        np.dot(z, W, out=dx)
        np.dot(z.T, x, out=dW)
        for dZ, dU in sums:
            np.dot(dZ, x, out=dU)
        return []

    return run
