"""Lines at right angles: the cheapest path on a grid, which avoids nodes and crosses few other lines."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence, Set
from typing import NamedTuple, TypeAlias

__all__ = ["EAST", "NORTH", "SOUTH", "WEST", "Spot", "Maze", "Port"]

Spot: TypeAlias = "tuple[int, int]"
Direction: TypeAlias = "tuple[int, int]"

EAST, WEST, NORTH, SOUTH = (1, 0), (-1, 0), (0, 1), (0, -1)
NOBODY: Set[Hashable] = frozenset()
DIRECTIONS = (EAST, NORTH, WEST, SOUTH)

BEND = 5.0
CROSS = 9.0
NEAR = 1.5
"""Cost of a point next to a node."""
CLASH = 400.0
"""Cost of a segment that another net already uses; so high that it is used only if no other path exists."""
SHARED = 0.8
"""Cost of a segment that the same net already uses."""


class Port(NamedTuple):
    """A point where a line may start or end, with its outward direction and its cost."""

    spot: Spot
    outwards: Direction | None
    cost: float = 0.0


class Maze:
    """A grid with obstacles, for the routing of right-angled lines around nodes.

    Parameters
    ----------
    low, high : pair of int
        Corners of the area that lines stay in.

    Examples
    --------
    >>> maze = Maze((0, 0), (9, 9))
    >>> maze.block((5, 1), 1, 3)
    >>> maze.route("a", [Port((1, 1), EAST)], [Port((8, 1), WEST)])
    [(1, 1), (2, 1), (2, 6), (7, 6), (7, 1), (8, 1)]
    """

    def __init__(self, low: Spot, high: Spot) -> None:
        self.low, self.high = low, high
        self.blocked: set[Spot] = set()
        self.near: set[Spot] = set()
        self.stretches: dict[tuple[Spot, Spot], set[Hashable]] = defaultdict(set)
        self.passed: dict[Spot, set[Hashable]] = defaultdict(set)
        self.bent: dict[Spot, set[Hashable]] = defaultdict(set)

    def block(self, centre: Spot, half_width: int, half_height: int) -> None:
        """Forbid lines in a rectangle, and make its border expensive."""
        x, y = centre
        for dx in range(-half_width - 1, half_width + 2):
            for dy in range(-half_height - 1, half_height + 2):
                inside = abs(dx) <= half_width and abs(dy) <= half_height
                (self.blocked if inside else self.near).add((x + dx, y + dy))

    def route(self, net: Hashable, starts: Iterable[Port], ends: Iterable[Port]) -> list[Spot]:
        """Find the corners of a line from one of the starts to one of the ends, and mark the line as taken.

        Parameters
        ----------
        net : hashable
            The net of the line; lines of one net may overlap.
        starts, ends : iterable of Port

        Returns
        -------
        list of pair of int
            The corners; empty if no path exists.
        """
        goals = {port.spot: port for port in ends}
        if not goals:
            return []
        queue: list[tuple[float, float, int, Spot, Direction | None]] = []
        best: dict[tuple[Spot, Direction | None], float] = {}
        came: dict[tuple[Spot, Direction | None], tuple[Spot, Direction | None] | None] = {}
        first = {}
        for number, port in enumerate(starts):
            state = port.spot, port.outwards
            if port.cost < best.get(state, 1e9):
                best[state], came[state], first[port.spot] = port.cost, None, port
                heapq.heappush(queue, (port.cost + _distance(port.spot, goals), port.cost, -number, *state))
        count = 0
        ahead: dict[Spot, float] = {}
        entry: dict[Spot, tuple[float, float] | None] = {}
        while queue:
            _, cost, _, spot, direction = heapq.heappop(queue)
            state = spot, direction
            if cost > best[state]:
                continue
            goal = goals.get(spot)
            back = None if direction is None else (-direction[0], -direction[1])
            if goal is not None and (goal.outwards is None or goal.outwards == back):
                return self._taken(net, state, came)
            fixed = came[state] is None and first[spot].outwards is not None
            for way in (direction,) if fixed else DIRECTIONS:
                assert way is not None
                after = spot[0] + way[0], spot[1] + way[1]
                known = best.get((after, way), 1e9)
                if way == back or known <= cost + SHARED:  # no segment costs less than a shared one
                    continue
                if after not in entry:
                    entry[after] = self._entry(net, after, goals)
                entering = entry[after]
                if entering is None:
                    continue
                total = cost + (self._cost(net, spot, direction, way, after) + entering[0] + entering[1])
                if after in goals:
                    total += goals[after].cost
                if total < known:
                    best[after, way], came[after, way] = total, state
                    count += 1
                    if after not in ahead:
                        ahead[after] = _distance(after, goals)
                    heapq.heappush(queue, (total + ahead[after], total, count, after, way))
        return []

    def take(self, net: Hashable, turns: Sequence[Spot]) -> None:
        """Mark a line, given by its corners, as taken by a net."""
        spots = [turns[0]]
        for end in turns[1:]:
            (x, y), (u, v) = spots[-1], end
            n = max(abs(u - x), abs(v - y))
            spots += [(x + (u - x) * k // n, y + (v - y) * k // n) for k in range(1, n + 1)]
        for a, b in itertools.pairwise(spots):
            self.stretches[_stretch(a, b)].add(net)
        for spot in spots:
            self.passed[spot].add(net)
        for spot in turns:
            self.bent[spot].add(net)

    def _is_free(self, spot: Spot, goals: dict[Spot, Port]) -> bool:
        x, y = spot
        inside = self.low[0] <= x <= self.high[0] and self.low[1] <= y <= self.high[1]
        return spot in goals or (inside and spot not in self.blocked)

    def _entry(self, net: Hashable, spot: Spot, goals: dict[Spot, Port]) -> tuple[float, float] | None:
        """Costs of a point, from whatever side a line comes: of crossing other nets, and of a node nearby; None if not free."""
        if not self._is_free(spot, goals):
            return None
        crossing = 0.0
        if _others(self.passed.get(spot, NOBODY), net):
            crossing = CLASH if _others(self.bent.get(spot, NOBODY), net) else CROSS
        return crossing, NEAR if spot in self.near else 0.0

    def _cost(self, net: Hashable, spot: Spot, direction: Direction | None, way: Direction, after: Spot) -> float:
        """Cost of the segment from a point to the next one, and of a bend before it."""
        cost = 1.0
        if taken := self.stretches.get(_stretch(spot, after)):
            cost = (SHARED if net in taken else 1.0) + (CLASH if _others(taken, net) else 0.0)
        if direction is not None and way != direction:
            cost += BEND + (CLASH if _others(self.passed.get(spot, NOBODY), net) else 0.0)
        return cost

    def _taken(
        self,
        net: Hashable,
        state: tuple[Spot, Direction | None],
        came: dict[tuple[Spot, Direction | None], tuple[Spot, Direction | None] | None],
    ) -> list[Spot]:
        """Trace the path back from a search state, and mark it as taken by the net."""
        spots = []
        at: tuple[Spot, Direction | None] | None = state
        while at is not None:
            spots.append(at[0])
            at = came[at]
        spots.reverse()
        found = corners(spots)
        self.take(net, found)
        return found


def corners(spots: Sequence[Spot]) -> list[Spot]:
    """Both ends of a path, and the points where the path turns.

    Examples
    --------
    >>> corners([(0, 0), (1, 0), (2, 0), (2, 1)])
    [(0, 0), (2, 0), (2, 1)]
    """
    turns = [
        b
        for a, b, c in zip(spots, spots[1:], spots[2:], strict=False)
        if (b[0] - a[0], b[1] - a[1]) != (c[0] - b[0], c[1] - b[1])
    ]
    return [spots[0], *turns, *([spots[-1]] if len(spots) > 1 else [])]


def _others(nets: Set[Hashable], net: Hashable) -> bool:
    return len(nets) > (net in nets)


def _stretch(a: Spot, b: Spot) -> tuple[Spot, Spot]:
    return (a, b) if a < b else (b, a)


def _distance(spot: Spot, goals: Iterable[Spot]) -> float:
    """Estimated cost of the rest of a path, for A* search."""
    u, v = spot
    return min([abs(u - x) + abs(v - y) + (BEND if u != x and v != y else 0.0) for x, y in goals])
