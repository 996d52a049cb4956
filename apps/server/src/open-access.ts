import { createAccessPolicy, openPolicyFile, PolicyBook } from "@hms/authorization";
import type { InstancePaths } from "@hms/config";
import { componentPrincipal, type IdentitySource, type Policy } from "@hms/kernel";
import {
  createPeerPrincipals,
  createTokenIdentity,
  createWorkloadKeyReplacement,
  createWorkloadTokens,
  ensureToken,
  type KeyFile,
  openKeyFile,
  openWorkloadKeys,
  type WorkloadKeyReplacement,
  type WorkloadTokens,
} from "@hms/local-access";
import { openSealingKey, type SealingKey } from "@hms/secrets";
import type { Logger } from "@hms/telemetry";
import { Accounts } from "./accounts.ts";
import { Owners } from "./owners.ts";
import { TakenAway } from "./taken-away.ts";

/** Who callers are and what they may do. */
export interface ServerAccess {
  /** At the operator's socket and on the network. */
  identity: IdentitySource;
  /** At the socket for deployed services, where no token of the operator's or of a component is good. */
  replicaIdentity: IdentitySource;
  policy: Policy;
  /** What seals secrets where they lie: opened once, for it may come from a vault. */
  sealing: SealingKey;
  book: PolicyBook;
  keys: KeyFile;
  workloads: WorkloadTokens;
  /** Replaces the key of those. */
  workloadKeys: WorkloadKeyReplacement;
  accounts: Accounts;
  takenAway: TakenAway;
  /** To whom things of the platform belong. */
  owners: Owners;
}

/** What each part of the platform may do. */
const COMPONENTS = {
  dataplane: ["mesh:read", "mesh:report", "credentials:identify"],
  "hms.ffi": ["mesh:read"],
  "hms.sys.deployment": ["mesh:read", "mesh:write"],
  "hms.sys.mesh": ["events:publish"],
  server: ["registry:read", "registry:register", "policies:read", "audit:append", "secrets:reseal"],
};

/** What every known person, program and deployed service may do with the platform; services look closer. */
const EVERYBODY = [
  "registry:read",
  "registry:register",
  "operations:start",
  "operations:read",
  "operations:cancel",
  "events:publish",
  "events:subscribe",
  "profile:own",
  "sessions:own",
  "keys:own",
];

/** Opens the tokens, keys and policies of an installation and follows their files. */
export function openAccess(paths: InstancePaths, stack: AsyncDisposableStack, log: Logger): ServerAccess {
  const takenAway = new TakenAway();
  const owners = new Owners();
  const accounts = new Accounts();
  const book = new PolicyBook({
    roles: accounts,
    components: COMPONENTS,
    kinds: { service: EVERYBODY, user: EVERYBODY },
    onRolesTakenAway: (services) => takenAway.services(services),
  });
  const policies = openPolicyFile({
    path: paths.policyFile,
    book,
    onChange(count, services) {
      log.info("the policy file has changed and is in force", { count });
      takenAway.services(services);
    },
    onFailure: (error) => log.error("the policy file is not used; the policies read last stay in force", { error }),
  });
  const keys = openKeyFile({
    path: paths.keyFile,
    onChange(count, reduced) {
      log.info("the key file has changed and is in force", { count });
      takenAway.principals(reduced);
    },
    onFailure: (error) => log.error("the key file is not used; the keys read last stay good", { error }),
  });
  for (const file of [policies, keys]) stack.use(file);
  const sealing = openSealingKey(paths.sealingKey);
  const workloadKeys = stack.use(
    openWorkloadKeys({
      path: paths.workloadKey,
      sealing,
      onFailure: (error) => log.error("a key of services' tokens is not used", { error }),
    }),
  );
  const workloads = createWorkloadTokens(workloadKeys);
  const own = [
    [ensureToken(paths.operatorToken), { kind: "operator", id: "operator" }],
    [ensureToken(paths.dataplaneToken), componentPrincipal("dataplane")],
  ] as const;
  const sources = [workloads, keys];
  return {
    identity: createTokenIdentity(own, { sources, accounts, peers: createPeerPrincipals(paths.instance) }),
    replicaIdentity: createTokenIdentity([], { sources, accounts }),
    // What a key or token was limited to comes first; within it, policies decide.
    policy: accounts.limiting(
      createAccessPolicy(book, {
        factsOf: (kind, name, environment) => owners.factsOf(kind, name, environment),
        onError: (errors) => log.error("a policy cannot be evaluated: what it may be about is denied", { errors }),
      }),
    ),
    sealing,
    book,
    keys,
    workloads,
    workloadKeys: createWorkloadKeyReplacement({ keys: workloadKeys, tokens: workloads }),
    accounts,
    takenAway,
    owners,
  };
}
