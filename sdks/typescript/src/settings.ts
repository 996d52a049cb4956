import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type FfiEnvironment, ffiEnvironment, resolveInstance } from "@hms/config";
import type { TransportName } from "@hms/direct-calls";
import { HmsError } from "@hms/kernel";
import { type FileSettings, readConfigFile } from "./config-file.ts";

/** How a program is connected to the platform; what is not given comes from the environment, then from the file. */
export interface ConnectOptions {
  /**
   * Where the registry answers: `unix:/path`, `tcp://127.0.0.1:port`, `tls://host:port`, `http://host:port` or `https://…`.
   * Default: HMS_FFI_REGISTRY_URL, HMS_FFI_SOCKET, the file, else this user's own installation on this machine.
   */
  readonly registryUrl?: string | undefined;
  /** As whom the program calls; default HMS_FFI_TOKEN, else the file. */
  readonly token?: string | undefined;
  /** Where calls go and services are registered; default HMS_ENVIRONMENT, the file, else "default". */
  readonly environment?: string | undefined;
  /** A YAML file with settings; default HMS_FFI_CONFIG_PATH, else none. */
  readonly configPath?: string | undefined;
  /** How long what is known of a service is used while the registry is away; default the file's, else 5 min. */
  readonly cacheTtlMs?: number | undefined;
  /** How often what is used is asked for again; default the file's, else 1 min. */
  readonly refreshIntervalMs?: number | undefined;
  /** Who this program is over TLS; default the file's `transport.tls`, else nobody. */
  readonly tls?: TlsFiles | undefined;
}

/** Files in PEM. */
export interface TlsFiles {
  /** The certificate with this program's SPIFFE id, intermediates after it. */
  readonly certificate: string;
  readonly key: string;
  /** The authorities that peers' certificates come from. */
  readonly authority: string;
  /** The SPIFFE id of the server that is expected; default: any of the authorities'. */
  readonly expectedId?: string | undefined;
}

/** Everything that decides how a program is connected, worked out. */
export interface Settings {
  readonly registryUrl: string;
  readonly token: string | undefined;
  readonly environment: string;
  readonly cacheTtlMs: number;
  readonly refreshIntervalMs: number;
  /** Which way of calling is taken before nearer ones; auto: none. */
  readonly transport: TransportName;
  /** Ways of calling that are switched off. */
  readonly disabled: readonly string[];
  /** Where services put their sockets. */
  readonly serviceFolder: string | undefined;
  /** Calls that one connection to a service of this program may have running. */
  readonly maxStreams: number;
  readonly tls: { key: string; cert: string; ca: string; expectedId?: string } | undefined;
}

const DEFAULT_CACHE_TTL_MS = 300_000;
const DEFAULT_REFRESH_INTERVAL_MS = 60_000;
const DEFAULT_MAX_STREAMS = 1024;
const URL_SCHEMES = ["unix", "tcp", "tls", "http", "https"];

/**
 * Works out the settings.
 * @throws HmsError INVALID_ARGUMENT, NOT_FOUND or FAILED_PRECONDITION, saying what to set
 */
export function resolveSettings(options: ConnectOptions = {}, env: FfiEnvironment = ffiEnvironment()): Settings {
  const configPath = options.configPath ?? env.configPath;
  const file = configPath === undefined ? {} : readConfigFile(configPath);
  const place = registryPlace(options, env, file);
  const { transport = {}, registry = {} } = file;
  return {
    registryUrl: place.url,
    token: options.token ?? env.token ?? registry.token ?? place.token,
    environment: options.environment ?? env.environment ?? file.environment ?? "default",
    cacheTtlMs: options.cacheTtlMs ?? registry.cache_ttl ?? DEFAULT_CACHE_TTL_MS,
    refreshIntervalMs: options.refreshIntervalMs ?? registry.refresh_interval ?? DEFAULT_REFRESH_INTERVAL_MS,
    transport: transport.default ?? "auto",
    disabled: disabledSchemes(transport),
    serviceFolder:
      env.serviceFolder ?? transport.local_socket?.path ?? place.serviceFolder ?? servicesBeside(place.url),
    maxStreams: transport.grpc?.max_concurrent_streams ?? DEFAULT_MAX_STREAMS,
    tls: tlsOf(options.tls ?? transport.tls),
  };
}

