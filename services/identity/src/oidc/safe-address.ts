import { networkOfAddress } from "@hms/kernel";

/**
 * Whether an address is https, or http on this machine, and nothing but an address: no name, password or fragment in it, and
 * not one where clouds have their metadata.
 */
export function isSafeAddress(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.hash !== "" || text.includes("#") || url.username !== "" || url.password !== "") return false;
  const { hostname } = url;
  // Addresses are compared to the letter: a pattern would mean nobody, and looks as if it meant many.
  if (hostname.includes("*") || networkOfAddress(hostname) === "special") return false;
  if (url.protocol === "https:") return true;
  const isHere = hostname === "localhost" || hostname.endsWith(".localhost") || hostname === "[::1]";
  return url.protocol === "http:" && (isHere || /^127(?:\.\d{1,3}){3}$/.test(hostname));
}
