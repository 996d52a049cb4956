import { patternTest } from "@hms/authorization";
import { HmsError, livesElsewhere, type Principal, principalName, spokenName } from "@hms/kernel";
import type { ServiceKey } from "../service-key.ts";
import type { AccessStore } from "./access-store.ts";

/** The service ids a principal was given to register, as patterns; undefined: any that nobody else owns. */
export type RegistersOf = (principal: Principal) => readonly string[] | undefined;

/** Beside the platform's domains: what every gRPC server is asked for, and the types that everybody imports. */
const RESERVED = new RegExp(
  "^(?:hms\\.(?:ffi|sys|identity|assets|automation|communication)" +
    "|grpc\\.(?:health|reflection)|google\\.(?:protobuf|rpc|api)|buf\\.validate)(?:\\.|$)",
);

/** Whom a service does not stay with when none of his instances is left: who runs it by hand has to give it no name. */
const YIELDING = ["operator:operator"];

function denied(principal: Principal, why: string, reason: string): HmsError {
  return new HmsError("PERMISSION_DENIED", `${spokenName(principal)} may not register this: ${why}`, { reason });
}

/**
 * Decides who may register what: the platform's own ids are for its components; a principal that was given patterns
 * registers what fits them; others any id that nobody else owns in their own environment. Who comes first owns an id, and
 * keeps it when his last instance goes.
 */
export class Ownership {
  readonly #store: AccessStore;
  readonly #registersOf: RegistersOf;

  constructor(store: AccessStore, registersOf: RegistersOf) {
    this.#store = store;
    this.#registersOf = registersOf;
  }

  /** @throws HmsError PERMISSION_DENIED if the principal may not register this service */
  async claim(principal: Principal, key: ServiceKey): Promise<void> {
    if (principal.kind === "component") return;
    this.#check(principal, key);
    const owner = await this.#store.claim(key, principalName(principal), YIELDING);
    if (principal.kind !== "operator") mustBe(owner, principal, key);
  }

  /** @throws HmsError PERMISSION_DENIED if the service is not the principal's own */
  async mustOwn(principal: Principal, key: ServiceKey): Promise<void> {
    if (principal.kind === "component" || principal.kind === "operator") return;
    mustBe((await this.#store.ownerOf(key)) ?? "nobody", principal, key);
  }

  /** Lets anybody claim a service whose last available instance the operator has removed. */
  async handOver(principal: Principal, key: ServiceKey): Promise<void> {
    if (principal.kind === "operator") await this.#store.release(key);
  }

  #check(principal: Principal, { serviceId, environment }: ServiceKey): void {
    if (RESERVED.test(serviceId)) {
      throw denied(principal, `${serviceId} is the platform's own; choose another service id.`, "SERVICE_ID_RESERVED");
    }
    if (principal.kind === "operator") return;
    if (livesElsewhere(principal, environment)) {
      const why = `it lives in the environment "${principal.environment}", not in "${environment}".`;
      throw denied(principal, why, "OTHER_ENVIRONMENT");
    }
    const patterns = this.#registersOf(principal) ?? (principal.kind === "service" ? undefined : []);
    if (patterns?.some((pattern) => patternTest(pattern)(serviceId)) === false) {
      const why = `its key does not name ${serviceId} under "registers" (ffi-keys.json).`;
      throw denied(principal, why, "SERVICE_ID_NOT_GRANTED");
    }
  }
}

function mustBe(owner: string, principal: Principal, { serviceId, environment }: ServiceKey): void {
  if (owner === principalName(principal)) return;
  const why =
    `${serviceId} in the environment "${environment}" belongs to ${owner}. Choose another service id, or let the ` +
    "operator unregister it, which hands it over.";
  throw denied(principal, why, "SERVICE_ID_OWNED");
}
