# The services of sections 4.1 and 4.2, which the plan prints in Rust and Go, in Python
from typing import Dict

from hms_ffi.errors import ResourceNotFoundError
from hms_ffi.service import method, serve, service


class DebateFramework:
    def evaluate_policy(self, policy_id: str, resource: Dict[str, str]) -> dict:
        return {"policy_id": policy_id, "allowed": resource.get("kind") == "file"}


@service("hms.cdf.debate")
class DebateService:
    def __init__(self, framework: DebateFramework) -> None:
        self.framework = framework

    @method
    def evaluate_policy(self, policy_id: str, resource: Dict[str, str]) -> dict:
        # Use the debate framework to evaluate the policy
        return self.framework.evaluate_policy(policy_id, resource)


# Register patient service with FFI system
@service("hms.emr.patient")
class PatientService:
    """Patient-related functionality."""

    @method
    def get_patient(self, patient_id: str) -> dict:
        """Retrieves a patient by ID."""
        if patient_id != "p-1":
            raise ResourceNotFoundError(f"failed to retrieve patient: {patient_id}")
        return {"patient_id": patient_id, "name": "Ada"}


serve(DebateService(DebateFramework()), PatientService())
