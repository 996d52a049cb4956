import type { DescService } from "@bufbuild/protobuf";
import type { PartName } from "@hms/config";
import {
  audit,
  automationRuns,
  automationSteps,
  deployment,
  deploymentSecrets,
  integrationEvents,
  integrationOperations,
  mesh,
  policy,
  registry,
} from "@hms/contracts";

/** What each part of the platform answers. */
export const partContracts: Readonly<Record<PartName, readonly DescService[]>> = {
  registry: [registry.RegistryService, policy.PolicyService],
  mesh: [mesh.MeshService],
  deployment: [deployment.DeploymentService, deploymentSecrets.SecretService],
  communication: [audit.AuditService],
  automation: [automationRuns.RunService, automationSteps.StepService],
  integration: [integrationOperations.OperationService, integrationEvents.EventService],
};
