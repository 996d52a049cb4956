"""Patterns in the syntax of RE2, which contracts use, as programs for `linear_regex`
(https://github.com/google/re2/wiki/Syntax)."""

from __future__ import annotations

import unicodedata
from typing import Any, Callable, Dict, Final, List, NoReturn, Optional, Sequence, Tuple

#: Whether a character belongs to a set.
CharTest = Callable[[str], bool]
#: ("set", test, next), ("assert", kind, next), ("split", nexts) or ("match",).
Program = List[Tuple[Any, ...]]
Node = Tuple[Any, ...]

_MOST_REPEATS: Final = 1000
_MOST_INSTRUCTIONS: Final = 20_000
_DEEPEST: Final = 100
_EMPTY: Final[Node] = ("cat", [])

_DIGIT = [("0", "9")]
_WORD = [("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z")]
_SPACE = [("\t", "\n"), ("\f", "\r"), (" ", " ")]
_CLASSES: Final[Dict[str, List[Tuple[str, str]]]] = {
    "alnum": [("0", "9"), ("A", "Z"), ("a", "z")],
    "alpha": [("A", "Z"), ("a", "z")],
    "ascii": [("\x00", "\x7f")],
    "blank": [("\t", "\t"), (" ", " ")],
    "cntrl": [("\x00", "\x1f"), ("\x7f", "\x7f")],
    "digit": _DIGIT,
    "graph": [("!", "~")],
    "lower": [("a", "z")],
    "print": [(" ", "~")],
    "punct": [("!", "/"), (":", "@"), ("[", "`"), ("{", "~")],
    "space": [("\t", "\r"), (" ", " ")],
    "upper": [("A", "Z")],
    "word": _WORD,
    "xdigit": [("0", "9"), ("A", "F"), ("a", "f")],
}
_LETTERS: Final = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}
#: Letters that Unicode folds together with others though no letter's upper or lower case says so.
_FOLDED: Final = {
    "\u212a": "kK",
    "\u017f": "sS",
    "\u1e9e": "\u00df",
    "\u2126": "\u03c9\u03a9",
    "\u212b": "\u00e5\u00c5",
}
_FOLDED_BACK: Final = {letter: odd for odd, letters in _FOLDED.items() for letter in letters}


class PatternError(ValueError):
    """A pattern that is not RE2's syntax, or beyond what is understood here."""


def is_word(char: Optional[str]) -> bool:
    """Whether a character is one of words, as \\b has it."""
    return char is not None and (char == "_" or (char.isascii() and char.isalnum()))


def _variants(char: str) -> List[str]:
    found = {char, char.lower(), char.upper(), char.lower().upper(), char.upper().lower(), _FOLDED_BACK.get(char, char)}
    found.update(_FOLDED.get(char, ""))
    return [each for each in found if len(each) == 1]


class CharSet:
    """Ranges of characters and other sets, perhaps all but these, perhaps whatever their case."""

    __slots__ = ("fold", "negated", "ranges", "sets")

    def __init__(
        self,
        ranges: Sequence[Tuple[str, str]] = (),
        sets: Sequence[CharTest] = (),
        *,
        negated: bool = False,
        fold: bool = False,
    ) -> None:
        self.ranges = list(ranges)
        self.sets = list(sets)
        self.negated = negated
        self.fold = fold

    def _has(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) or any(each(char) for each in self.sets)

    def __call__(self, char: str) -> bool:
        found = any(self._has(each) for each in _variants(char)) if self.fold else self._has(char)
        return found != self.negated


