"""Says what the Python SDK finds wrong with each message of a file of lines of JSON."""

import base64
import json
import sys

from hms_ffi.contract import Contract
from hms_ffi.from_json import from_json
from hms_ffi.request_rules import RequestRules

with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        case = json.loads(line)
        contract = Contract(base64.b64decode(case["contract"]))
        rules = RequestRules(contract)
        if rules.beyond("f.M"):
            raise SystemExit(f"There are rules in CEL: {rules.beyond('f.M')}")
        message = from_json(contract, "f.M", case["message"], skip_unknown=False)
        print(json.dumps([[each.field, each.description] for each in rules.violations("f.M", message)]))
