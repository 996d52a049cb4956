import { setTimeout as pause } from "node:timers/promises";
import { fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import { anyTypesOf, HmsError, type Kernel, type MethodEntry, type Principal } from "@hms/kernel";
import type { AskedMethod, ReplicaMethods } from "../ports.ts";

const AGAIN_MS = 200;
/** What a program that is about to register has not got yet. */
const NOT_YET = new Set(["REPLICA_NOT_REGISTERED", "NO_INSTANCE_AVAILABLE", "SERVICE_UNKNOWN"]);

/** A deployed service as the principal of its calls. */
type PrincipalOf = (service: { environment: string; name: string }) => Principal;

/** Asks methods of replicas through the kernel: decided, limited and recorded like any other call. */
export function replicaMethods(kernel: Kernel, principalOf: PrincipalOf): ReplicaMethods {
  return {
    async ask(asked, signal) {
      for (;;) {
        const answer = await askOnce({ kernel, principalOf }, asked, signal);
        if (!(answer instanceof HmsError)) return answer;
        await pause(AGAIN_MS, undefined, { signal }).catch(() => {
          throw answer;
        });
      }
    },
  };
}

/** The answer, or what is not there yet. @throws HmsError */
async function askOnce(
  { kernel, principalOf }: { kernel: Kernel; principalOf: PrincipalOf },
  asked: AskedMethod,
  signal: AbortSignal,
): Promise<JsonValue | HmsError> {
  const { environment, service: name, replicaId, method: full } = asked;
  const [service = "", method = ""] = full.split("/");
  const entry = await kernel.resolve({ service, method, environment });
  if (entry === undefined) return notServed(full, environment);
  assertAskable(entry);
  const { input, output } = entry.desc;
  const registry = anyTypesOf(entry.desc.parent.file);
  const principal = principalOf({ environment, name });
  const metadata = { "x-hms-replica": replicaId, "x-hms-environment": environment };
  try {
    const answer = await kernel.unary(entry, fromJson(input, {}, { registry }), {
      caller: { principal },
      signal,
      metadata,
    });
    return toJson(output, answer, { registry });
  } catch (failure) {
    const error = HmsError.from(failure);
    if (NOT_YET.has(error.details.reason ?? "")) return error;
    throw error;
  }
}

const notServed = (method: string, environment: string) =>
  new HmsError("NOT_FOUND", `${method} is registered by nobody in "${environment}". Serve it with an SDK.`, {
    reason: "SERVICE_UNKNOWN",
  });

/** @throws HmsError INVALID_ARGUMENT */
function assertAskable({ name, environment, desc }: MethodEntry): void {
  if (environment === undefined) {
    throw new HmsError("INVALID_ARGUMENT", `${name} is the platform's; a gate asks methods of the replica.`);
  }
  if (desc.methodKind !== "unary") {
    throw new HmsError("INVALID_ARGUMENT", `${name} is a stream; a gate asks a method with one answer.`);
  }
}
