import { type NameState, nameStates, remedyFor } from "@hms/acme";
import { resolveInstance } from "@hms/config";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import type { Output } from "../../output/output.ts";
import { acmeFolder, readAcmeFile } from "../../tls/acme-file.ts";
import { shownCertificates } from "../../tls/shown-certificates.ts";

/** Shows what the gateway shows to clients, and how it stands with certificates by ACME. */
export async function run({ globals, output }: Invocation): Promise<number> {
  const paths = resolveInstance(globals);
  const settings = readAcmeFile(paths);
  const certificates = shownCertificates(paths.gatewayTls);
  const states = settings === undefined ? [] : nameStates(acmeFolder(paths), settings);
  if (output.json) {
    const acme = states.map(documentOf);
    output.document({
      certificates: certificates.map((each) => ({ ...each, until: isoOf(each.until) })),
      acme,
    });
    return exitCodeOf(states);
  }
  for (const { names, until, folder } of certificates) {
    output.result(`${names.join(", ")}: until ${dayOf(until)} (${folder})`);
  }
  if (certificates.length === 0) output.result("The gateway has no certificate, and speaks no TLS.");
  return showStates(states, output, false);
}

/** Shows how it stands with names; exit code 1 if one of them has no certificate. */
export function showStates(states: readonly NameState[], output: Output, isWhole = true): number {
  if (output.json && isWhole) output.document({ names: states.map(documentOf) });
  if (output.json) return exitCodeOf(states);
  for (const { name, until, nextAt, problem } of states) {
    const has = until === undefined ? "no certificate yet" : `certificate until ${dayOf(until)}`;
    const next = nextAt <= Date.now() ? "now" : isoOf(nextAt).slice(0, 16).replace("T", " ");
    output.result(`${name}: ${has}, ${until === undefined || problem ? "tried" : "renewed"} next ${next}`);
    if (problem !== undefined) output.result(`    ${problem.message}\n    → ${remedyFor(problem.kind)}`);
  }
  return exitCodeOf(states);
}

const exitCodeOf = (states: readonly NameState[]) =>
  states.some(({ until }) => until === undefined || until <= Date.now()) ? ExitCode.ERROR : ExitCode.OK;

function documentOf({ name, until, nextAt, problem }: NameState) {
  return {
    name,
    until: until === undefined ? null : isoOf(until),
    next: isoOf(nextAt),
    ...(problem === undefined
      ? {}
      : { problem: { ...problem, at: isoOf(problem.at), remedy: remedyFor(problem.kind) } }),
  };
}

const isoOf = (ms: number) => new Date(ms).toISOString();
const dayOf = (ms: number) => isoOf(ms).slice(0, 10);
