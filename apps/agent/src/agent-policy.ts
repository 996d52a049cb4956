import type { Policy } from "@hms/kernel";
import { createLocalPolicy } from "@hms/local-access";

/** Who may do what with the agent: the operator everything, the server what it needs, others nothing. */
export function createAgentPolicy(): Policy {
  return createLocalPolicy({ server: ["agent:read", "agent:run"] });
}