class PatternParser:
    """Reads one pattern. Raises PatternError."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._depth = 0
        self._fold = self._lines = self._dot_all = False

    def parse(self) -> Node:
        """The pattern as a tree. Raises PatternError."""
        tree = self._alternatives()
        if self._at < len(self._text):
            self._fail("there is a ) too many")
        return tree

    def _fail(self, why: str) -> NoReturn:
        raise PatternError(f"{why}, at character {self._at + 1}")

    def _peek(self, ahead: int = 0) -> str:
        return self._text[self._at + ahead : self._at + ahead + 1]

    def _take(self, text: str) -> bool:
        if self._text.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def _next(self) -> str:
        char = self._peek()
        if not char:
            self._fail("it ends too early")
        self._at += 1
        return char

    def _alternatives(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail("it is nested too deeply")
        flags = (self._fold, self._lines, self._dot_all)
        found = [self._sequence()]
        while self._take("|"):
            found.append(self._sequence())
        self._fold, self._lines, self._dot_all = flags
        self._depth -= 1
        return found[0] if len(found) == 1 else ("alt", found)

    def _sequence(self) -> Node:
        parts: List[Node] = []
        while self._peek() and self._peek() not in "|)":
            if self._take("\\Q"):
                literal, _, rest = self._text[self._at :].partition("\\E")
                self._at = len(self._text) - len(rest)
                # What follows repeats the last character only.
                parts.extend(self._char(each) for each in literal)
                if literal:
                    parts.append(self._repeated(parts.pop()))
                continue
            node = self._atom()
            if node is not None:
                parts.append(self._repeated(node))
        return ("cat", parts)

    def _repeated(self, node: Node) -> Node:
        found = self._bounds()
        if found is None:
            return node
        self._take("?")
        if self._bounds() is not None:
            self._fail("a repetition is repeated")
        low, high = found
        if max(low, high or 0) > _MOST_REPEATS or _repeats(node) * max(low, high or 1, 1) > _MOST_REPEATS:
            self._fail(f"it repeats more than {_MOST_REPEATS} times")
        return ("repeat", node, low, high)

    def _bounds(self) -> Optional[Tuple[int, Optional[int]]]:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        end = self._text.find("}", self._at)
        if self._peek() != "{" or end < 0:
            return None
        low, comma, high = self._text[self._at + 1 : end].partition(",")
        if not _is_number(low) or not (high == "" or _is_number(high)):
            return None
        self._at = end + 1
        if max(len(low), len(high)) > 4 or (high and int(high) < int(low)):
            self._fail("a repetition has impossible bounds")
        return int(low), int(high) if high else None if comma else int(low)

    def _atom(self) -> Optional[Node]:
        char = self._next()
        if char == "(":
            return self._group()
        if char == "[":
            return self._class()
        if char == ".":
            return ("set", CharSet([] if self._dot_all else [("\n", "\n")], negated=True))
        if char == "^":
            return ("assert", "line begins" if self._lines else "text begins")
        if char == "$":
            return ("assert", "line ends" if self._lines else "text ends")
        if char in "*+?":
            self._fail("there is nothing to repeat")
        return self._escape() if char == "\\" else self._char(char)

    def _char(self, char: str) -> Node:
        return ("set", CharSet([(char, char)], fold=self._fold))

    def _group(self) -> Optional[Node]:
        outside = (self._fold, self._lines, self._dot_all)
        if self._take("?"):
            if self._take("P<") or (self._peek() == "<" and self._peek(1) not in "=!"):
                name, closed, _ = self._text[self._at :].lstrip("<").partition(">")
                if not closed or not name.isidentifier() or not name.isascii():
                    self._fail("a group's name is missing")
                self._at = self._text.index(">", self._at) + 1
            elif self._flags():
                return None
        inner = self._alternatives()
        if not self._take(")"):
            self._fail("a ) is missing")
        self._fold, self._lines, self._dot_all = outside
        return inner

    def _flags(self) -> bool:
        """Reads flags; whether they stand for the rest of the group around."""
        on = True
        while True:
            char = self._next()
            if char == "-" and on:
                on = False
            elif char == "i":
                self._fold = on
            elif char == "m":
                self._lines = on
            elif char == "s":
                self._dot_all = on
            elif char == ")":
                return True
            elif char == ":":
                return False
            elif char != "U":
                self._fail("RE2 has no such group (no look-around, no back-references)")

    def _escape(self) -> Node:
        char = self._next()
        ends = {"A": "text begins", "z": "text ends", "b": "word boundary", "B": "no word boundary"}
        if char in ends:
            return ("assert", ends[char])
        self._at -= 1
        test = self._escaped_set()
        return ("set", test) if test is not None else self._char(self._escaped_char())

    def _escaped_set(self) -> Optional[CharSet]:
        """\\d and the like, \\pL and \\p{Lu}, after the backslash."""
        char = self._peek()
        known = {"d": _DIGIT, "w": _WORD, "s": _SPACE}.get(char.lower())
        if known is not None:
            self._at += 1
            return CharSet(known, negated=char.isupper(), fold=self._fold)
        if char not in ("p", "P"):
            return None
        self._at += 1
        name = self._next()
        if name == "{":
            name, closed, _ = self._text[self._at :].partition("}")
            if not closed:
                self._fail("a } is missing")
            self._at += len(name) + 1
        negated = (char == "P") != name.startswith("^")
        name = name.lstrip("^")
        if name == "Any":
            return CharSet(negated=not negated)
        if not (len(name) in (1, 2) and name in _CATEGORIES):
            self._fail(f"\\p{{{name}}} is a script or unknown; general categories are understood here (L, Lu, Nd, …)")
        return CharSet(
            sets=[lambda each: unicodedata.category(each).startswith(name)], negated=negated, fold=self._fold
        )

    def _escaped_char(self) -> str:
        char = self._next()
        if char in _LETTERS:
            return _LETTERS[char]
        if char == "x":
            return self._hex()
        if char in "01234567":
            digits = char
            while len(digits) < 3 and self._peek() and self._peek() in "01234567":
                digits += self._next()
            if char != "0" and len(digits) == 1:
                self._fail("RE2 has no back-references")
            return chr(int(digits, 8))
        if char.isascii() and (char.isalnum() or char == "_"):
            self._fail(f"RE2 has no \\{char}")
        return char

    def _hex(self) -> str:
        digits = self._next()
        if digits == "{":
            digits, closed, _ = self._text[self._at :].partition("}")
            self._at += len(digits) + 1
        else:
            digits, closed = digits + self._next(), "}"
        if not closed or not digits or any(each not in "0123456789abcdefABCDEF" for each in digits):
            self._fail("\\x needs hexadecimal digits")
        if len(digits) > 6 or int(digits, 16) > 0x10FFFF:
            self._fail("there is no such character")
        return chr(int(digits, 16))

    def _class(self) -> Node:
        found = CharSet(negated=self._take("^"), fold=self._fold)
        first = True
        while first or self._peek() != "]":
            first = False
            if self._peek() == "[" and self._peek(1) == ":" and ":]" in self._text[self._at + 2 :]:
                found.sets.append(self._named_class())
                continue
            low = self._class_item()
            if isinstance(low, CharSet):
                found.sets.append(low)
                continue
            high = low
            if self._peek() == "-" and self._peek(1) not in ("]", ""):
                self._at += 1
                item = self._class_item()
                if isinstance(item, CharSet) or item < low:
                    self._fail("a range of characters is the wrong way round")
                high = item
            found.ranges.append((low, high))
        self._at += 1
        return ("set", found)

    def _class_item(self) -> Any:
        char = self._next()
        if char != "\\":
            return char
        test = self._escaped_set()
        return test if test is not None else self._escaped_char()

    def _named_class(self) -> CharSet:
        name, _, _ = self._text[self._at + 2 :].partition(":]")
        self._at += len(name) + 4
        if name.lstrip("^") not in _CLASSES or name.startswith("^^"):
            self._fail(f"there is no class [:{name}:]")
        return CharSet(_CLASSES[name.lstrip("^")], negated=name.startswith("^"), fold=self._fold)


_CATEGORIES: Final = frozenset(
    [unicodedata.category(chr(code)) for code in range(0x3000)]
    + [unicodedata.category(chr(code))[0] for code in range(0x3000)]
    + ["Co", "Cs", "Cn"]
)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _repeats(node: Node) -> int:
    """How often the innermost part of a tree is repeated by counted repetitions."""
    if node[0] == "repeat":
        return _repeats(node[1]) * int(max(node[2], node[3] or 1, 1))
    return max((_repeats(each) for each in node[1]), default=1) if node[0] in ("cat", "alt") else 1


class ProgramWriter:
    """Writes the program of a tree. Raises PatternError if it is too long."""

    def __init__(self) -> None:
        self.program: Program = [("match",)]

    def write(self, node: Node, after: int) -> int:
        """Writes what a tree does before `after`; where that begins."""
        kind = node[0]
        if kind == "cat":
            for each in reversed(node[1]):
                after = self.write(each, after)
            return after
        if kind == "alt":
            return self._add(("split", [self.write(each, after) for each in node[1]]))
        if kind == "repeat":
            return self._repeat(node[1], node[2], node[3], after)
        return self._add((kind, node[1], after))

    def _repeat(self, body: Node, low: int, high: Optional[int], after: int) -> int:
        if high is None:
            loop = self._add(("split", []))
            self.program[loop] = ("split", [self.write(body, loop), after])
            first = loop
        else:
            first = after
            for _ in range(high - low):
                first = self._add(("split", [self.write(body, first), after]))
        for _ in range(low):
            first = self.write(body, first)
        return first

    def _add(self, instruction: Tuple[Any, ...]) -> int:
        if len(self.program) >= _MOST_INSTRUCTIONS:
            raise PatternError("it is too long")
        self.program.append(instruction)
        return len(self.program) - 1
