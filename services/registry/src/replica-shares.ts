import { mesh } from "@hms/contracts";

/** What the mesh sends to a replica when it sends the same to all of them. */
export const WHOLE_SHARE = 10_000;
const ORDINARY_WEIGHT = 1000;

/** How many of a service's calls each of its replicas is to get, by endpoint id. */
type Shares = ReadonlyMap<string, number>;

const weightOf = ({ weight = ORDINARY_WEIGHT }: mesh.Endpoint) => weight;

/** Gives endpoints their part of `whole`, by their weights. */
function dealt(endpoints: readonly mesh.Endpoint[], whole: number): [string, number][] {
  const total = endpoints.reduce((sum, endpoint) => sum + weightOf(endpoint), 0);
  // Who is to get anything gets a share that is not 0: that would mean "only what nobody else can take".
  return endpoints.map((one) => [
    one.endpointId,
    whole === 0 ? 0 : Math.max(1, Math.round((whole * weightOf(one)) / total)),
  ]);
}

/**
 * How a service's calls are divided between its replicas so that it is as the mesh divides its requests; undefined if it
 * sends nobody any. A replica that is not named gets none.
 */
export function sharesOf({ endpoints, split }: mesh.MeshServiceEntry): Shares | undefined {
  const active = endpoints.filter((one) => one.state === mesh.EndpointState.ACTIVE && weightOf(one) > 0);
  if (active.length === 0) return undefined;
  const whole = active.length * WHOLE_SHARE;
  const tried = active.filter(({ revision }) => revision === split?.revision);
  const baseline = active.filter(({ revision }) => revision !== split?.revision);
  if (split === undefined || tried.length === 0 || baseline.length === 0) return new Map(dealt(active, whole));
  const ofTried = (whole * split.share) / WHOLE_SHARE;
  return new Map([...dealt(tried, ofTried), ...dealt(baseline, whole - ofTried)]);
}

function isSame(one: Shares | undefined, other: Shares | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return one.size === other.size && [...one].every(([id, share]) => other.get(id) === share);
}

const deployedOf = (replica: string) => replica.split("/", 2).join("/");

/** What the mesh sends to each replica, as it was heard last. */
export class ReplicaShares {
  #services = new Map<string, Shares>();

  /** A replica's share; undefined for one of whose service the mesh says nothing, and for none (""). */
  of(replica: string): number | undefined {
    if (replica === "") return undefined;
    const shares = this.#services.get(deployedOf(replica));
    return shares && (shares.get(replica) ?? 0);
  }

  /** Takes the mesh as it is now; answers with the deployed services ("default/echo") whose calls are divided otherwise. */
  take({ services }: mesh.SnapshotContent): string[] {
    const next = new Map<string, Shares>();
    for (const service of services) {
      const shares = sharesOf(service);
      if (shares) next.set(`${service.environment}/${service.name}`, shares);
    }
    const before = this.#services;
    this.#services = next;
    return [...new Set([...before.keys(), ...next.keys()])].filter((name) => !isSame(before.get(name), next.get(name)));
  }
}
