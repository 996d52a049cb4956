"""Patterns of contracts, matched in a time that grows with the text and no faster, whatever pattern and text are:
whoever calls must not be able to hold a service up. Python's own `re` promises no such thing."""

from __future__ import annotations

from typing import Dict, Final, FrozenSet, List, Optional, Set, Tuple

from .regex_syntax import PatternError, PatternParser, ProgramWriter, is_word

#: Steps that are remembered; more are found anew.
_MOST_STEPS: Final = 20_000
#: Places looked at for one text, steps that are remembered left out: about a third of a second.
_MOST_WORK: Final = 250_000


class TooSlowError(Exception):
    """A pattern that takes too long on some text."""


class _State:
    """Where the program may be, and what came just before."""

    __slots__ = ("before", "places", "steps")

    def __init__(self, places: FrozenSet[int], before: Optional[str]) -> None:
        self.places = places
        self.before = before
        #: The next state by character; None: it has matched.
        self.steps: Dict[str, Optional[_State]] = {}


class LinearRegex:
    """A pattern in RE2's syntax. Raises PatternError."""

    def __init__(self, pattern: str) -> None:
        writer = ProgramWriter()
        self._first = writer.write(PatternParser(pattern).parse(), 0)
        self._program = writer.program
        self._work = 0
        self._looks_back = any(each[0] == "assert" for each in self._program)
        self._forget()

    def _forget(self) -> None:
        self._states: Dict[Tuple[FrozenSet[int], str], _State] = {}
        self._known = 0
        self._start = _State(frozenset((self._first,)), None)

    def search(self, text: str) -> bool:
        """Whether the pattern matches some part of a text. Raises TooSlowError."""
        state = self._start
        self._work = 0
        for char in text:
            after = state.steps[char] if char in state.steps else self._step(state, char)
            if after is None:
                return True
            state = after
        return self._reached(state, None)[0]

    def _step(self, state: _State, char: str) -> Optional[_State]:
        matched, tests = self._reached(state, char)
        after: Optional[_State] = None
        if not matched:
            program = self._program
            # A match may begin at every character.
            places = frozenset([program[at][2] for at in tests if program[at][1](char)] + [self._first])
            before = self._kind(char)
            after = self._states.setdefault((places, before), _State(places, before))
        self._known += 1
        if self._known > _MOST_STEPS:
            self._forget()
        else:
            state.steps[char] = after
        return after

    def _kind(self, char: str) -> str:
        """A character that stands for all of which assertions think the same."""
        if not self._looks_back:
            return " "
        return char if char == "\n" else "a" if is_word(char) else " "

    def _reached(self, state: _State, after: Optional[str]) -> Tuple[bool, List[int]]:
        """Whether the program has matched before a character, and else the tests it stands at."""
        program = self._program
        seen: Set[int] = set()
        tests: List[int] = []
        stack = list(state.places)
        while stack:
            at = stack.pop()
            if at in seen:
                continue
            seen.add(at)
            instruction = program[at]
            if instruction[0] == "match":
                return True, []
            if instruction[0] == "set":
                tests.append(at)
            elif instruction[0] == "split":
                stack.extend(instruction[1])
            elif _holds(instruction[1], state.before, after):
                stack.append(instruction[2])
        self._work += len(seen)
        if self._work > _MOST_WORK:
            raise TooSlowError("a pattern takes too long on this text")
        return False, tests


def _holds(assertion: str, before: Optional[str], after: Optional[str]) -> bool:
    if assertion == "text begins":
        return before is None
    if assertion == "text ends":
        return after is None
    if assertion == "line begins":
        return before in (None, "\n")
    if assertion == "line ends":
        return after in (None, "\n")
    return (is_word(before) != is_word(after)) == (assertion == "word boundary")


__all__ = ["LinearRegex", "PatternError"]
