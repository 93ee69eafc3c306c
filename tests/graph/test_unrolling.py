"""Loops by hand: tagging ends whenever a loop is left; modes, scopes and steps stay in their task and thread."""

import asyncio
import itertools
import threading

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn
from tinygrad_rnn.graph.context import Location

XS = np.arange(8.0).reshape(4, 2)
KEPT: list = []


def by_break(loop):
    for t, _ in loop:
        if t == 2:
            break


def by_break_of_a_body_with_try(loop):
    for t, _ in loop:
        try:
            if t == 2:
                break
            raise ValueError
        except ValueError:
            continue


def by_return(loop):
    for _, x in loop:
        return tr.tanh(x)


def by_exception(loop):
    try:
        for _, _ in loop:
            raise ValueError("left")
    except ValueError as error:
        KEPT.append(error)


def by_exception_of_a_call(loop):
    def inside():
        for _, _ in loop:
            raise ValueError("left")

    try:
        inside()
    except ValueError as error:
        KEPT.append(error)


def by_zip(loop):
    pairs = zip(loop, "ab", strict=False)
    KEPT.append(pairs)
    for _ in pairs:
        pass


def by_zip_that_asks_it_last(loop):
    pairs = zip("ab", loop, strict=False)
    KEPT.append(pairs)
    for _ in pairs:
        pass


def by_break_of_a_zip(loop):
    pairs = zip(loop, itertools.count(), strict=False)
    KEPT.append(pairs)
    for _ in pairs:
        break


def by_enumerate(loop):
    pairs = enumerate(loop)
    KEPT.append(pairs)
    for _ in pairs:
        break


def by_islice(loop):
    for _ in itertools.islice(loop, 2):
        pass


def by_hand(loop):
    next(loop)
    next(loop)


def by_hand_in_a_while(loop):
    while True:
        t, _ = next(loop)
        if t == 2:
            break


def by_a_generator(loop):
    def wrapped():
        for each in loop:  # noqa: UP028
            yield each

    generator = wrapped()
    KEPT.append(generator)
    for _ in generator:
        break


def by_any(loop):
    any(t == 2 for t, _ in loop)


def by_a_loop_within(loop):
    for _ in loop:
        for t, _ in tr.steps(XS):
            if t == 2:
                break
        break


def by_continuing(loop):
    for _ in loop:
        break
    for t, _ in loop:
        assert t > 1
        if t == 3:
            break


def to_the_end(loop):
    for _ in loop:
        pass


WAYS = [value for name, value in list(globals().items()) if name.startswith(("by_", "to_"))]


def second_loop():
    h = tr.tensor([0.0, 0.0])
    for _, x in tr.steps(tr.tensor(XS).named("x")):
        h = tr.tanh(x + h).named("h")
    return h


@pytest.mark.parametrize("kept", [False, True], ids=["dropped", "kept"])
@pytest.mark.parametrize("leave", WAYS, ids=lambda way: way.__name__)
def test_a_loop_that_was_left_tags_nothing_of_a_second_one(leave, kept):
    alone = second_loop()
    loop = tr.steps(XS)
    if kept:
        KEPT.append(loop)
        leave(loop)
    else:
        leave(loop)
        del loop
    h = second_loop()
    assert (h.node.location.t, h.node.location.unrolling.outer.unrolling) == (4, None)
    assert tr.graph(h).fold() == tr.graph(alone).fold()
    assert tr.tanh(h).node.location.t is None
    KEPT.clear()


@pytest.mark.parametrize("mode", ["scan", "unroll"])
@pytest.mark.parametrize("leave", WAYS, ids=lambda way: way.__name__)
def test_nor_of_a_layer(leave, mode):
    loop = tr.steps(XS)
    leave(loop)
    _, h = nn.Recurrent(nn.RNNCell(2, 3), mode=mode)(XS[:, None])
    assert h.node.location.t is None or h.node.location.unrolling.outer.unrolling is None
    assert all(
        node.location.unrolling is None or node.location.unrolling.outer.unrolling is None for node in tr.graph(h).opened()
    )
    KEPT.clear()


def test_in_the_code_that_follows_in_the_same_function():
    loop = tr.steps(XS)
    for t, x in loop:
        h = tr.tanh(x)
        if t == 2:
            break
    assert tr.tanh(h).node.location.t is None  # outside of the loop, which has not begun yet
    for _, x in tr.steps(XS):
        h = tr.tanh(x)
        assert h.node.location.unrolling.outer.unrolling is None
    again = tr.steps(XS)
    pairs = zip(again, "ab", strict=False)
    for _ in pairs:
        break
    for _, x in tr.steps(XS):
        assert tr.tanh(x).node.location.unrolling.outer.unrolling is None


def nested(outer):
    """All ways to be inside a step: every inner loop notices the step."""
    for step in outer:
        t = step[0] if isinstance(step[0], int) else step[0][0]
        try:
            if t % 2:
                raise ValueError
        except ValueError:
            for _, y in tr.steps(XS):
                yield t, tr.tanh(y)
            continue
        for _, y in tr.steps(XS):
            yield t, tr.tanh(y)
        assert tr.tanh(y).node.location.t == t


