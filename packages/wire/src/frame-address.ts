import { isIPv4 } from "node:net";
import { HmsError } from "@hms/kernel";

/** Where frames are spoken. */
export type FrameAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp" | "tls"; readonly host: string; readonly port: number };

const NETWORK = /^(tcp|tls):\/\/(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/;

/**
 * Reads "unix:/path", "tcp://127.0.0.1:port" or "tls://host:port".
 * @throws HmsError INVALID_ARGUMENT if it is none of these, or unencrypted and beyond this machine
 */
export function parseFrameAddress(text: string): FrameAddress {
  if (text.startsWith("unix:/")) return { kind: "unix", path: text.slice("unix:".length).replace(/^\/\/\//, "/") };
  const [, kind, v6, name, digits] = NETWORK.exec(text) ?? [];
  const port = Number(digits);
  if (kind === undefined || !(port <= 65_535)) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `${JSON.stringify(text)} is no address for frames: write unix:/path, tcp://127.0.0.1:port or tls://host:port.`,
    );
  }
  const host = v6 ?? (name as string);
  if (kind === "tcp" && !isLoopback(host)) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `${text} would send calls and tickets unencrypted to another machine: use tls://, or an address of 127.0.0.0/8 or [::1].`,
    );
  }
  return { kind: kind as "tcp" | "tls", host, port };
}

/** Writes an address as `parseFrameAddress` reads it. */
export function formatFrameAddress(address: FrameAddress): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return `${address.kind}://${host}:${address.port}`;
}

function isLoopback(host: string): boolean {
  return host === "::1" || (isIPv4(host) && host.startsWith("127."));
}
