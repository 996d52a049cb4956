import type { InstancePaths } from "@hms/config";
import { componentPrincipal, type IdentitySource, type Policy } from "@hms/kernel";
import {
  createLocalPolicy,
  createPeerPrincipals,
  createTokenIdentity,
  createWorkloadTokens,
  ensureToken,
  type KeyFile,
  openKeyFile,
  type WorkloadTokens,
} from "@hms/local-access";
import { createAccessPolicy, openPolicyFile, PolicyBook } from "@hms/policies";
import type { Logger } from "@hms/telemetry";
import { Accounts } from "./accounts.ts";
import { TakenAway } from "./taken-away.ts";

/** Who callers are and what they may do. */
export interface ServerAccess {
  /** At the operator's socket and on the network. */
  identity: IdentitySource;
  /** At the socket for deployed services, where no token of the operator's or of a component is good. */
  replicaIdentity: IdentitySource;
  policy: Policy;
  book: PolicyBook;
  keys: KeyFile;
  workloads: WorkloadTokens;
  accounts: Accounts;
  takenAway: TakenAway;
}

/** What each part of the platform may do. */
const COMPONENTS = {
  dataplane: ["mesh:read", "mesh:report"],
  "hms.sys.deployment": ["mesh:read", "mesh:write"],
  server: ["registry:read", "registry:register", "policies:read"],
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

/**
 * The platform's own methods go by what is granted here and what the caller's roles permit, users' methods by access
 * policies.
 */
function serverPolicy(book: PolicyBook, accounts: Accounts): Policy {
  const own = accounts.judging(createLocalPolicy(COMPONENTS, { service: EVERYBODY, user: EVERYBODY }));
  const users = createAccessPolicy(book);
  return {
    decide: (question) => (question.method.environment === undefined ? own : users).decide(question),
  };
}

/** Opens the tokens, keys and policies of an installation and follows their files. */
export function openAccess(paths: InstancePaths, stack: AsyncDisposableStack, log: Logger): ServerAccess {
  const takenAway = new TakenAway();
  const book = new PolicyBook();
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
  const workloads = createWorkloadTokens(ensureToken(paths.workloadKey));
  const own = [
    [ensureToken(paths.operatorToken), { kind: "operator", id: "operator" }],
    [ensureToken(paths.dataplaneToken), componentPrincipal("dataplane")],
  ] as const;
  const sources = [workloads, keys];
  const accounts = new Accounts();
  return {
    identity: createTokenIdentity(own, { sources, accounts, peers: createPeerPrincipals(paths.instance) }),
    replicaIdentity: createTokenIdentity([], { sources, accounts }),
    policy: serverPolicy(book, accounts),
    book,
    keys,
    workloads,
    accounts,
    takenAway,
  };
}