interface RegistryPlace {
  url: string;
  /** What belongs to the place, if nobody gives another. */
  token?: string | undefined;
  serviceFolder?: string | undefined;
}

/** The folder for services' sockets that a platform keeps beside the socket it gives to deployed services. */
function servicesBeside(url: string): string | undefined {
  const folder = url.startsWith("unix:") ? join(dirname(url.slice("unix:".length)), "services") : undefined;
  return folder !== undefined && existsSync(folder) ? folder : undefined;
}

function registryPlace(options: ConnectOptions, env: FfiEnvironment, file: FileSettings): RegistryPlace {
  if (options.registryUrl !== undefined) return { url: checkedUrl(options.registryUrl, "registryUrl") };
  if (env.registryUrl !== undefined) return { url: checkedUrl(env.registryUrl, "HMS_FFI_REGISTRY_URL") };
  if (env.socket !== undefined) return { url: checkedUrl(`unix:${absolute(env.socket)}`, "HMS_FFI_SOCKET") };
  if (file.registry?.url !== undefined) return { url: checkedUrl(file.registry.url, "ffi.registry.url") };
  return ownInstallation();
}

function absolute(path: string): string {
  if (path.startsWith("/")) return path;
  throw new HmsError(
    "INVALID_ARGUMENT",
    `HMS_FFI_SOCKET is "${path}"; write the socket's whole path, beginning with /.`,
  );
}

function checkedUrl(url: string, from: string): string {
  const scheme = /^([a-z]+):/.exec(url)?.[1] ?? "";
  const form = scheme === "unix" ? url.startsWith("unix:/") : /^[a-z]+:\/\/[^/?#]+\/?$/.test(url);
  if (URL_SCHEMES.includes(scheme) && form) return url.replace(/(?<=[^/])\/$/, "");
  throw new HmsError(
    "INVALID_ARGUMENT",
    `${from} is "${url}", which is no address of a registry: write unix:/path, tcp://127.0.0.1:port, tls://host:port, ` +
      "http://host:port or https://host:port.",
  );
}

/** The installation that this user runs on this machine, for programs that nobody has configured. */
function ownInstallation(): RegistryPlace {
  const { kernelSocket, operatorToken, ffiSocket } = resolveInstance();
  if (!existsSync(kernelSocket)) {
    throw new HmsError(
      "FAILED_PRECONDITION",
      `Nothing says where the registry is, and no installation runs on this machine (${kernelSocket} is not there). Set ` +
        "HMS_FFI_REGISTRY_URL or HMS_FFI_SOCKET, or start the platform with: hms-sys up",
    );
  }
  const serviceFolder = servicesBeside(`unix:${ffiSocket}`);
  return { url: `unix:${kernelSocket}`, token: readable(operatorToken), serviceFolder };
}

function readable(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim() || undefined;
  } catch {
    // Whoever may not read it calls as nobody, and is told so by the first call.
    return undefined;
  }
}

/** Schemes of addresses that a file switches off. */
export function disabledSchemes({ local_socket }: NonNullable<FileSettings["transport"]>): string[] {
  return local_socket?.enabled === false ? ["unix"] : [];
}

/**
 * The contents of the files.
 * @throws HmsError INVALID_ARGUMENT if one is not named, NOT_FOUND if it cannot be read
 */
export function tlsOf(tls: Partial<TlsFiles> | undefined): Settings["tls"] {
  if (tls === undefined) return undefined;
  const read = (path: string | undefined, key: string) => {
    if (path === undefined) {
      throw new HmsError(
        "INVALID_ARGUMENT",
        `TLS (ffi.transport.tls) needs the files certificate, key and authority; ${key} is missing.`,
      );
    }
    try {
      return readFileSync(path, "utf8");
    } catch (cause) {
      throw new HmsError("NOT_FOUND", `The file for TLS (ffi.transport.tls.${key}), ${path}, cannot be read.`, {
        cause,
      });
    }
  };
  return {
    key: read(tls.key, "key"),
    cert: read(tls.certificate, "certificate"),
    ca: read(tls.authority, "authority"),
    ...(tls.expectedId === undefined ? {} : { expectedId: tls.expectedId }),
  };
}
