"""Random graphs are compared with a naive engine of single numbers after every step."""

import itertools

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

import tinygrad_rnn as tr
from tinygrad_rnn.errors import GradientError

# -- the naive engine: one object for each number, also for each derivative -----------------------------

serials = itertools.count()


class Number:
    def __init__(self, value, parents=()):
        self.value = float(value)
        self.parents = parents  # pairs of a Number and the derivative with respect to it, also a Number
        self.serial = next(serials)

    def __add__(self, other):
        other = number(other)
        return Number(self.value + other.value, ((self, lambda: ONE), (other, lambda: ONE)))

    def __mul__(self, other):
        other = number(other)
        return Number(self.value * other.value, ((self, lambda: other), (other, lambda: self)))

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + number(other) * -1.0

    __radd__, __rmul__ = __add__, __mul__

    def tanh(self):
        y = Number(np.tanh(self.value))
        y.parents = ((self, lambda: ONE - y * y),)
        return y

    def sin(self):
        return Number(np.sin(self.value), ((self, self.cos),))

    def cos(self):
        return Number(np.cos(self.value), ((self, lambda: -self.sin()),))

    def relu(self):
        return Number(max(self.value, 0.0), ((self, lambda: ONE if self.value > 0 else ZERO),))


def number(x):
    return x if isinstance(x, Number) else Number(x)


ONE, ZERO = Number(1.0), Number(0.0)


def reached(outputs):
    seen, pending = {}, list(outputs)
    while pending:
        n = pending.pop()
        if n.serial not in seen:
            seen[n.serial] = n
            pending.extend(parent for parent, _ in n.parents)
    return seen


def derivatives(outputs, cotangents):
    """The derivative of the contracted outputs with respect to every number that they depend on."""
    found = {}
    for y, c in zip(outputs, cotangents, strict=True):
        found[y.serial] = found[y.serial] + c if y.serial in found else c
    seen = reached(outputs)
    for serial in sorted(seen, reverse=True):
        if serial not in found:
            continue
        for parent, derivative in seen[serial].parents:
            term = found[serial] * derivative()
            found[parent.serial] = found[parent.serial] + term if parent.serial in found else term
    return found


def numbers(values):
    values = np.asarray(values, float)
    made = np.empty(values.shape, object)
    for i in np.ndindex(values.shape):
        made[i] = Number(values[i])
    return made


def plain(array):
    array = np.asarray(array, object)
    return np.array([n.value for n in array.ravel()]).reshape(array.shape)


def elementwise(array, method):
    made = np.empty(array.shape, object)
    for i in np.ndindex(array.shape):
        made[i] = getattr(array[i], method)()
    return made


def fit(*shapes):
    try:
        return np.broadcast_shapes(*shapes) is not None
    except ValueError:
        return False


def as_array(x):
    made = np.empty((), object)
    made[()] = x
    return x if isinstance(x, np.ndarray) else made


# -- the machine -----------------------------------------------------------------------------------------

SHAPES = [(), (2,), (2, 2), (1, 2), (2, 1)]
values = st.lists(st.integers(-8, 8).map(lambda n: n / 4 + 0.05), min_size=4, max_size=4)
LARGEST = 600  # numbers in one graph: gradients of gradients grow fast


def summed(found, generations):
    """The sums of the derivatives with respect to arrays of numbers; zeros for missing derivatives."""
    total = np.empty(generations[0].shape, object)
    for index in np.ndindex(total.shape):
        total[index] = sum((found.get(leaf[index].serial, ZERO) for leaf in generations), ZERO) + 0.0
    return total


