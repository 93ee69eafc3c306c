"""What a random cell is an instance of: read off its program, so that coverage can be asserted."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any

from ..graph.node import ancestors
from ..nn.module_trace import Step
from ..tensor import Tensor
from ..tree import flatten
from .programs import BATCH, Interpreted, Program

__all__ = ["cycles", "kinds_of", "primitives_of"]


def kinds_of(cell: Interpreted, options: Mapping[str, Any], without: set[str], step: Step) -> frozenset[str]:
    """Names of motifs, kinds of slots, operations and options.

    Parameters
    ----------
    cell : Interpreted
    options : Mapping
        How the cell is run.
    without : set of str
        Outputs and final states from which no gradient comes.
    step : Step
        The traced step.
    """
    program = cell.program
    found = {kind for equation in program.equations for kind in equation.kinds}
    found |= {equation.operation for equation in program.equations}
    found |= {f"primitive {name}" for name in primitives_of(step)}
    found |= {f"{len(program.slots)} slots", f"T={options['T']}", f"B={options['batch_size']}"}
    found |= _of_slots(program) | _of_interface(program, step)
    found |= {"captured tensor" if isinstance(value, Tensor) else "captured array" for value in cell.captured.values()}
    holds = {
        "learnt start": bool(cell.start),
        "given state": options["state"] is not None,
        "forced": bool(options["force"]) and options["force_mask"] is None,
        "forced by a mask": options["force_mask"] is not None,
        "lengths": options["lengths"] is not None,
        "reverse": options["reverse"],
        "no gradient from some end": bool(without),
        "dead code": len(program.pruned().equations) < len(program.equations),
    }
    return frozenset(found | {kind for kind, is_so in holds.items() if is_so})


def primitives_of(step: Step) -> set[str]:
    """Names of the primitives of a traced step.

    Examples
    --------
    >>> from tinygrad_rnn import nn
    >>> from tinygrad_rnn.nn.module_trace import trace_step
    >>> sorted(primitives_of(trace_step(nn.RNNCell(3, 5))))
    ['add', 'matmul', 'tanh', 'transpose']
    """
    nodes = ancestors([leaf.node for leaf in (*flatten(step.output), *step.after)])
    return {node.primitive.name for node in nodes if node.primitive is not None}


def cycles(program: Program) -> list[frozenset[str]]:
    """The sets of slots that depend on each other; a slot that is only passed on is none."""
    onto = _reached(program)
    after = dict(zip(program.slots, program.after, strict=True))
    looping = [slot for slot in program.slots if slot in onto[slot] and after[slot] != slot]
    return list(dict.fromkeys(frozenset(s for s in looping if s in onto[slot] and slot in onto[s]) for slot in looping))


def _reached(program: Program) -> dict[str, set[str]]:
    """The slots that the next, or any later, value of each slot depends on."""
    slots = set(program.slots)
    onto = {slot: program.reads(name) & slots for slot, name in zip(program.slots, program.after, strict=True)}
    for middle in onto:
        for slot in onto:
            if middle in onto[slot]:
                onto[slot] = onto[slot] | onto[middle]
    return onto


def _of_slots(program: Program) -> set[str]:
    after = dict(zip(program.slots, program.after, strict=True))
    slots, onto, found_cycles = set(after), _reached(program), cycles(program)
    reads = {slot: program.reads(name) for slot, name in after.items()}
    put_out = program.reads(*flatten(program.output)) & slots
    read = set().union(*[reads[s] & slots for s in slots])
    looping = set().union(*found_cycles)
    delays = {s for s in slots if s not in onto[s]}
    taps = {s for s in delays if after[s] in delays and s in put_out and after[s] in put_out}
    pairs = list(permutations(found_cycles, 2))
    weights = [{n for n in set().union(*[reads[s] for s in cycle]) if n.startswith("W")} for cycle in found_cycles]
    rank = {len(program.shapes[s]) for s in slots}
    names = list(after.values())
    sources = {name for name, shape in program.shapes.items() if shape[:1] == (BATCH,)}
    attending = [program.reads(e.name) & delays for e in program.equations if "attention" in e.kinds]
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
        "slot of one feature": any(program.shapes[s][1:] == (1,) for s in slots),
    }
    return {kind for kind, is_so in holds.items() if is_so}


def _feeds(source: frozenset[str], target: frozenset[str], onto: Mapping[str, set[str]]) -> bool:
    return any(onto[slot] & source for slot in target)


def _of_interface(program: Program, step: Step) -> set[str]:
    inputs = [] if program.inputs is None else flatten(program.inputs)
    outputs = flatten(program.output)
    sources = {*inputs, *program.slots}
    reads = [program.reads(name) for name in outputs]
    holds = {
        "no input": not inputs,
        "integer codes": "codes" in inputs,
        "several inputs": len(inputs) > 1,
        "named state": hasattr(program.state, "_fields"),
        "single state": isinstance(program.state, str),
        "nested state": any(isinstance(part, tuple) for part in program.state),
        "several outputs": len(outputs) > 1,
        "nested outputs": isinstance(program.output, tuple) and any(isinstance(part, tuple) for part in program.output),
        "constant output": any(not names & sources for names in reads),
        "a number for an output": any(not isinstance(name, str) for name in outputs),
        "integer output": any(leaf.dtype.kind != "f" for leaf in flatten(step.output)),
        "output of an input": any(name in inputs for name in outputs),
        "output of an old slot": any(name in program.slots for name in outputs),
        "output without a batch axis": any(leaf.ndim == 0 for leaf in flatten(step.output)),
        "one output twice": len(set(outputs)) < len(outputs),
        "identity": not program.equations,
        "no parameter": not any(name[0] in "Ww" for name in program.shapes),
    }
    return {kind for kind, is_so in holds.items() if is_so}
