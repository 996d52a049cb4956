import { existsSync } from "node:fs";
import type { Transport } from "@hms/kernel";
import { type ConnectFramesOptions, connectFrames } from "@hms/wire";
import { connectHttp } from "./connect-channel.ts";

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
  /** What makes it come before nearer ones, as a clause; default: nothing, the nearest comes first. */
  readonly preferredBy?: string;
  /** Why an address cannot be used from here, as a clause; undefined if it can. Default: it can. */
  unusable?(address: string): string | undefined;
  /** Why nobody answers at an address now, as a clause, where that can be told without connecting. */
  absent?(address: string): string | undefined;
  /** Makes the channel of an address; connects to nothing yet. */
  open(address: string): Channel;
  /** The same in JSON, for callees that have no protobuf; default: it cannot be spoken otherwise. */
  openJson?(address: string): Channel;
}

/** Schemes by name, without the colon. */
export type ChannelSchemes = Readonly<Record<string, ChannelScheme>>;

/** The scheme of an address: "unix" for "unix:/run/a.sock". */
export function schemeOf(address: string): string {
  return address.slice(0, Math.max(0, address.indexOf(":")));
}

/** The path of a unix socket's address. */
function socketPathOf(address: string): string {
  return address.replace(/^unix:(?:\/\/(?=\/))?/, "");
}

/** What frames are spoken with. */
export interface FrameSchemesOptions {
  /** Who this side is, for tls addresses; without it they cannot be called. */
  readonly tls?: ConnectFramesOptions["tls"];
  /** Default protobuf. */
  readonly codec?: "protobuf" | "json";
  /** Goes with calls that have no ticket; default: none. Never for services that others have registered. */
  readonly token?: string | undefined;
}

/** How addresses are called where frames are spoken: unix, tcp and tls. */
export function frameSchemes({ tls, codec = "protobuf", token }: FrameSchemesOptions = {}): ChannelSchemes {
  const openIn = (chosen: "protobuf" | "json") => (address: string) =>
    connectFrames({ address, codec: chosen, token, ...(tls ? { tls } : {}) });
  const [open, openJson] = [openIn(codec), openIn("json")];
  const missing = (address: string) =>
    existsSync(socketPathOf(address)) ? undefined : "there is no such socket on this machine";
  return {
    unix: { speaks: "frames over a unix socket", codec, absent: missing, open, openJson },
    tcp: { speaks: "frames over TCP on this machine", codec, unusable: problemOf, open, openJson },
    tls: {
      speaks: "frames over mutual TLS",
      codec,
      unusable: () => (tls ? undefined : "this program has no certificate of the platform"),
      open,
      openJson,
    },
  };
}

/** How addresses are called by the Connect protocol: http and https. */
export function connectSchemes(): ChannelSchemes {
  const scheme = { codec: "json" as const, open: (address: string) => connectHttp({ address }) };
  return {
    https: { speaks: "Connect with JSON over HTTPS", ...scheme },
    http: { speaks: "Connect with JSON over HTTP", ...scheme },
  };
}

/** Why an address cannot be called at all, as a clause. */
function problemOf(address: string): string | undefined {
  const host = /^tcp:\/\/\[?([^\]/]*?)\]?:\d+$/.exec(address)?.[1];
  const onThisMachine = host === "::1" || /^127(\.\d{1,3}){3}$/.test(host ?? "");
  return onThisMachine ? undefined : "it is not encrypted and not of this machine";
}