class Engines(RuleBasedStateMachine):
    pool = Bundle("pool")

    def __init__(self):
        super().__init__()
        self.pairs = []
        self.parameters = []
        self.expected = []
        self.leaves = []

    def keep(self, t, n):
        n = as_array(n)
        if abs(plain(n)).max(initial=0) > 4:
            t, n = tr.tanh(t), elementwise(n, "tanh")
        if len(reached(n.ravel())) > LARGEST:
            t, n = t.detach(), numbers(plain(n))
        self.pairs.append((t, n))
        return len(self.pairs) - 1

    @initialize(target=pool, value=values)
    def parameters_and_a_constant(self, value):
        made = []
        for shape in ((2,), (2, 2)):
            data = np.resize(value, shape)
            parameter = tr.Parameter(data.copy(), f"W{len(shape)}", dtype="float64")
            n = numbers(data)
            self.parameters.append(parameter)
            self.leaves.append([n])
            self.expected.append(None)
            made.append(self.keep(parameter, n))
        made.append(self.keep(tr.tensor(value[0]), numbers(value[0])))
        return multiple(*made)

    @rule(target=pool, shape=st.sampled_from(SHAPES), value=values)
    def constant(self, shape, value):
        data = np.resize(value, shape)
        return self.keep(tr.tensor(data), numbers(data))

    @rule(target=pool, i=pool, name=st.sampled_from(["tanh", "sin", "cos", "relu"]))
    def function(self, i, name):
        t, n = self.pairs[i]
        return self.keep(getattr(tr, name)(t), elementwise(n, name))

    @rule(target=pool, i=pool, j=pool, sign=st.sampled_from("+-*"))
    def operator(self, i, j, sign):
        (t, n), (u, m) = self.pairs[i], self.pairs[j]
        if not fit(n.shape, m.shape):
            return multiple()
        operation = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}[sign]
        return self.keep(operation(t, u), operation(n, m))

    @rule(target=pool, i=pool, times=st.integers(1, 3))
    def shared(self, i, times):
        t, n = self.pairs[i]
        for _ in range(times):
            t, n = t + t * 0.25, n + n * 0.25
        return self.keep(t * t, n * n)

    @rule(target=pool, i=pool, j=pool)
    def matmul(self, i, j):
        (t, n), (u, m) = self.pairs[i], self.pairs[j]
        if not n.ndim or not m.ndim or n.shape[-1] != m.shape[-2 if m.ndim > 1 else -1]:
            return multiple()
        return self.keep(t @ u, n @ m)

    @rule(target=pool, i=pool, form=st.sampled_from(["sum", "sum0", "T", "flat", "last", "none", "twice", "stack", "join"]))
    def shape(self, i, form):
        t, n = self.pairs[i]
        if form in ("sum0", "last", "twice", "join") and not n.ndim:
            return multiple()
        change = {
            "sum": lambda x, lib: x.sum(),
            "sum0": lambda x, lib: x.sum(0),
            "T": lambda x, lib: x.T,
            "flat": lambda x, lib: x.reshape(-1),
            "last": lambda x, lib: x[-1],
            "none": lambda x, lib: x[None, ..., None][0, ..., 0],
            "twice": lambda x, lib: x[[0, -1]] * 0.5,
            "stack": lambda x, lib: lib.stack([x, x * 0.5])[1],
            "join": lambda x, lib: lib.concatenate([x, x * 2])[1:].sum(0),
        }[form]
        return self.keep(change(t, tr), change(n, np) + 0.0)  # new numbers, because the result is a new tensor

    @rule(target=pool, i=pool)
    def detach(self, i):
        t, n = self.pairs[i]
        return self.keep(t.detach(), numbers(plain(n)))

    @rule(target=pool, i=pool)
    def without_recording(self, i):
        t, n = self.pairs[i]
        with tr.no_grad():
            u = tr.sin(t) * 2
        return self.keep(u, numbers(plain(elementwise(n, "sin") * 2)))

    def generations(self, x, m):
        """All earlier values of a parameter: its gradient includes each of them, and results keep their old values."""
        return next((self.leaves[k] for k, p in enumerate(self.parameters) if p is x), [m])

    @rule(target=pool, k=st.integers(0, 1), value=values)
    def rebind(self, k, value):
        parameter = self.parameters[k]
        parameter.data = np.resize(value, parameter.shape)
        n = numbers(np.resize(value, parameter.shape))
        self.leaves[k].append(n)
        for i, (t, _) in enumerate(self.pairs):
            if t is parameter:  # the parameter has the new values; earlier results keep the old values
                self.pairs[i] = (parameter, n)
        return self.keep(parameter, n)

    @rule(i=pool, times=st.integers(1, 2), value=values)
    def backward(self, i, times, value):
        t, n = self.pairs[i]
        seen = reached(n.ravel())
        known = any(m.serial in seen for generations in self.leaves for leaf in generations for m in leaf.ravel())
        cotangent = np.resize(value, n.shape)
        found = derivatives(list(n.ravel()), [Number(c) for c in cotangent.ravel()])
        for _ in range(times):
            try:
                t.backward(cotangent)
            except GradientError:
                assert not known
                return
            for k, generations in enumerate(self.leaves):
                for leaf in generations:
                    if any(m.serial in found for m in leaf.ravel()):
                        g = plain(np.vectorize(lambda m: found.get(m.serial, ZERO), otypes=[object])(leaf))
                        self.expected[k] = g if self.expected[k] is None else self.expected[k] + g

    @rule(k=st.integers(0, 1))
    def forget_gradients(self, k):
        self.parameters[k].grad = None
        self.expected[k] = None

    @precondition(lambda self: len(self.pairs) > 4)
    @rule(target=pool, i=pool, j=pool)
    def gradient(self, i, j):
        (t, n), (x, m) = self.pairs[i], self.pairs[j]
        found = derivatives(list(n.ravel()), [ONE] * n.size)
        generations = self.generations(x, m)
        try:
            g = tr.grad(t.sum(), x)
        except GradientError as error:
            assert "cut" in str(error)
            assert not any(k.serial in found for leaf in generations for k in leaf.ravel())
            return multiple()
        naive = summed(found, generations)
        if x.node.primitive is not None and not any(k.serial in found for k in m.ravel()):
            assert not g.data.any()
        return self.keep(g, naive)

    @rule(target=pool, i=pool, k=st.integers(0, 1))
    def gradient_of_a_gradient(self, i, k):
        (t, n), W = self.pairs[i], self.parameters[k]
        ours, naive = (tr.tanh(t) * t).sum(), as_array(elementwise(n, "tanh") * n).sum()
        for _ in range(2):
            try:
                g = tr.grad(ours, W)
            except GradientError:
                return multiple()
            found = derivatives([naive], [ONE])
            parts = summed(found, self.leaves[k])
            ours, naive = (g * g).sum(), (parts * parts).sum()
        return self.keep(g, parts)

    @invariant()
    def values_agree(self):
        for t, n in self.pairs[-2:]:
            assert t.shape == n.shape
            np.testing.assert_allclose(t.data, plain(n), rtol=1e-9, atol=1e-9)

    @invariant()
    def gradients_agree(self):
        for parameter, expected in zip(self.parameters, self.expected, strict=True):
            if expected is None:
                assert parameter.grad is None or not parameter.grad.data.any()
            else:
                assert parameter.grad is not None
                np.testing.assert_allclose(parameter.grad.data, expected, rtol=1e-8, atol=1e-8)


TestEngines = Engines.TestCase
TestEngines.settings = settings(max_examples=3 * settings().max_examples, stateful_step_count=30)
