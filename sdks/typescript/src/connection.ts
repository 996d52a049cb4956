import { registry } from "@hms/contracts";
import {
  type Channel,
  connectHttp,
  connectSchemes,
  createDirectCalls,
  type DirectCalls,
  frameSchemes,
  tracedCalls,
} from "@hms/direct-calls";
import {
  type Directory,
  type FixedPlace,
  fixedDirectory,
  openDirectory,
  type RegistryClient,
  type ServiceKey,
} from "@hms/directory";
import { createClient, type Transport } from "@hms/kernel";
import { connectFrames } from "@hms/wire";
import { countMadeCall } from "./call-counters.ts";
import { schemesOf, tlsIdentity } from "./program-schemes.ts";
import { type Settings, type TlsFiles, tlsOf } from "./settings.ts";

/** A registry that restarts is waited for this long, unless a call's deadline is nearer. */
const PATIENCE_MS = 2_000;

/** What the platform serves itself, at the registry's own address. */
const PLATFORM = /^hms\.(ffi|sys|identity|assets|automation|communication)(\.|$)/;

/** What one program knows of the platform, and how it reaches it; shared by all its clients and services. */
export interface Connection extends AsyncDisposable {
  readonly settings: Settings;
  readonly registry: RegistryClient;
  /** The registry over a connection whose waiting calls do not keep the process alive. */
  readonly watcher: RegistryClient;
  readonly directory: Directory;
  readonly calls: DirectCalls;
  /** The same in JSON, for services without a contract: what they take only they know. */
  readonly jsonCalls: DirectCalls;
  /** The platform itself: it decides with the full policy and calls services on the caller's behalf. */
  readonly edge: Channel;
  /** The platform's own services, in the trace of whoever calls them. */
  readonly platform: Transport;
}

/** Connects a program; nothing is opened before it is needed. @throws HmsError INVALID_ARGUMENT */
function openConnection(settings: Settings): Connection {
  const edge = channelOf(settings, false);
  const background = channelOf(settings, true);
  const client = createClient(registry.RegistryService, edge);
  const watcher = createClient(registry.RegistryService, background);
  const { cacheTtlMs, refreshIntervalMs } = settings;
  const directory = openDirectory({ registry: client, watcher, cacheTtlMs, refreshIntervalMs });
  const servedByEdge = ({ serviceId }: ServiceKey) => PLATFORM.test(serviceId);
  const callsIn = (codec: "protobuf" | "json") =>
    createDirectCalls({ directory, edge, servedByEdge, schemes: schemesOf(settings, codec), onEnd: countMadeCall });
  const calls = callsIn("protobuf");
  const jsonCalls = callsIn("json");
  return {
    settings,
    registry: client,
    watcher,
    directory,
    calls,
    jsonCalls,
    edge,
    platform: tracedCalls(edge),
    async [Symbol.asyncDispose]() {
      await directory[Symbol.asyncDispose]();
      await Promise.all([calls[Symbol.asyncDispose](), jsonCalls[Symbol.asyncDispose]()]);
      await Promise.all([edge.close(), background.close()]);
    },
  };
}

function channelOf(settings: Settings, background: boolean): Channel {
  const { registryUrl: address, token } = settings;
  if (address.startsWith("http")) return connectHttp({ address, token, background });
  const tls = tlsIdentity(settings);
  return connectFrames({ address, token, waitForReadyMs: PATIENCE_MS, background, ...(tls ? { tls } : {}) });
}

/** Where a service is called without a registry. */
export interface FixedAddress extends FixedPlace {
  readonly codec?: "protobuf" | "json" | undefined;
  readonly token?: string | undefined;
  readonly tls?: TlsFiles | undefined;
}

/** Connects a program to one address; there is no platform. @throws HmsError INVALID_ARGUMENT */
export function openFixedConnection({ codec, token, tls: files, ...place }: FixedAddress): Connection {
  const own = tlsOf(files);
  const tls = tlsIdentity({ tls: own });
  const schemes = {
    ...frameSchemes({ codec: codec ?? "protobuf", token, ...(tls ? { tls } : {}) }),
    ...connectSchemes(),
  };
  const directory = fixedDirectory(place);
  const calls = createDirectCalls({ directory, schemes, onEnd: countMadeCall });
  const settings = { ...NO_SETTINGS, registryUrl: place.address, token, tls: own };
  const edge = channelOf(settings, false);
  const client = createClient(registry.RegistryService, edge);
  return {
    settings,
    registry: client,
    watcher: client,
    directory,
    calls,
    jsonCalls: calls,
    edge,
    platform: tracedCalls(edge),
    async [Symbol.asyncDispose]() {
      await calls[Symbol.asyncDispose]();
      await edge.close();
    },
  };
}

const NO_SETTINGS: Omit<Settings, "registryUrl"> = {
  token: undefined,
  environment: "default",
  cacheTtlMs: 0,
  refreshIntervalMs: 0,
  transport: "auto",
  disabled: [],
  serviceFolder: undefined,
  maxStreams: 0,
  tls: undefined,
};

const shared = new Map<string, { connection: Connection; users: number }>();

/** A connection that all who have the same settings share; disposing the last share ends it. */
export function shareConnection(settings: Settings): { connection: Connection; release(): Promise<void> } {
  const key = JSON.stringify(settings);
  const entry = shared.get(key) ?? { connection: openConnection(settings), users: 0 };
  shared.set(key, entry);
  entry.users += 1;
  let released = false;
  return {
    connection: entry.connection,
    async release() {
      if (released) return;
      released = true;
      entry.users -= 1;
      if (entry.users > 0) return;
      shared.delete(key);
      await entry.connection[Symbol.asyncDispose]();
    },
  };
}
