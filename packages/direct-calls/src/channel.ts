import { existsSync } from "node:fs";
import type { Transport } from "@hms/kernel";
import { connectSocket } from "@hms/wire";

/** Carries calls to one address; connects on the first call, and again after the connection was lost. */
export interface Channel extends Transport {
  /** Ends the connection; running calls fail with CANCELLED. May be called twice. */
  close(): Promise<void>;
}

/** How addresses of one scheme are called. */
export interface ChannelScheme {
  /** What is spoken, for people: "frames over a unix socket". */
  readonly speaks: string;
  readonly codec: "protobuf" | "json";
  /** Why an address cannot be used from here, as a clause; undefined if it can. Default: it can. */
  unusable?(address: string): string | undefined;
  /** Makes the channel of an address; connects to nothing yet. */
  open(address: string): Channel;
}

/** Schemes by name, without the colon. */
export type ChannelSchemes = Readonly<Record<string, ChannelScheme>>;

/** The scheme of an address: "unix" for "unix:/run/a.sock". */
export function schemeOf(address: string): string {
  return address.slice(0, Math.max(0, address.indexOf(":")));
}

/** The path of a unix socket's address. */
export function socketPathOf(address: string): string {
  return address.replace(/^unix:(?:\/\/(?=\/))?/, "");
}

const unix: ChannelScheme = {
  speaks: "frames over a unix socket",
  codec: "protobuf",
  unusable: (address) => (existsSync(socketPathOf(address)) ? undefined : "there is no such socket on this machine"),
  open: (address) => connectSocket({ path: socketPathOf(address) }),
};

/** What every process can call. */
export const defaultSchemes: ChannelSchemes = { unix };
