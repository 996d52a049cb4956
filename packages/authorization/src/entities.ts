import type { EntityJson, TypeAndId } from "@cedar-policy/cedar-wasm/nodejs";
import type { Principal } from "@hms/kernel";
import type { AccessSubject } from "./access-verdict.ts";
import type { EngineQuestion } from "./cedar-engine.ts";
import type { EntityNeeds } from "./entity-needs.ts";

/** The permission of every method of users' services. */
export const CALL_PERMISSION = "services:call";

/** How policies name the kinds of principals. */
export const PRINCIPAL_TYPES = {
  user: "User",
  service: "Service",
  component: "Component",
  operator: "Operator",
  anonymous: "Anonymous",
} as const satisfies Record<Principal["kind"], string>;

/** How a call comes in; "ticket" is one that instances of services judge without the platform. */
export type AccessTransport = "in-process" | "socket" | "network" | "ticket";

/** What is known of a thing of the platform beside its name. */
export interface ResourceFacts {
  /** The principal it belongs to, "user:anna". */
  readonly owner?: string | undefined;
  readonly tags?: readonly string[];
  /** Groups that it is in. */
  readonly groups?: readonly string[];
}

/** A thing of the platform as policies see it. */
export interface ResourceName {
  /** The noun of its permission: "services" of services:deploy. */
  readonly kind: string;
  /** Empty where the request names none. */
  readonly name: string;
  /** Undefined where the request names none. */
  readonly environment?: string | undefined;
}

const uid = (type: string, id: string): TypeAndId => ({ type, id });

/** The entity id of a thing of the platform: "services/prod/payment-svc"; parts that nobody named are left out. */
export function resourceId({ kind, environment, name }: ResourceName): string {
  return [kind, environment, name].filter((part) => part !== undefined && part !== "").join("/");
}

/** Who asks, as an entity in its roles and groups. */
function principalEntity(subject: AccessSubject): EntityJson {
  const { kind = "user", id = "", roles, groups = [], environment, known } = subject;
  const asked = known ? kind : "anonymous";
  return {
    uid: uid(PRINCIPAL_TYPES[asked], id),
    attrs: { name: `${asked}:${id}`, ...(environment === undefined ? {} : { environment }) },
    parents: [...roles.map((role) => uid("Role", role)), ...groups.map((group) => uid("Group", group))],
  };
}

/** A method of a user's service, in its service. */
export function methodEntity(serviceId: string, method: string): EntityJson {
  return {
    uid: uid("Method", `${serviceId}/${method}`),
    attrs: { service: serviceId, name: method },
    parents: [uid("Api", serviceId)],
  };
}

/** A thing of the platform, in its environment and groups. */
export function resourceEntity(named: ResourceName, { owner, tags = [], groups = [] }: ResourceFacts = {}): EntityJson {
  const { kind, name, environment } = named;
  const places = environment === undefined ? [] : [uid("Environment", environment)];
  return {
    uid: uid("Resource", resourceId(named)),
    attrs: {
      kind,
      name,
      tags: [...tags],
      ...(environment === undefined ? {} : { environment }),
      ...(owner === undefined ? {} : { owner }),
    },
    parents: [...places, ...groups.map((group) => uid("Group", group))],
  };
}

/** What is asked of Cedar. */
export interface AccessRequest {
  readonly subject: AccessSubject;
  readonly permission: string;
  readonly resource: EntityJson;
  /** The environment that the call is about; undefined: none is named. */
  readonly environment: string | undefined;
  readonly transport: AccessTransport;
}

/** Of an entity what can be looked at; nothing if that is nothing: Cedar knows those that it is not told of by their names. */
function neededOf(entity: EntityJson, needs: ReadonlySet<string> | undefined): EntityJson[] {
  if (needs === undefined) return [entity];
  const attrs = Object.fromEntries(Object.entries(entity.attrs).filter(([name]) => needs.has(name)));
  const parents = entity.parents.filter((parent) => needs.has(("__entity" in parent ? parent.__entity : parent).type));
  const isEmpty = parents.length === 0 && Object.keys(attrs).length === 0;
  return isEmpty ? [] : [{ uid: entity.uid, attrs, parents }];
}

/**
 * A question about a call in Cedar's form. With it comes what policies can look at of the entities and the context, by default
 * all of them and all of it: each costs as much as several policies.
 */
export function engineQuestion(request: AccessRequest, needs?: EntityNeeds): EngineQuestion {
  const { subject, permission, resource, environment, transport } = request;
  const principal = principalEntity(subject);
  const action = uid("Action", permission);
  const entities = [...neededOf(principal, needs?.principal), ...neededOf(resource, needs?.resource)];
  const group = `${permission.split(":")[0]}:*`;
  if (needs === undefined || needs.groups.has(group)) {
    entities.push({ uid: action, attrs: {}, parents: [uid("Action", group)] });
  }
  return {
    principal: principal.uid,
    action,
    resource: resource.uid,
    context: contextOf({ mfa: subject.mfa, transport, mfa_age: subject.mfaAgeS, environment }, needs?.context),
    entities,
  };
}

/** What is known of how a call comes in, and of that what can be looked at. */
function contextOf(
  known: Readonly<Record<string, string | number | boolean | undefined>>,
  needs: ReadonlySet<string> | undefined,
): EngineQuestion["context"] {
  const context: EngineQuestion["context"] = {};
  for (const [name, value] of Object.entries(known)) {
    if (value !== undefined && needs?.has(name) !== false) context[name] = value;
  }
  return context;
}
