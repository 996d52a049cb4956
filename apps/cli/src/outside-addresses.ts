import {
  formatGatewayAddress,
  type GatewayAddress,
  type InstancePaths,
  readGatewayListen,
  readNetworkAddress,
} from "@hms/config";
import { networkOfAddress } from "@hms/kernel";
import { shownCertificates } from "./tls/shown-certificates.ts";

/** What other machines can reach of an installation. */
export interface OutsideAddresses {
  /** Services, without TLS. */
  readonly http: readonly string[];
  /** Services and the platform's functions, with TLS. */
  readonly https: readonly string[];
  /** Wanted with TLS, while there is no certificate. */
  readonly waiting: readonly string[];
  /** The platform's functions, for programs; undefined: nowhere. */
  readonly listen: string | undefined;
}

/** What other machines can reach, as `up` was told; addresses of this machine alone are left out. */
export function outsideAddresses(paths: Pick<InstancePaths, "data" | "gatewayTls">): OutsideAddresses {
  const { http, https } = readGatewayListen(paths);
  const urls = (scheme: string, addresses: readonly GatewayAddress[]) =>
    addresses
      .filter(({ host }) => networkOfAddress(host) !== "loopback")
      .map((address) => `${scheme}://${formatGatewayAddress(address)}`);
  const secure = urls("https", https);
  const hasCertificate = secure.length > 0 && shownCertificates(paths.gatewayTls).length > 0;
  const listen = readNetworkAddress(paths);
  return {
    http: urls("http", http),
    https: hasCertificate ? secure : [],
    waiting: hasCertificate ? [] : secure,
    listen,
  };
}

/** The same in one sentence. */
export function reachSentence({ http, https, waiting, listen }: OutsideAddresses): string {
  const parts = [
    ...http.map((url) => `${url} (without TLS)`),
    ...https,
    ...waiting.map((url) => `${url} (once there is a certificate)`),
    ...(listen === undefined ? [] : [listen]),
  ];
  return parts.length === 0 ? "Other machines reach nothing." : `Other machines reach ${parts.join(", ")}`;
}
