import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { mesh } from "@hms/contracts";
import { ChangeSignal } from "@hms/kernel";
import { VIP_COUNT } from "./address-plan.ts";
import { CountedSum } from "./counted-sum.ts";
import type { ServiceKey } from "./store.ts";

const MOST_REVISIONS = 16;
/** Classes of response times, as the contract has them. */
export const LATENCY_CLASSES = 128;
/** The ways in which attempts end, as the contract has them. */
export const ANSWERS = [
  "informational",
  "successful",
  "redirection",
  "clientError",
  "serverError",
  "broken",
  "cancelled",
] as const;
/** Requests, busy time, crossings. */
const SERVICE_VALUES = 4;
const BUSY = 1;
const LATENCY_SUM = ANSWERS.length;
const FIRST_LATENCY = ANSWERS.length + 1;

type AnswerFigures = Record<(typeof ANSWERS)[number], bigint>;

interface ServiceSums extends ServiceKey {
  load: CountedSum;
  /** What was told last of the busy time: it never falls. */
  toldBusyMs: number;
  revisions: Map<bigint, CountedSum>;
}

/** What data planes have counted of services, over all of them; memory only, so a server that starts begins anew. */
export class TrafficSums {
  /** The one reported last comes last. */
  readonly #services = new Map<string, ServiceSums>();
  /** Notified when requests wait. */
  readonly #changes = new ChangeSignal();

  /** Takes what a data plane has counted since it started. */
  report(nodeId: string, traffic: readonly mesh.ServiceTraffic[], now: number): void {
    for (const service of traffic) {
      const sums = this.#service(service);
      takeLoad(sums, service, { nodeId, now });
      for (const revision of service.revisions) takeRevision(sums, revision, { nodeId, now });
    }
    if (traffic.some(({ load }) => (load?.waiting ?? 0) > 0)) this.#changes.notify();
  }

  /** Which of these services requests wait for: as soon as there is one, none when the wait is over. */
  async waiting(
    services: readonly mesh.ServiceName[],
    signal: AbortSignal,
    timeoutMs: number,
  ): Promise<mesh.ServiceName[]> {
    const until = performance.now() + timeoutMs;
    for (;;) {
      const found = services.filter(({ environment, service: name }) => {
        const sums = this.#services.get(keyOf({ environment, name }));
        return sums !== undefined && sums.load.gauges(Date.now()).waiting > 0;
      });
      if (found.length > 0) return found;
      if (!(await this.#changes.next(signal, Math.max(0, until - performance.now())))) return [];
    }
  }

  /** The sums of one service, or of all services of an environment if the name is empty; by name. */
  list({ environment, name }: ServiceKey, now: number) {
    const all = name === "" ? [...this.#services.values()] : [this.#services.get(keyOf({ environment, name }))];
    return all
      .filter((sums) => sums !== undefined)
      .filter((sums) => sums.environment === environment)
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((sums) => told(sums, now));
  }

  #service({ environment, service: name }: mesh.ServiceTraffic): ServiceSums {
    const key = keyOf({ environment, name });
    const sums = this.#services.get(key) ?? {
      environment,
      name,
      load: new CountedSum(SERVICE_VALUES),
      toldBusyMs: 0,
      revisions: new Map(),
    };
    renew(this.#services, key, sums);
    dropOldest(this.#services, VIP_COUNT);
    return sums;
  }
}

const keyOf = ({ environment, name }: ServiceKey) => `${environment}/${name}`;

/** Puts an entry last. */
function renew<K, V>(map: Map<K, V>, key: K, value: V): void {
  map.delete(key);
  map.set(key, value);
}

function dropOldest<K>(map: Map<K, unknown>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}

interface Reporter {
  nodeId: string;
  now: number;
}

function takeLoad(sums: ServiceSums, service: mesh.ServiceTraffic, { nodeId, now }: Reporter): void {
  const { load, triedUnavailable, baselineUnavailable } = service;
  if (load === undefined) return;
  const { requests, busyMs, inFlight, waiting, countedSince } = load;
  const values = Float64Array.of(Number(requests), busyMs, Number(triedUnavailable), Number(baselineUnavailable));
  sums.load.take(nodeId, { since: sinceOf(countedSince), values, inFlight, waiting, at: now });
}

function takeRevision(sums: ServiceSums, told: mesh.RevisionTraffic, { nodeId, now }: Reporter): void {
  const sum = sums.revisions.get(told.revision) ?? new CountedSum(FIRST_LATENCY + LATENCY_CLASSES);
  const values = new Float64Array(FIRST_LATENCY + LATENCY_CLASSES);
  for (const [index, name] of ANSWERS.entries()) values[index] = Number(told.answers?.[name] ?? 0n);
  values[LATENCY_SUM] = told.latencySumMs;
  for (const [index, count] of told.latencies.entries()) values[FIRST_LATENCY + index] = Number(count);
  const { inFlight, countedSince } = told;
  sum.take(nodeId, { since: sinceOf(countedSince), values, inFlight, waiting: 0, at: now });
  renew(sums.revisions, told.revision, sum);
  dropOldest(sums.revisions, MOST_REVISIONS);
}

const sinceOf = (time: { seconds: bigint; nanos: number } | undefined) => `${time?.seconds ?? 0}.${time?.nanos ?? 0}`;

function told(sums: ServiceSums, now: number) {
  const { values, countedSince } = sums.load;
  const [requests = 0, , tried = 0, baseline = 0] = values;
  // What ran at the last reports is taken to run still: at the next report at the latest it is known better.
  sums.toldBusyMs = Math.max(sums.toldBusyMs, (values[BUSY] as number) + sums.load.runningMs(now));
  return {
    environment: sums.environment,
    service: sums.name,
    load: {
      countedSince: timestampFromMs(countedSince),
      requests: BigInt(requests),
      busyMs: sums.toldBusyMs,
      ...sums.load.gauges(now),
    },
    revisions: [...sums.revisions]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([revision, sum]) => toldRevision(revision, sum, now)),
    triedUnavailable: BigInt(tried),
    baselineUnavailable: BigInt(baseline),
  };
}

function toldRevision(revision: bigint, sum: CountedSum, now: number) {
  const { values, countedSince } = sum;
  const counts = [...values.subarray(FIRST_LATENCY)];
  return {
    revision,
    countedSince: timestampFromMs(countedSince),
    answers: Object.fromEntries(ANSWERS.map((name, index) => [name, BigInt(values[index] as number)])) as AnswerFigures,
    latencies: counts.slice(0, counts.findLastIndex((count) => count > 0) + 1).map(BigInt),
    latencySumMs: values[LATENCY_SUM] as number,
    inFlight: sum.gauges(now).inFlight,
  };
}
