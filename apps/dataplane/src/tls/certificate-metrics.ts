import { X509Certificate } from "node:crypto";
import type { Certificate } from "@hms/proxy";

const NAME = "hms_gateway_certificate_ends_timestamp_seconds";

/** When each certificate that is shown ends, by its first name, in Prometheus text exposition format 0.0.4; none: "". */
export function certificateMetrics(certificates: readonly Certificate[]): string {
  if (certificates.length === 0) return "";
  const ends = new Map<string, number>();
  for (const { cert } of certificates) {
    const { subjectAltName = "", validToDate } = new X509Certificate(cert);
    const name = /^(?:DNS|IP Address):([\w.*:-]+)/.exec(subjectAltName)?.[1] ?? "";
    const end = validToDate.getTime() / 1000;
    // Of several for one name the first is shown.
    if (!ends.has(name)) ends.set(name, end);
  }
  const lines = [...ends].map(([name, end]) => `${NAME}{name="${name}"} ${end}\n`);
  return `# HELP ${NAME} When a certificate that the gateway shows ends.\n# TYPE ${NAME} gauge\n${lines.join("")}`;
}
