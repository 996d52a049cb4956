import { type InstancePaths, type PartName, partNames, partSocket, readPartNames } from "@hms/config";
import { type FieldViolation, HmsError } from "@hms/kernel/errors";
import { parseFrameAddress } from "@hms/wire";
import { readPlaces } from "./part-places.ts";

/** Which parts of the platform run in a process, as its command line says; lists are separated by commas. */
export interface PlacementOptions {
  /** These parts and nothing else. */
  only?: string | undefined;
  /** The server with every part but these. */
  apart?: string | undefined;
  /** Where the parts are called: "unix:/path", "tls://host:port"; default their own sockets. */
  listen?: string | undefined;
  /** Where others are called: "registry=tls://host:port"; default their own sockets. */
  at?: string | undefined;
  tlsCert?: string | undefined;
  tlsKey?: string | undefined;
  tlsCa?: string | undefined;
  /** The key that the installation's processes share; default the installation's own file. */
  partKey?: string | undefined;
}

/** Where a process listens for calls to its parts. */
export interface PartListener {
  readonly address: string;
  readonly parts: readonly PartName[];
}

/** Which parts run in a process, and where the others are. */
export interface PartPlacement {
  /** "server", or the names of its parts: "deployment+mesh". */
  readonly process: string;
  /** True for the process that answers the operator, data planes and deployed services. */
  readonly isServer: boolean;
  readonly here: readonly PartName[];
  /** Where each of the others is called. */
  readonly elsewhere: ReadonlyMap<PartName, string>;
  readonly listeners: readonly PartListener[];
  /** Files with certificate, its key, and the authority of all of them; undefined: no part is called by TLS. */
  readonly tls: { readonly cert: string; readonly key: string; readonly ca: string } | undefined;
  /** The file of the key that the installation's processes share. */
  readonly keyFile: string;
}

/**
 * Works out what runs where.
 * @throws HmsError INVALID_ARGUMENT with every problem of the options
 */
export function placeParts(options: PlacementOptions, paths: Pick<InstancePaths, "parts" | "partKey">): PartPlacement {
  const problems: FieldViolation[] = [];
  const read = <T>(field: string, work: () => T, instead: T): T => {
    try {
      return work();
    } catch (error) {
      problems.push({ field, description: HmsError.from(error).message });
      return instead;
    }
  };
  const { only, apart } = options;
  if (only !== undefined && apart !== undefined) {
    problems.push({ field: "only", description: "--only and --apart exclude each other: give one of them." });
  }
  const chosen = only === undefined ? undefined : read("only", () => readPartNames("--only", only), []);
  const left = apart === undefined ? [] : read("apart", () => readPartNames("--apart", apart), []);
  if (chosen?.length === 0 && problems.length === 0) {
    problems.push({ field: "only", description: `--only names no part: give some of ${partNames.join(", ")}.` });
  }
  const here = chosen ?? partNames.filter((name) => !left.includes(name));
  const away = partNames.filter((name) => !here.includes(name));
  const given = read("at", () => readPlaces(options.at, away), new Map<PartName, string>());
  const elsewhere = new Map(away.map((part) => [part, given.get(part) ?? `unix:${partSocket(paths, part)}`]));
  const listeners = read("listen", () => listenersOf(options.listen, here, paths), []);
  const addresses = [...elsewhere.values(), ...listeners.map(({ address }) => address)];
  const tls = read("tls", () => tlsOf(options, addresses), undefined);
  if (problems.length > 0) throw wrongOptions(problems);
  const process = chosen === undefined ? "server" : here.join("+");
  const isApart = away.length > 0 || options.listen !== undefined;
  const keyFile = options.partKey ?? paths.partKey;
  const isServer = chosen === undefined;
  return { process, isServer, here, elsewhere, listeners: isApart ? listeners : [], tls, keyFile };
}

function listenersOf(
  listen: string | undefined,
  here: readonly PartName[],
  paths: Pick<InstancePaths, "parts">,
): PartListener[] {
  if (listen === undefined) return here.map((part) => ({ address: `unix:${partSocket(paths, part)}`, parts: [part] }));
  return listen.split(",").map((address) => {
    parseFrameAddress(address);
    return { address, parts: here };
  });
}

function tlsOf({ tlsCert: cert, tlsKey: key, tlsCa: ca }: PlacementOptions, addresses: readonly string[]) {
  if (cert !== undefined && key !== undefined && ca !== undefined) return { cert, key, ca };
  const some = cert ?? key ?? ca;
  const needing = addresses.find((address) => address.startsWith("tls:"));
  if (some === undefined && needing === undefined) return undefined;
  throw new HmsError(
    "INVALID_ARGUMENT",
    `${needing ?? "TLS"} needs a certificate, its key and the authority of all parts: give --tls-cert, --tls-key and --tls-ca.`,
  );
}

function wrongOptions(problems: FieldViolation[]): HmsError {
  const all = problems.map(({ description }) => description).join("\n");
  return new HmsError("INVALID_ARGUMENT", all, { reason: "PLACEMENT_INVALID", fieldViolations: problems });
}
