import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { openGatewayCost } from "./auth/gateway-cost.ts";
import { loginStorm } from "./auth/login-storm.ts";
import { openCasbin, openCasl } from "./auth/rivals.ts";
import { openHms, type Question, questionsOf, rulesOf } from "./auth/workload.ts";
import type { BenchOptions, BenchResult } from "./support/bench.ts";
import { median } from "./support/median.ts";

const SIZES = [10, 100, 1000];
/** Questions that are asked in turn. */
const COUNT = 1000;
const LONGEST_WARMING_MS = 700;

/** Answers one of the questions, by its number. */
type Decide = (index: number) => unknown;

/** Microseconds of one decision in the middle of many rounds; a round is long enough for the clock. */
function p50Us(decide: Decide, { budgetMs, perRound }: Measure): number {
  let index = 0;
  const round = () => {
    const started = performance.now();
    for (let n = 0; n < perRound; n++) decide(index++ % COUNT);
    return ((performance.now() - started) * 1000) / perRound;
  };
  // Everything once, where that does not take for ever: what is parsed on first use is parsed.
  const first = performance.now() + LONGEST_WARMING_MS;
  for (let n = 0; n < COUNT && performance.now() < first; n += perRound) round();
  const warm = performance.now() + budgetMs / 4;
  while (performance.now() < warm) round();
  const rounds: number[] = [];
  const end = performance.now() + budgetMs;
  while (rounds.length < 20 || (performance.now() < end && rounds.length < 5000)) rounds.push(round());
  return Math.round(median(rounds) * 1000) / 1000;
}

interface Measure {
  budgetMs: number;
  perRound: number;
}

async function atSize(size: number, budgetMs: number): Promise<Record<string, number>> {
  const rules = rulesOf(size);
  const questions = questionsOf(rules, COUNT);
  const hms = openHms(rules, questions);
  const asked = (decide: (question: Question) => unknown) => (index: number) => decide(questions[index] as Question);
  const casl = openCasl(rules);
  const casbin = await openCasbin(rules, questions);
  const quick = { budgetMs, perRound: 1000 };
  const slow = { budgetMs, perRound: 1 };
  return {
    hms_cached_us: p50Us(hms.cached, quick),
    hms_engine_us: p50Us(hms.engine, slow),
    hms_thing_us: p50Us(hms.thing, slow),
    casl_cached_us: p50Us(asked(casl.decide), quick),
    casl_first_us: p50Us(asked(casl.first), slow),
    casbin_us: p50Us(asked(casbin.decide), slow),
  };
}

function versionOf(name: string): string {
  return JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url), "utf8")).version;
}

/** What the first decision costs a process. */
async function loadCost(): Promise<{ cpuMs: number; mb: number }> {
  const script = fileURLToPath(new URL("./auth/load-host.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", script]);
  return JSON.parse(stdout);
}

/**
 * Decisions beside CASL and Casbin, with 10, 100 and 1000 rules (and as many policies about things), asked by 1000 users
 * with three of 20 roles. Keys, each with `_10`, `_100`, `_1000` before its unit:
 * - hms_cached: a decision for a principal and method that were asked about before, as nearly every call finds it
 * - hms_engine: Cedar's own decision about a method, nothing remembered but what was parsed
 * - hms_thing: a decision that looks at the resource and is therefore never remembered, one policy for each thing
 * - casl_cached: `can` of an ability that was made for this user before; casl_first: with making it
 * - casbin: `enforceSync` of its RBAC model
 * - load_cpu_ms, load_mb: what the first decision costs a process
 * - gateway_open_cpu_us, gateway_known_cpu_us: processor time of the gateway for a request of anybody, and of a known caller
 *   with one of 10,000 live API keys; gateway_remembered_share of them (95 %) are remembered, for the others the gateway
 *   calls the identity service, a process of its own with a database, whose own work does not count here
 * - login_storm_loop_p999_ms, login_storm_loop_idle_p999_ms: a turn of the identity service's event loop while 32 people
 *   sign in again and again, and while nobody does; login_storm_per_s: sign-ins per second then
 * Ratios: ours divided by a rival's: cached_vs_casl, first_vs_casl (engine to making an ability), engine_vs_casbin;
 * gateway_known_vs_open, gateway_steady_vs_open (a client that shows one key again and again); login_storm_loop_p999_vs_idle.
 */
export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  await using cost = openGatewayCost();
  const figures: Record<string, number> = {};
  const ratios: Record<string, number> = {};
  for (const size of SIZES) {
    const found = await atSize(size, quick ? 120 : 4000);
    for (const [key, value] of Object.entries(found)) figures[key.replace(/_us$/, `_${size}_us`)] = value;
    const ratio = (ours: string, theirs: string) =>
      Math.round(((found[ours] ?? 0) / (found[theirs] ?? 1)) * 1000) / 1000;
    ratios[`cached_${size}_vs_casl`] = ratio("hms_cached_us", "casl_cached_us");
    ratios[`first_${size}_vs_casl`] = ratio("hms_engine_us", "casl_first_us");
    ratios[`engine_${size}_vs_casbin`] = ratio("hms_engine_us", "casbin_us");
  }
  const { cpuMs, mb } = await loadCost();
  figures.load_cpu_ms = Math.round(cpuMs);
  figures.load_mb = Math.round(mb * 10) / 10;
  const gateway = await cost.measure(quick);
  Object.assign(figures, gateway.figures);
  Object.assign(ratios, gateway.ratios);
  // Nothing of it runs beside what comes next.
  await cost[Symbol.asyncDispose]();
  const logins = await loginStorm(quick);
  Object.assign(figures, logins.figures);
  ratios.login_storm_loop_p999_vs_idle = logins.ratio;
  const names = ["@cedar-policy/cedar-wasm", "@casl/ability", "casbin"];
  return { figures, ratios, versions: Object.fromEntries(names.map((name) => [name, versionOf(name)])) };
}
