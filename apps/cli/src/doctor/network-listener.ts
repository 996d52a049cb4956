import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { type InstancePaths, readNetworkAddress } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import { requireServerFiles, tlsFilesIn } from "@hms/parts";
import type { Finding } from "./finding.ts";

const CHECK = "other machines";
/** A certificate should have been renewed long before this part of its life is left. */
const LAST_PART = 0.1;

/** Whether other machines are answered, and with a certificate that is good; nothing if they are not to be. */
export function networkListener(paths: Pick<InstancePaths, "data" | "tls">, now = Date.now()): Finding[] {
  const address = readNetworkAddress(paths);
  if (address === undefined) return [];
  const files = tlsFilesIn(paths.tls);
  try {
    requireServerFiles(files);
    return [certificateFinding(address, new X509Certificate(readFileSync(files.cert)), now)];
  } catch (error) {
    const remedy = `put cert.pem, key.pem and ca.pem into ${paths.tls}; until then the server does not start again`;
    return [{ check: CHECK, level: "problem", finding: HmsError.from(error).message, remedy }];
  }
}

function certificateFinding(address: string, { validFromDate, validToDate }: X509Certificate, now: number): Finding {
  const endsAt = validToDate.getTime();
  const until = validToDate.toISOString().slice(0, 16).replace("T", " ");
  const remedy = "renew cert.pem and key.pem; they are used at once";
  if (now >= endsAt) {
    const finding = `${address}: the certificate ended ${until} UTC, so nobody accepts it`;
    return { check: CHECK, level: "problem", finding, remedy };
  }
  const finding = `${address}, certificate until ${until} UTC`;
  const isLate = endsAt - now < LAST_PART * (endsAt - validFromDate.getTime());
  return isLate ? { check: CHECK, level: "warning", finding, remedy } : { check: CHECK, level: "ok", finding };
}
