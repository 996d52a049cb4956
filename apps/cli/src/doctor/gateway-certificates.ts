import { nameStates, remedyFor } from "@hms/acme";
import type { InstancePaths } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import { acmeFolder, readAcmeFile } from "../tls/acme-file.ts";
import { type ShownCertificate, shownCertificates } from "../tls/shown-certificates.ts";
import type { Finding } from "./finding.ts";

const CHECK = "certificates";
/** A certificate should have been renewed long before this part of its life is left. */
const LAST_PART = 0.1;

type Places = Pick<InstancePaths, "acme" | "acmeChallenges" | "acmeFile" | "gatewayTls">;

/** Whether the gateway's certificates are good, and those by ACME come; nothing if there is none and none is to be. */
export function gatewayCertificates(paths: Places, now = Date.now()): Finding[] {
  const shown = shownCertificates(paths.gatewayTls);
  const findings = [...shown.flatMap((each) => endingFinding(each, now)), ...acmeFindings(paths)];
  if (findings.length > 0 || shown.length === 0) return findings;
  const until = new Date(Math.min(...shown.map((each) => each.until))).toISOString().slice(0, 10);
  return [{ check: CHECK, level: "ok", finding: `${shown.length} at the gateway, the first one ends ${until}` }];
}

function endingFinding({ folder, names, from, until }: ShownCertificate, now: number): Finding[] {
  const what = `the one for ${names.join(", ")}`;
  const end = `${new Date(until).toISOString().slice(0, 16).replace("T", " ")} UTC`;
  const remedy = `renew what is in ${folder}; it is used at once`;
  if (until <= now) return [{ check: CHECK, level: "problem", finding: `${what} ended ${end}`, remedy }];
  if (until - now >= LAST_PART * (until - from)) return [];
  return [{ check: CHECK, level: "warning", finding: `${what} ends ${end}`, remedy }];
}

function acmeFindings(paths: Places): Finding[] {
  try {
    const settings = readAcmeFile(paths);
    const states = settings === undefined ? [] : nameStates(acmeFolder(paths), settings);
    return states.flatMap(({ name, until, problem }): Finding[] => {
      if (problem === undefined) return [];
      const level = until === undefined ? "problem" : "warning";
      const finding = `none ${until === undefined ? "" : "anew "}for ${name} by ACME: ${problem.message}`;
      return [{ check: CHECK, level, finding, remedy: remedyFor(problem.kind) }];
    });
  } catch (error) {
    const remedy = `correct ${paths.acmeFile}, or: hms-sys tls acme --off`;
    return [{ check: CHECK, level: "problem", finding: HmsError.from(error).message, remedy }];
  }
}
