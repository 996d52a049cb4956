"""What the `buf.validate` rules of a contract say of whole messages, judged without any library."""

from __future__ import annotations

import contextlib
import math
from typing import Any, Callable, Dict, Final, Iterable, List, NamedTuple, Optional, Set, Tuple

from . import contract as types
from .contract import Contract, FieldInfo, MessageInfo
from .errors import FieldViolation, ValidationError
from .protobuf_wire import MalformedError
from .rule_messages import (
    IGNORE_ALWAYS,
    IGNORE_IF_ZERO,
    MAP_RULES,
    REPEATED_RULES,
    FieldRules,
    RawRules,
    count,
    field_rules,
    flag,
    message_rules,
    oneof_required,
    rules_inside,
)
from .scalars import WRAPPERS
from .value_rules import unfit, value_rules, zero_test

#: More problems of one request are not told.
MOST_VIOLATIONS: Final = 100

#: Where a value is: the place around it, and its name, its index, or its key in a tuple; None: the message itself.
Place = Optional[Tuple[Any, Any]]


_WRAPPERS: Final = frozenset(f"google.protobuf.{name}" for name in WRAPPERS)


class _EnoughError(Exception):
    """So much is wrong that more need not be found out."""


class _Found(List[FieldViolation]):
    def add(self, place: Place, said: str) -> None:
        self.append(FieldViolation(place_text(place), f"{said}."))
        if len(self) >= MOST_VIOLATIONS:
            raise _EnoughError


def place_text(place: Place) -> str:
    """A place as `items[0].labels["name"].value`."""
    pieces: List[Any] = []
    while place is not None:
        place, piece = place
        pieces.append(piece)
    text = ""
    for piece in reversed(pieces):
        if isinstance(piece, str):
            text += f".{piece}" if text else piece
        else:
            text += f"[{_key_text(piece[0]) if isinstance(piece, tuple) else piece}]"
    return text


def _key_text(key: Any) -> str:
    if isinstance(key, str):
        for letter, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\r", "\\r"), ("\n", "\\n")):
            key = key.replace(letter, escaped)
        return f'"{key}"'
    return str(key).lower()


#: Notes what is wrong with a value.
Judge = Callable[[Any, Place, _Found], None]


class _Plan:
    """The rules of one message type; those of recursive types refer to themselves."""

    def __init__(self) -> None:
        self.judges: List[Judge] = []

    def judge(self, message: Any, place: Place, found: _Found) -> None:
        if isinstance(message, dict):
            for each in self.judges:
                each(message, place, found)


