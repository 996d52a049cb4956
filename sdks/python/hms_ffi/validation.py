"""Requests against the `buf.validate` rules of their contract, before any handler sees them."""

from __future__ import annotations

from typing import Any, Callable, List, Optional

from .contract import Contract, MethodInfo
from .errors import FailedPreconditionError, FieldViolation, ServiceError, ValidationError
from .linear_regex import TooSlowError
from .request_rules import RequestRules
from .string_rules import RulesBrokenError

#: Raises ValidationError if a request, as the SDK decodes it, breaks a rule.
RequestCheck = Callable[[Any], None]
Violations = Callable[[Any], List[FieldViolation]]


def request_check(contract: Contract, method: MethodInfo) -> Optional[RequestCheck]:
    """What judges a method's requests; None if there are no rules. Rules in CEL need the package `protovalidate`.
    Raises ValidationError if the rules cannot be used, or that package is needed and missing."""
    rules: Optional[RequestRules] = contract.request_rules
    if rules is None:
        rules = contract.request_rules = RequestRules(contract)
    if not rules.has_rules(method.input):
        return None
    name = f"{method.service}/{method.name}"
    beyond = rules.beyond(method.input)
    if beyond:
        from .cel_rules import cel_violations

        return _check(name, cel_violations(contract, method.input, name, beyond))
    known = rules
    return _check(name, lambda request: known.violations(method.input, request))


def _check(name: str, violations: Violations) -> RequestCheck:
    def check(request: Any) -> None:
        try:
            found = violations(request)
        except RecursionError as cause:
            raise ValidationError(f"The request of {name} is nested too deeply.") from cause
        except (RulesBrokenError, TooSlowError) as cause:
            raise FailedPreconditionError(
                f"The validation rules of {name} cannot be evaluated: {cause}. Correct the contract.",
                reason="CONTRACT_RULES_BROKEN",
            ) from cause
        if found:
            raise _refusal(name, found)

    return check


def _refusal(name: str, found: List[FieldViolation]) -> ServiceError:
    listed = " ".join(f"{each.field or 'the request'}: {each.description}" for each in found)
    return ValidationError(
        f"The request of {name} is not valid. {listed}", reason="REQUEST_NOT_VALID", violations=found
    )
