"""Rules of `buf.validate` in CEL, judged by the package `protovalidate`, where it is installed."""

from __future__ import annotations

import json
from typing import Any, Callable, Final, List

from .contract import Contract
from .errors import FieldViolation, ValidationError
from .request_rules import MOST_VIOLATIONS, Place, place_text
from .string_rules import RulesBrokenError
from .to_json import to_json

try:
    import protovalidate
    from protobuf import wkt

    INSTALLED = True
except ImportError:
    INSTALLED = False

#: Fields of buf.validate.FieldPathElement.subscript that stand for a key of a map.
_INDEX: Final = "index"


def cel_violations(
    contract: Contract, type_name: str, method: str, beyond: List[str]
) -> Callable[[Any], List[FieldViolation]]:
    """Judges a message and all its rules, those in CEL and the others. Raises ValidationError if the package is
    missing, or the rules cannot be used."""
    if not INSTALLED:
        places = ", ".join(beyond[:5]) + (", …" if len(beyond) > 5 else "")
        raise ValidationError(
            f"{method} has validation rules in CEL, or newer than this SDK ({places}). The standard library cannot "
            "judge them, so it is not served: pip install 'protovalidate>=2' (Python 3.11 or newer), or use standard "
            "rules of buf.validate only.",
            reason="CEL_NOT_INSTALLED",
        )
    try:
        registry = wkt.FileDescriptorSet.from_binary(contract.bytes).to_registry()
        kind = registry.message(type_name).type
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValidationError(
            f"The contract of {method} has validation rules in CEL and lacks files it imports: {error}. Build it with "
            "its imports (buf build does)."
        ) from error
    validator = protovalidate.Validator(registry)

    def judged(message: Any) -> List[FieldViolation]:
        written = json.dumps(to_json(contract, type_name, message))
        return [
            FieldViolation(_path(each.proto.field), f"{each.proto.message or _rule(each.proto.rule_id)}.")
            for each in validator.collect_violations(kind.from_json(written, registry=registry))
        ][:MOST_VIOLATIONS]

    def judge(message: Any) -> List[FieldViolation]:
        try:
            return judged(message)
        except (protovalidate.CompilationError, protovalidate.EvaluationError) as error:
            raise RulesBrokenError(str(error)) from error

    try:
        # An empty message lets the package compile every rule.
        judged({})
    except protovalidate.CompilationError as error:
        raise ValidationError(f"The rules of {method} cannot be used: {error}. Correct the contract.") from error
    except protovalidate.EvaluationError:
        # This message may lack what the rules look at; others have it.
        pass
    return judge


def _rule(rule_id: str) -> str:
    return f"breaks the rule {rule_id}"


def _path(path: Any) -> str:
    place: Place = None
    for each in path.elements if path is not None else ():
        place = (place, each.field_name)
        if each.subscript is not None:
            key = each.subscript.value
            place = (place, key if each.subscript.field == _INDEX else (key,))
    return place_text(place)
