import { type RowsAsThings, visibleRows } from "@hms/authorization";
import { type CallContext, HmsError, type Policy, spokenName } from "@hms/kernel";
import { sql } from "kysely";
import type { ServiceKey, ServiceRecord } from "./service-record.ts";

/** What a request is asked before a service of its manifest is deployed. */
export interface DeployWish {
  key: ServiceKey;
  sourceDirectory: string;
  /** Folders that it was deployed from before. */
  knownDirectories: readonly string[];
}

type Row = Pick<ServiceRecord, "environment" | "service"> & Partial<Pick<ServiceRecord, "owner">>;

const THINGS: RowsAsThings<Row> = {
  columns: { name: sql.ref("name"), environment: sql.ref("environment"), owner: sql.ref("owner") },
  thingOf: ({ environment, service: name, owner }) => ({ name, environment, facts: { owner } }),
};

const isTrusted = ({ principal: { kind } }: CallContext) => kind === "operator" || kind === "component";

/** Looks closer at calls than can be done before a request has been read. */
export class ServiceAccess {
  readonly #policy: Policy | undefined;

  /** Without a policy everything is allowed that has come through. */
  constructor(policy: Policy | undefined) {
    this.#policy = policy;
  }

  /**
   * Lets a deploy go on, now that its service is known.
   * @throws HmsError PERMISSION_DENIED if a policy denies this service, or the caller names a folder of the platform's disk
   * that only the operator may name
   */
  async admitDeploy(context: CallContext, { key, sourceDirectory, knownDirectories }: DeployWish): Promise<void> {
    const { principal, method } = context;
    const { environment, service: resource } = key;
    const question = { principal, permission: "services:deploy", resource, environment, method };
    const decision = await this.#policy?.decide(question);
    if (decision?.allowed === false) {
      throw new HmsError("PERMISSION_DENIED", `${principal.id} may not deploy ${resource}: ${decision.reason}.`);
    }
    if (isTrusted(context) || knownDirectories.includes(sourceDirectory)) return;
    throw new HmsError(
      "PERMISSION_DENIED",
      `${spokenName(principal)} may not deploy from ${sourceDirectory}: only the operator names folders of the ` +
        "platform's disk. Let the operator deploy it once; later versions from the same folder are open to you.",
      { reason: "SOURCE_NOT_OPERATORS" },
    );
  }

  /** What the policy says of the caller and something that its request leads to. */
  async decide(
    { principal, method }: CallContext,
    permission: string,
    thing: { environment: string; resource: string },
  ): Promise<{ allowed: boolean; reason?: string | undefined }> {
    return (await this.#policy?.decide({ principal, permission, ...thing, method })) ?? { allowed: true };
  }

  /** Lets somebody do something to a service that the request itself does not name. @throws HmsError PERMISSION_DENIED */
  async admit(context: CallContext, permission: string, key: ServiceKey): Promise<void> {
    if (await this.allows(context, permission, key)) return;
    const what = `${permission} for ${key.service} in ${key.environment}`;
    throw new HmsError("PERMISSION_DENIED", `${spokenName(context.principal)} lacks ${what}.`);
  }

  /** Whether somebody may do something to a service. */
  async allows(context: CallContext, permission: string, key: ServiceKey): Promise<boolean> {
    const { environment, service: resource } = key;
    const { principal, method } = context;
    const decision = await this.#policy?.decide({ principal, permission, resource, environment, method });
    return decision?.allowed !== false;
  }

  /**
   * Lets somebody deploy although deploys are stopped.
   * @throws HmsError PERMISSION_DENIED if they may not stop deploys themselves
   */
  async admitOverride(
    { principal, method }: CallContext,
    { environment, service: resource }: ServiceKey,
  ): Promise<void> {
    const question = { principal, permission: "services:freeze", resource, environment, method };
    const decision = await this.#policy?.decide(question);
    if (decision?.allowed !== false) return;
    throw new HmsError(
      "PERMISSION_DENIED",
      `${spokenName(principal)} may not deploy ${resource} during a freeze or outside of its windows: ${decision.reason}. Ask somebody with services:freeze.`,
    );
  }

  /** The services that the caller may read. */
  visible<Record extends Row>(context: CallContext) {
    return visibleRows<Record>(context.filter("services:read"), THINGS);
  }
}
