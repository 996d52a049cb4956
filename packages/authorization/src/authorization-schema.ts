import { type DescMethod, type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import type { ActionType, SchemaJson, TypeOfAttribute } from "@cedar-policy/cedar-wasm/nodejs";
import * as contracts from "@hms/contracts";
import { builtInRoles } from "./built-in-roles.ts";
import { CALL_PERMISSION, PRINCIPAL_TYPES } from "./entities.ts";

const TEXT: TypeOfAttribute<string> = { type: "String" };
const MAYBE: TypeOfAttribute<string> = { type: "String", required: false };
const TEXTS: TypeOfAttribute<string> = { type: "Set", element: { type: "String" } };
const record = (attributes: Record<string, TypeOfAttribute<string>>) => ({ type: "Record" as const, attributes });

/** Principals that have no contract yet are part of the language already, so that policies about them can be written. */
const PRINCIPALS = [...Object.values(PRINCIPAL_TYPES), "ApiKey"];

/** Mounted by the server beside its contracts. */
const OTHER_PERMISSIONS = ["metrics:read"];

/** Every service of the platform's own contracts. */
export function platformServices(): DescService[] {
  const all = Object.values(contracts).flatMap((file) => Object.values(file) as { kind?: string }[]);
  return all.filter((desc): desc is DescService => desc?.kind === "service" && isOurs(desc as DescService));
}

const isOurs = ({ typeName }: DescService) => typeName.startsWith("hms.");

/** The permission that a method's contract asks for; undefined without a rule. */
export function permissionOf(method: DescMethod): string | undefined {
  const { rule } = contracts.ffiOptions;
  return hasOption(method, rule) ? getOption(method, rule).permission : undefined;
}

/** Every permission that contracts and built-in roles know, in order. */
export function knownPermissions(): string[] {
  const ofContracts = platformServices().flatMap(({ methods }) =>
    methods.flatMap((method) => permissionOf(method) ?? []),
  );
  const ofRoles = builtInRoles.flatMap(({ permissions }) => permissions).filter((each) => !each.endsWith("*"));
  return [...new Set([CALL_PERMISSION, ...ofContracts, ...ofRoles, ...OTHER_PERMISSIONS])].sort();
}

function actionOf(permission: string): ActionType<string> {
  const isCall = permission === CALL_PERMISSION;
  const mfa_age = { type: "Long" as const, required: false };
  const context = { mfa: { type: "Boolean" as const }, mfa_age, transport: TEXT, environment: isCall ? TEXT : MAYBE };
  return {
    memberOf: [{ id: `${permission.split(":")[0]}:*` }],
    appliesTo: {
      principalTypes: PRINCIPALS,
      resourceTypes: [isCall ? "Method" : "Resource"],
      context: record(context),
    },
  };
}

/** What Cedar policies can speak of, from the contracts: every permission as an action, what it is about, who asks. */
export function authorizationSchema(): SchemaJson<string> {
  const principal = { memberOfTypes: ["Role", "Group"], shape: record({ name: TEXT, environment: MAYBE }) };
  const resource = record({ kind: TEXT, name: TEXT, environment: MAYBE, owner: MAYBE, tags: TEXTS });
  const permissions = knownPermissions();
  const groups = new Set(permissions.map((permission) => `${permission.split(":")[0]}:*`));
  return {
    "": {
      entityTypes: {
        Role: {},
        Group: {},
        Environment: {},
        Api: {},
        Method: { memberOfTypes: ["Api"], shape: record({ service: TEXT, name: TEXT }) },
        Resource: { memberOfTypes: ["Environment", "Group"], shape: resource },
        ...Object.fromEntries(PRINCIPALS.map((type) => [type, principal])),
      },
      actions: Object.fromEntries([
        ...[...groups].map((group) => [group, {}] as const),
        ...permissions.map((permission) => [permission, actionOf(permission)] as const),
      ]),
    },
  };
}