class RequestRules:
    """The rules of all messages of a contract. Methods raise ValidationError where rules cannot be used."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._plans: Dict[str, _Plan] = {}
        self._reaching: Dict[str, bool] = {}
        #: By message type that was asked for: fields and messages with rules that only CEL can judge.
        self._beyond: Dict[str, List[str]] = {}

    def has_rules(self, type_name: str) -> bool:
        """Whether a message, or one inside of it, has rules at all."""
        known = self._reaching.get(type_name)
        if known is None:
            known = self._reaching[type_name] = any(map(self._own_rules, self._reached(type_name)))
        return known

    def beyond(self, type_name: str) -> List[str]:
        """What only CEL can judge in a message and those inside of it."""
        reached = self._reached(type_name)
        for each in reached:
            self._plan(each)
        return [place for each in reached for place in self._beyond.get(each, [])]

    def violations(self, type_name: str, message: Any) -> List[FieldViolation]:
        """What is wrong with a message as the SDK decodes it, at most 100 problems. Raises RulesBrokenError."""
        found = _Found()
        with contextlib.suppress(_EnoughError):
            self._plan(type_name).judge(message, None, found)
        return found

    def _reached(self, type_name: str) -> List[str]:
        reached, waiting = [], [type_name]
        seen: Set[str] = set()
        while waiting:
            name = waiting.pop()
            info = self._contract.messages.get(name)
            if name in seen or info is None or name.startswith("google.protobuf."):
                continue
            seen.add(name)
            reached.append(name)
            waiting.extend(each.type_name for each in reversed(info.fields) if each.type == types.MESSAGE)
        return reached

    def _own_rules(self, type_name: str) -> bool:
        info = self._contract.messages[type_name]
        return bool(info.rules or info.oneof_rules or any(each.rules for each in info.fields))

    def _plan(self, type_name: str) -> _Plan:
        known = self._plans.get(type_name)
        if known is not None:
            return known
        plan = self._plans[type_name] = _Plan()
        info = self._contract.messages.get(type_name)
        if info is not None and self.has_rules(type_name):
            try:
                plan.judges.extend(self._judges(info))
            except (MalformedError, KeyError) as error:
                raise ValidationError(f"{type_name} has rules that cannot be read: {error}.") from error
        return plan

    def _judges(self, info: MessageInfo) -> Iterable[Judge]:
        whole = message_rules(info.rules)
        if whole.beyond:
            self._cannot(info, info.name)
        named = {each for names, _ in whole.oneofs for each in names}
        for field in info.fields:
            judge = self._field(info, field, field_rules(field.rules), field.name in named)
            if judge is not None:
                yield judge
        for names, required in whole.oneofs:
            yield self._one_of(info, names, required)
        for name, rules in info.oneof_rules.items():
            if oneof_required(rules):
                yield _required_oneof(name, [each.name for each in info.fields if each.oneof == name])

    def _cannot(self, info: MessageInfo, place: str) -> None:
        known = self._beyond.setdefault(info.name, [])
        if place not in known:
            known.append(place)

    def _field(self, info: MessageInfo, field: FieldInfo, rules: FieldRules, named: bool) -> Optional[Judge]:
        ignore = rules.ignore or (IGNORE_IF_ZERO if named else 0)
        if ignore == IGNORE_ALWAYS:
            return None
        judge = self._values(_Site(info, field, rules))
        if judge is None and not rules.required:
            return None
        always = ignore == 0 and not field.presence and field.oneof is None
        return _field_judge(field.name, rules.required, _Presence(self._is_set(field), always), judge)

    def _is_set(self, field: FieldInfo) -> Callable[[Any], bool]:
        entry = self._contract.messages.get(field.type_name)
        if field.repeated or (entry is not None and entry.map_entry):
            return bool
        if field.presence or field.oneof is not None:
            return lambda value: value is not None
        is_zero = zero_test(self._contract, field)
        return lambda value: not is_zero(value)

    def _values(self, site: _Site) -> Optional[Judge]:
        """Judges what a field has, whether one value or many."""
        info, field, rules = site
        if not field.repeated:
            return self._single(site)
        entry = self._contract.messages.get(field.type_name)
        is_map = entry is not None and entry.map_entry
        wanted = MAP_RULES if is_map else REPEATED_RULES
        if rules.kind not in (0, wanted):
            raise unfit(f"{info.name}.{field.name}")
        known = (1, 2, 4, 5) if is_map else (1, 2, 3, 4)
        if rules.beyond or any(at not in known for at in rules.rules):
            self._cannot(info, f"{info.name}.{field.name}")
        return self._map(site, entry) if is_map and entry is not None else self._list(site)

    def _list(self, site: _Site) -> Optional[Judge]:
        info, field, rules = site
        checks = _size_checks(rules.rules, "must contain at least {} item(s)", "must contain no more than {} item(s)")
        # Messages are never each other's equals; wrappers are what they wrap.
        if flag(rules.rules, 3) and (field.type != types.MESSAGE or field.type_name in _WRAPPERS):
            checks.append(lambda value: None if _are_unique(value) else "repeated value must contain unique items")
        single = FieldInfo(field.name, field.json_name, field.number, field.type, field.type_name)
        item = self._part(_Site(info, single, field_rules(rules_inside(rules.rules, 4) or b"")))
        return _many_judge(checks, lambda value: ((at, each, each) for at, each in enumerate(value)), [item])

    def _map(self, site: _Site, entry: MessageInfo) -> Optional[Judge]:
        info, field, rules = site
        checks = _size_checks(rules.rules, "map must be at least {} entries", "map must be at most {} entries")
        parts = []
        for name, at in (("key", 4), ("value", 5)):
            each = entry.by_name[name]
            single = FieldInfo(field.name, field.json_name, field.number, each.type, each.type_name)
            parts.append(self._part(_Site(info, single, field_rules(rules_inside(rules.rules, at) or b""))))
        return _many_judge(checks, lambda value: (((key,), key, each) for key, each in value.items()), parts)

    def _part(self, site: _Site) -> Optional[Judge]:
        """Judges an item, a key or a value."""
        rules = site.rules
        judge = None if rules.ignore == IGNORE_ALWAYS else self._single(site)
        if judge is None or rules.ignore != IGNORE_IF_ZERO:
            return judge
        is_zero, inner = zero_test(self._contract, site.field), judge
        return lambda value, place, found: None if is_zero(value) else inner(value, place, found)

    def _single(self, site: _Site) -> Optional[Judge]:
        info, field, rules = site
        own = value_rules(self._contract, field, rules, f"{info.name}.{field.name}")
        if own.beyond:
            self._cannot(info, f"{info.name}.{field.name}")
        inside = self._plan(field.type_name) if self.has_rules(field.type_name) else None
        if inside is None and not own.checks:
            return None

        def judge(value: Any, place: Place, found: _Found) -> None:
            if inside is not None:
                inside.judge(value, place, found)
            for said in own.problems(value):
                found.add(place, said)

        return judge

    def _one_of(self, info: MessageInfo, names: List[str], required: bool) -> Judge:
        fields = {each.name: each for each in info.fields}
        if not names or len(set(names)) < len(names) or any(each not in fields for each in names):
            raise ValidationError(f"{info.name} has a oneof rule whose fields are not its own. Correct the contract.")
        tests = [(name, self._is_set(fields[name])) for name in names]

        def judge(message: Any, place: Place, found: _Found) -> None:
            present = sum(is_set(message.get(name)) for name, is_set in tests)
            if present > 1:
                found.add(place, f"only one of {', '.join(names)} can be set")
            if required and present == 0:
                found.add(place, f"one of {', '.join(names)} must be set")

        return judge


class _Site(NamedTuple):
    """Which field rules are made for."""

    info: MessageInfo
    field: FieldInfo
    rules: FieldRules


class _Presence(NamedTuple):
    is_set: Callable[[Any], bool]
    #: Whether what is not set is judged too, as its default.
    always: bool


def _field_judge(name: str, required: bool, presence: _Presence, judge: Optional[Judge]) -> Judge:
    is_set, always = presence

    def judge_field(message: Any, place: Place, found: _Found) -> None:
        value = message.get(name)
        if not is_set(value):
            if required:
                found.add((place, name), "value is required")
                return
            if not always:
                return
        if judge is not None:
            judge(value, (place, name), found)

    return judge_field


def _required_oneof(name: str, members: List[str]) -> Judge:
    def judge(message: Any, place: Place, found: _Found) -> None:
        if all(message.get(each) is None for each in members):
            found.add((place, name), "exactly one field is required in oneof")

    return judge


def _size_checks(rules: RawRules, least_said: str, most_said: str) -> List[Callable[[Any], Optional[str]]]:
    least, most = count(rules, 1), count(rules, 2)
    checks: List[Callable[[Any], Optional[str]]] = []
    if least is not None:
        checks.append(lambda value: least_said.format(least) if len(value) < least else None)
    if most is not None:
        checks.append(lambda value: most_said.format(most) if len(value) > most else None)
    return checks


def _many_judge(
    checks: List[Callable[[Any], Optional[str]]],
    each_of: Callable[[Any], Iterable[Tuple[Any, Any, Any]]],
    parts: List[Optional[Judge]],
) -> Optional[Judge]:
    """Judges a list or map as a whole, then the parts of each entry: its first with the first judge, its last with the
    last."""
    if not checks and not any(parts):
        return None
    first, last = (parts[0], parts[-1]) if len(parts) > 1 else (None, parts[0])

    def judge(value: Any, place: Place, found: _Found) -> None:
        for check in checks:
            said = check(value)
            if said is not None:
                found.add(place, said)
        if first is None and last is None:
            return
        for name, one, other in each_of(value):
            if first is not None:
                first(one, (place, name), found)
            if last is not None:
                last(other, (place, name), found)

    return judge


def _are_unique(values: List[Any]) -> bool:
    # No NaN is another's equal.
    counted = [each for each in values if not (isinstance(each, float) and math.isnan(each))]
    return len(set(counted)) == len(counted)
