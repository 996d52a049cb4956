import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { upstream } from "../gateway/rivals.ts";
import { type Contender, freePort, startContender } from "../support/contender.ts";
import { median } from "../support/median.ts";
import { treeCpuSeconds } from "../support/process-cpu.ts";
import { runWrk, WRK } from "../support/wrk.ts";

const CONNECTIONS = 32;
const LIVE_KEYS = 10_000;
/** Of keys drawn at random so many are remembered that this share of the requests finds its own. */
const REMEMBERED = 0.95 * LIVE_KEYS;
/** PostgreSQL makes its files first. */
const IDENTITY_READY_MS = 60_000;
const DATAPLANE_TOKEN = "d".repeat(64);

/** A gateway with what stands around it. */
interface Place {
  gateway: Contender;
  countsPort: number;
  keysFile: string;
}

type Path = "open" | "known" | "steady";

/** What a known caller costs, found once everything that it takes has been started. */
export interface GatewayCost extends AsyncDisposable {
  /** Figures of the gateway, and their ratio; nothing where wrk is missing. */
  measure(quick: boolean): Promise<{ figures: Record<string, number>; ratios?: Record<string, number> }>;
}

/**
 * Begins to start what it takes to find what a known caller costs the gateway: processor time of a request on a route that
 * asks, with 10,000 live keys of the identity service, which is asked about each twentieth of them, and of one on a route
 * that asks nobody; and the same for clients that show one key again and again.
 */
export function openGatewayCost(): GatewayCost {
  if (!existsSync(WRK)) return { measure: async () => ({ figures: {} }), [Symbol.asyncDispose]: async () => {} };
  const folder = mkdtempSync(join(tmpdir(), "hms-bench-auth-"));
  const contenders: Contender[] = [];
  const starting = start(folder, contenders);
  // Told by `measure`.
  starting.catch(() => {});
  return {
    measure: async (quick) => measure(await starting, quick ? { rounds: 3, seconds: 1 } : { rounds: 12, seconds: 2 }),
    async [Symbol.asyncDispose]() {
      await starting.catch(() => {});
      for (const contender of contenders.reverse()) await contender.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function measure(place: Place, rounds: { rounds: number; seconds: number }) {
  // The first rounds compile what Node runs, and fill what is remembered.
  await load(place, { path: "open", seed: 1000, seconds: 1 });
  for (let seed = 1001; (await answeredBy(place)).size < REMEMBERED; seed++) {
    await load(place, { path: "known", seed, seconds: 1 });
  }
  const { spent, share } = await spend(place, rounds);
  const figures = {
    gateway_open_cpu_us: rounded(median(spent.open), 2),
    gateway_known_cpu_us: rounded(median(spent.known), 2),
    gateway_steady_cpu_us: rounded(median(spent.steady), 2),
    gateway_remembered_share: rounded(share, 3),
  };
  // Each round with the one beside it: what else the machine does changes from one to the next.
  const ratioOf = (path: Path) => rounded(median(spent[path].map((us, n) => us / (spent.open[n] ?? Number.NaN))), 3);
  return { figures, ratios: { gateway_known_vs_open: ratioOf("known"), gateway_steady_vs_open: ratioOf("steady") } };
}

const rounded = (value: number, digits: number) => Math.round(value * 10 ** digits) / 10 ** digits;

async function start(folder: string, contenders: Contender[]): Promise<Place> {
  const [port, countsPort, upstreamPort, readyPort] = await Promise.all([
    freePort(),
    freePort(),
    freePort(),
    freePort(),
  ]);
  const [socket, tokenFile, keysFile] = ["kernel.sock", "dataplane.token", "keys"].map((name) => join(folder, name));
  writeFileSync(tokenFile as string, `${DATAPLANE_TOKEN}\n`, { mode: 0o600 });
  const run = async (name: string, args: readonly (string | number | undefined)[], answersAt: number) => {
    const contender = await startContender({
      name,
      port: answersAt,
      command: process.execPath,
      args: [join(import.meta.dirname, `${name}-host.ts`), ...args.map(String)],
      readyMs: IDENTITY_READY_MS,
    });
    contenders.push(contender);
    return contender;
  };
  contenders.push(await startContender(upstream({ folder, port: upstreamPort, upstreamPort })));
  await run("identify", [readyPort, socket, DATAPLANE_TOKEN, keysFile, LIVE_KEYS], readyPort);
  const gateway = await run("gateway", [port, countsPort, upstreamPort, socket, tokenFile, REMEMBERED], port);
  return { gateway, countsPort, keysFile: keysFile as string };
}

/**
 * Loads the routes in turns; microseconds of the gateway's processor for a request, of each round, and which share of the
 * callers with keys drawn at random were remembered.
 */
async function spend(place: Place, { rounds, seconds }: { rounds: number; seconds: number }) {
  const spent: Record<Path, number[]> = { open: [], known: [], steady: [] };
  let [remembered, asked] = [0, 0];
  for (let seed = 0; seed < rounds; seed++) {
    const before = await answeredBy(place);
    for (const path of ["open", "known"] as const) spent[path].push(await load(place, { path, seed, seconds }));
    const after = await answeredBy(place);
    remembered += after.remembered - before.remembered;
    asked += after.asked - before.asked;
    spent.steady.push(await load(place, { path: "steady", seed, seconds }));
  }
  return { spent, share: remembered / (remembered + asked) };
}

interface Load {
  path: Path;
  seed: number;
  seconds: number;
}

async function load({ gateway: { port, pid }, keysFile }: Place, { path, seed, seconds }: Load): Promise<number> {
  const before = treeCpuSeconds(pid);
  const script = join(import.meta.dirname, "bearer.lua");
  const scriptArgs = [path, String(seed), keysFile];
  const { requests, failures } = await runWrk({ port, connections: CONNECTIONS, seconds, script, scriptArgs });
  if (failures > 0) throw new Error(`${failures} of ${requests} requests for /${path} were not answered with 200.`);
  return ((treeCpuSeconds(pid) - before) / requests) * 1e6;
}

/** How many callers the gateway knew by itself so far, how many it had to ask about, and how many it remembers. */
async function answeredBy({ countsPort }: Place): Promise<{ remembered: number; asked: number; size: number }> {
  const text = await (await fetch(`http://127.0.0.1:${countsPort}`)).text();
  const count = (result: string) => Number(new RegExp(`callers_total\\{result="${result}"\\} (\\d+)`).exec(text)?.[1]);
  const size = Number(/remembered_callers (\d+)/.exec(text)?.[1]);
  return { remembered: count("remembered"), asked: count("asked"), size };
}
