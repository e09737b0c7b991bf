"""Every state of a scenario, breadth first, so that a counterexample is a shortest one; or random walks.

In every state reached, all processes are killed, one clean run follows, and what it leaves is compared with the
messages that arrived.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from model.checker import Checker
from model.protocol import Model
from model.scenarios import SCENARIOS, WALKS
from model.state import Rules, World


class Found(NamedTuple):
    scenario: str
    problem: str
    depth: int  # steps before everything is killed
    trace: list[str]


def search(name: str, without: Rules, max_states: int, max_depth: int = 999) -> tuple[Found | None, int, bool]:
    """Breadth first: the first violation is a shortest one. Also the number of states, and whether these are all."""
    model = Model(SCENARIOS[name], without)
    checker = Checker(model)
    parents: dict[World, tuple[World | None, str]] = {model.begin_with(): (None, "")}
    frontier, depth = list(parents), 0
    while frontier and depth < max_depth:
        reached, depth = [], depth + 1
        for w in frontier:
            for text, after in model.steps(w):
                if after in parents:
                    continue
                parents[after] = w, text
                problem, clean = checker.problem(after)
                if problem:
                    return Found(name, problem, depth, path(parents, after) + clean), len(parents), False
                reached.append(after)
            if len(parents) > max_states:
                return None, len(parents), False
        frontier = reached
    return None, len(parents), not frontier


def path(parents: dict[World, tuple[World | None, str]], w: World) -> list[str]:
    steps: list[str] = []
    at: World | None = w
    while at is not None:
        at, text = parents[at]
        steps.append(text)
    return steps[-2::-1]


def shortest(names: list[str], without: Rules, max_states: int) -> tuple[Found | None, int]:
    """The shortest violation over several scenarios, and the number of states looked at."""
    best: Found | None = None
    states = 0
    for name in names:
        found, count, _ = search(name, without, max_states, best.depth - 1 if best else 999)
        best, states = found or best, states + count
    return best, states


def walk(without: Rules, walks: int, seed: int) -> Found | None:
    """Random walks through a scenario that is too large to be searched."""
    for number in range(seed, seed + walks):
        model = Model(WALKS[number % len(WALKS)], without)
        chance = random.Random(number)  # noqa: S311 - the same walks each time
        checker, w = Checker(model), model.begin_with()
        trace: list[str] = []
        while choices := list(model.steps(w)):
            weights = [0.1 if "killed" in text or "stopped" in text else 1.0 for text, _ in choices]
            text, w = chance.choices(choices, weights)[0]
            trace.append(text)
            problem, clean = checker.problem(w)
            if problem:
                return Found(f"walk, seed {number}", problem, len(trace), trace + clean)
    return None
