import type { InstancePaths } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import { outsideAddresses, reachSentence } from "../outside-addresses.ts";
import type { Finding } from "./finding.ts";

const CHECK = "reachable";

/** What other machines reach, and what of it could be read on its way. */
export function outsideReach(paths: Pick<InstancePaths, "data" | "gatewayTls">): Finding[] {
  try {
    const reach = outsideAddresses(paths);
    const finding = reachSentence(reach);
    if (reach.waiting.length > 0) {
      const remedy = "get certificates: hms-sys tls acme --names …, or put cert.pem and key.pem into gateway-tls/";
      return [{ check: CHECK, level: "warning", finding, remedy }];
    }
    if (reach.http.length > 0 && reach.https.length === 0) {
      const remedy =
        "what services are sent there can be read on its way (the platform itself refuses to answer there): hms-sys tls acme, and up --https-listen";
      return [{ check: CHECK, level: "warning", finding, remedy }];
    }
    return [{ check: CHECK, level: "ok", finding }];
  } catch (error) {
    const remedy = "hms-sys up --http-listen … --https-listen …; until then the gateway stays as it is";
    return [{ check: CHECK, level: "problem", finding: HmsError.from(error).message, remedy }];
  }
}