@pytest.mark.parametrize(
    "wrap",
    [
        lambda loop: loop,
        lambda loop: zip(loop, "abcd", strict=True),
        lambda loop: (each for each in loop),
        lambda loop: itertools.chain(loop),
        lambda loop: iter(loop.__next__, None),
    ],
    ids=["plain", "zip", "generator", "chain", "by hand"],
)
def test_a_loop_within_a_step_stays_in_it(wrap):
    count = 0
    for t, y in nested(wrap(tr.steps(XS))):
        outer = y.node.location.unrolling.outer
        assert outer.t == t and outer.unrolling is not None
        count += 1
    assert count == 16


def test_a_layer_within_a_step_stays_in_it():
    layer = nn.Recurrent(nn.RNNCell(2, 3), mode="unroll")

    def inside(x):
        return layer(XS[:, None])[1] * x.sum()

    for t, x in tr.steps(XS):
        assert inside(x).node.location.t == t
    while True:
        loop = tr.steps(XS)
        while True:
            t, x = next(loop)
            y = inside(x)
            assert y.node.location.t == t
            assert y.node.inputs[0].location.unrolling.outer.t == t
            if t == 3:
                break
        break


# -- tasks and threads -----------------------------------------------------------------------------------


async def modes(wait):
    x = tr.tensor([1.0, 2.0], requires_grad=True)
    await wait()
    with tr.no_grad():
        await wait()
        y = x * 2
        await wait()
        assert not y.requires_grad
    assert (x * 2).requires_grad


async def debugging(wait):
    with np.errstate(all="ignore"), tr.debug():
        await wait()
        with pytest.raises(tr.errors.NonFiniteError):
            tr.log(tr.tensor(0.0))
        await wait()
    with np.errstate(all="ignore"):
        assert np.isinf(tr.log(tr.tensor(0.0)).item())


async def scopes(wait):
    with tr.scope("encoder"):
        await wait()
        assert tr.tanh(tr.tensor(1.0)).node.scope == "encoder"
        await wait()
    assert tr.tanh(tr.tensor(1.0)).node.scope == ""


async def loops(wait):
    h = tr.tensor([0.0, 0.0])
    for _, x in tr.steps(tr.tensor(XS).named("x")):
        h = tr.tanh(x + h).named("h")
        await wait()
    assert tr.graph(h).fold() == tr.graph(second_loop()).fold()


async def left_loops(wait):
    loop = tr.steps(XS)
    for t, _ in loop:
        await wait()
        if t == 2:
            break
    await wait()
    assert tr.graph(second_loop()).fold()


async def tracing(wait):
    class Asks(nn.Cell):
        state_shape = (2,)

        def step(self, x, h):
            h = tr.tanh(h + x).named("h")
            return h, h

    await wait()
    y, _ = nn.Recurrent(Asks())(XS[:, None])
    await wait()
    assert isinstance(y.data, np.ndarray)


async def gradients(wait):
    x = tr.tensor(2.0, requires_grad=True)
    y = x**3
    await wait()
    first = tr.grad(y, x)
    await wait()
    assert tr.grad(first, x).item() == 12


JOBS = [modes, debugging, scopes, loops, left_loops, tracing, gradients]


@pytest.mark.parametrize("seed", range(5))
def test_tasks_do_not_see_each_others_modes_scopes_and_steps(seed):
    rng = np.random.default_rng(seed)

    async def main():
        async def wait():
            for _ in range(rng.integers(1, 4)):
                await asyncio.sleep(0)

        order = rng.permutation(len(JOBS) * 3) % len(JOBS)
        await asyncio.gather(*[JOBS[i](wait) for i in order])

    asyncio.run(main())
    assert tr.tanh(tr.tensor(1.0)).node.location == Location()


def test_a_task_begins_with_the_modes_of_where_it_was_started_and_changes_only_its_own():
    x = tr.tensor(1.0, requires_grad=True)

    async def child():
        assert not (x * 2).requires_grad
        with tr.scope("child"):
            await asyncio.sleep(0)
            return (x * 2).node.scope

    async def main():
        with tr.no_grad():
            task = asyncio.create_task(child())
        await asyncio.sleep(0)
        assert (x * 2).requires_grad and (x * 2).node.scope == ""
        await task

    asyncio.run(main())


def test_threads_do_not_see_each_others_modes_scopes_and_steps():
    barrier = threading.Barrier(len(JOBS))
    failed = []

    def work(job):
        async def wait():
            barrier_or_not = threading.Event()
            barrier_or_not.wait(0.001)

        try:
            barrier.wait()
            asyncio.run(job(wait))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(job,)) for job in JOBS]
    with tr.no_grad():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed


def test_steps_leave_no_tag_behind():
    a, b = tr.tensor([1.0, 2.0]), tr.tensor([1.0, 2.0])
    for _ in zip(tr.steps(a), tr.steps(b), strict=True):
        pass
    assert (a * 2).node.step is None
    loop = tr.steps(a)
    next(loop)
    with tr.scope("encoder"):
        del loop
        y = a * 2
    assert y.node.scope == "encoder"
    assert (a * 2).node.step is None and (a * 2).node.scope == ""
