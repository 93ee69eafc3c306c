"""The kinds of a random cell, read from its recipe, so that tests can assert coverage."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

from tinygrad_rnn.graph.node import ancestors
from tinygrad_rnn.nn.module_trace import Step
from tinygrad_rnn.tensor import Tensor
from tinygrad_rnn.testing.cells.recipe import BATCH, Equation, Recipe
from tinygrad_rnn.testing.random_cells import CellRun
from tinygrad_rnn.tree import flatten

REDUCTIONS = ("sum", "mean", "max", "min", "logsumexp")


def kinds_of(drawn: CellRun) -> frozenset[str]:
    """Names of the motifs, kinds of slots, operations and options in a cell and its run."""
    recipe, step = drawn.cell.recipe, drawn.step
    found = {kind for equation in recipe.equations for kind in equation.kinds}
    for equation in recipe.equations:
        found |= {equation.operation, *_of_options(equation)}
    found |= {f"primitive {name}" for name in primitives_of(step)}
    found |= {f"{len(recipe.slots)} slots", f"T={drawn.T}", f"B={drawn.batch_size}"}
    found |= _of_slots(recipe) | _of_interface(recipe, step)
    found |= {"captured tensor" if isinstance(value, Tensor) else "captured array" for value in drawn.captured.values()}
    ends = len(recipe.slots) + sum(leaf.dtype.kind == "f" for leaf in flatten(step.output))
    holds = {
        "learnt start": bool(drawn.cell.start),
        "given state": drawn.state is not None,
        "forced": bool(drawn.force) and drawn.force_mask is None,
        "forced by a mask": drawn.force_mask is not None,
        "lengths": drawn.lengths is not None,
        "reverse": drawn.reverse,
        "no gradient from some end": len(drawn.cotangents) < ends,
        "dead code": len(recipe.pruned().equations) < len(recipe.equations),
    }
    return frozenset(found | {kind for kind, is_so in holds.items() if is_so})


def _of_options(equation: Equation) -> set[str]:
    """Whether an operation acts along the features, and whether a reduction keeps its axis."""
    options = dict(equation.options)
    found = {f"{equation.operation} over features"} if options.get("axis") == -1 else set()
    if equation.operation in REDUCTIONS:
        found.add("reduction with its axis" if options.get("keepdims") else "reduction without its axis")
    return found


def primitives_of(step: Step) -> set[str]:
    """Names of the primitives of a traced step."""
    nodes = ancestors([leaf.node for leaf in (*flatten(step.output), *step.after)])
    return {node.primitive.name for node in nodes if node.primitive is not None}


def cycles(recipe: Recipe) -> list[frozenset[str]]:
    """The sets of slots that depend on each other, without slots that are only copied."""
    onto = _reached(recipe)
    after = dict(zip(recipe.slots, recipe.after, strict=True))
    looping = [slot for slot in recipe.slots if slot in onto[slot] and after[slot] != slot]
    return list(dict.fromkeys(frozenset(s for s in looping if s in onto[slot] and slot in onto[s]) for slot in looping))


def _reached(recipe: Recipe) -> dict[str, set[str]]:
    """The slots on which the next value, or any later value, of each slot depends."""
    slots = set(recipe.slots)
    onto = {slot: recipe.reads(name) & slots for slot, name in zip(recipe.slots, recipe.after, strict=True)}
    for middle in onto:
        for slot in onto:
            if middle in onto[slot]:
                onto[slot] = onto[slot] | onto[middle]
    return onto


def _of_slots(recipe: Recipe) -> set[str]:
    after = dict(zip(recipe.slots, recipe.after, strict=True))
    slots, onto, found_cycles = set(after), _reached(recipe), cycles(recipe)
    reads = {slot: recipe.reads(name) for slot, name in after.items()}
    put_out = recipe.reads(*flatten(recipe.output)) & slots
    read = set().union(*[reads[s] & slots for s in slots])
    looping = set().union(*found_cycles)
    delays = {s for s in slots if s not in onto[s]}
    taps = {s for s in delays if after[s] in delays and s in put_out and after[s] in put_out}
    pairs = list(permutations(found_cycles, 2))
    weights = [{n for n in set().union(*[reads[s] for s in cycle]) if n.startswith("W")} for cycle in found_cycles]
    rank = {len(recipe.shapes[s]) for s in slots}
    names = list(after.values())
    sources = {name for name, shape in recipe.shapes.items() if shape[:1] == (BATCH,)}
    attending = [recipe.reads(e.name) & delays for e in recipe.equations if "attention" in e.kinds]
    holds = {
        "no cycle": bool(slots) and not found_cycles,
        "a cycle": bool(found_cycles),
        "several slots in a cycle": any(len(cycle) > 1 for cycle in found_cycles),
        "three slots in a cycle": any(len(cycle) > 2 for cycle in found_cycles),
        "independent cycles": any(not _feeds(a, b, onto) and not _feeds(b, a, onto) for a, b in pairs),
        "one cycle feeds another": any(_feeds(a, b, onto) for a, b in pairs),
        "one matrix in two cycles": any(a & b for a, b in permutations(weights, 2)),
        "delay": bool(delays),
        "delay of an input": any(after[s] in ("x", "x1", "x2") for s in delays),
        "delay of a cycle": any(onto[s] & looping for s in delays),
        "delay chain": any(after[s] in delays for s in delays),
        "tapped delay line": bool(taps),
        "attention over delays": any(len(read) > 1 for read in attending),
        "delay into a cycle": any(onto[s] & delays for s in looping),
        "slot passed unchanged": any(after[s] == s for s in slots),
        "slots swapped": any(after[s] != s and after.get(after[s]) == s for s in slots),
        "slot never read": bool(slots - read - put_out),
        "slot not in the output": bool((slots & read) - put_out),
        "slot only in the output": bool(put_out - read),
        "slot of a constant": any(not reads[s] & sources for s in slots),
        "one value in two slots": len(set(names)) < len(names),
        "scalar slot": 1 in rank,
        "matrix slot": 3 in rank,
        "slot of one feature": any(recipe.shapes[s][1:] == (1,) for s in slots),
    }
    return {kind for kind, is_so in holds.items() if is_so}


def _feeds(source: frozenset[str], target: frozenset[str], onto: Mapping[str, set[str]]) -> bool:
    return any(onto[slot] & source for slot in target)


def _of_interface(recipe: Recipe, step: Step) -> set[str]:
    inputs = [] if recipe.inputs is None else flatten(recipe.inputs)
    outputs = flatten(recipe.output)
    sources = {*inputs, *recipe.slots}
    reads = [recipe.reads(name) for name in outputs]
    holds = {
        "no input": not inputs,
        "integer codes": "codes" in inputs,
        "several inputs": len(inputs) > 1,
        "named state": hasattr(recipe.state, "_fields"),
        "single state": isinstance(recipe.state, str),
        "nested state": any(isinstance(part, tuple) for part in recipe.state),
        "several outputs": len(outputs) > 1,
        "nested outputs": isinstance(recipe.output, tuple) and any(isinstance(part, tuple) for part in recipe.output),
        "constant output": any(not names & sources for names in reads),
        "a number for an output": any(not isinstance(name, str) for name in outputs),
        "integer output": any(leaf.dtype.kind != "f" for leaf in flatten(step.output)),
        "output of an input": any(name in inputs for name in outputs),
        "output of an old slot": any(name in recipe.slots for name in outputs),
        "output without a batch axis": any(leaf.ndim == 0 for leaf in flatten(step.output)),
        "one output twice": len(set(outputs)) < len(outputs),
        "identity": not recipe.equations,
        "no parameter": not any(name[0] in "Ww" for name in recipe.shapes),
    }
    return {kind for kind, is_so in holds.items() if is_so}
