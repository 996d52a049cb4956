import { type InstancePaths, parseNetworkAddress } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import { requireServerFiles, tlsFilesIn } from "@hms/parts";

/**
 * Reads `--listen`, and makes sure that the platform can show who it is there.
 * @throws HmsError INVALID_ARGUMENT if it is no address, FAILED_PRECONDITION without a certificate that can be used
 */
export function requireListen(text: string, { tls }: Pick<InstancePaths, "tls">): string {
  const address = parseNetworkAddress(text);
  if (address === undefined) return text;
  try {
    requireServerFiles(tlsFilesIn(tls));
  } catch (cause) {
    const message = `Other machines need to know whom they speak to: put cert.pem, key.pem and ca.pem into ${tls}. ${HmsError.from(cause).message}`;
    throw new HmsError("FAILED_PRECONDITION", message, { cause });
  }
  return text;
}
