import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ffiEnvironment } from "@hms/config";
import { contractOfSchemas, descriptorSetOf } from "@hms/descriptors";
import { keepRegistered, packageOf, type Registration } from "@hms/directory";
import { type CallContext, HmsError, type Kernel } from "@hms/kernel";
import { ticketAudience } from "@hms/tickets";
import { type FrameServer, serveFrames } from "@hms/wire";
import { CallLimits } from "./call-limits.ts";
import { type Connection, shareConnection } from "./connection.ts";
import { FfiError } from "./errors.ts";
import type { Interceptor } from "./interceptor.ts";
import { tlsIdentity } from "./program-schemes.ts";
import {
  type ContractSource,
  loadContract,
  type Methods,
  methodSchemas,
  nameOfContract,
  registrationsOf,
  serializedContract,
} from "./served-methods.ts";
import { type InstanceName, type KernelWishes, kernelAlone, registeredKernel } from "./service-kernel.ts";
import { type ConnectOptions, resolveSettings, type Settings, tlsOf } from "./settings.ts";

export type { CallContext };

/** What is served, and where. */
export interface ServeOptions extends ConnectOptions, KernelWishes {
  /** Default: that of the generated contract. */
  readonly serviceId?: string;
  /** Default: that of the generated contract, else "v1". */
  readonly version?: string;
  readonly methods: Methods;
  /** Default: the methods' JSON Schemas; a method without them takes and answers any object. */
  readonly contract?: ContractSource;
  /**
   * `unix:/path`, `tcp://127.0.0.1:port` (0: any) or `tls://host:port`; default: a unix socket of its own, in
   * HMS_FFI_SERVICE_DIR, else the file's `local_socket.path`, else the folder for temporary files.
   */
  readonly listen?: string;
  /** What others call, where that is not `listen` itself. */
  readonly address?: string;
  /** Unique within the service; default: made up. */
  readonly instanceId?: string;
  /** Labels of the service. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly interceptors?: readonly Interceptor[];
  /** Calls that may run at once; more are refused with RESOURCE_EXHAUSTED. Default: as many as come. */
  readonly maxConcurrentCalls?: number;
  /** How long a call may take, whatever its caller allows; default: as long as the caller waits. */
  readonly timeoutMs?: number;
  /**
   * False: no registry is told and none is needed; the service is called by its address, by everybody who can connect,
   * or only with tickets if `access` is given. Default true.
   */
  readonly register?: boolean;
  /** How long the instance is callable without a sign of life; default 30 s. */
  readonly leaseMs?: number;
  /** How long `close` lets running calls finish; default 5 s. */
  readonly graceMs?: number;
}

/** A service that is served. */
export interface ServedService extends AsyncDisposable {
  readonly serviceId: string;
  readonly version: string;
  readonly instanceId: string;
  /** Where it listens. */
  readonly address: string;
  /** Settles when the registry knows it. @throws FfiError if the registry refuses it */
  readonly registered: Promise<void>;
  /** Leaves the registry, lets running calls finish within `graceMs`, and stops; may be called twice. */
  close(options?: { graceMs?: number }): Promise<void>;
}

/**
 * Serves a service: listens, registers, keeps the registration alive while the registry comes and goes, and checks the
 * ticket of every caller and every request against the `buf.validate` rules of its contract. With a contract it answers at once; with schemas once the registry has made a contract of them.
 * @throws FfiError INVALID_ARGUMENT if methods, contract or settings do not fit together, or the registry refuses them
 */
export async function serve(options: ServeOptions): Promise<ServedService> {
  try {
    return await startService(options);
  } catch (error) {
    throw FfiError.of(error);
  }
}

async function startService(options: ServeOptions): Promise<ServedService> {
  await using stack = new AsyncDisposableStack();
  const grace = graceOf(options);
  const started = await (options.register === false ? startAlone : startRegistered)(options, stack, grace);
  const owned = stack.move();
  let closing: Promise<void> | undefined;
  const close = ({ graceMs }: { graceMs?: number } = {}) => {
    if (graceMs !== undefined) grace.graceMs = graceMs;
    closing ??= owned.disposeAsync();
    return closing;
  };
  return { ...started, close, [Symbol.asyncDispose]: () => close() };
}

type Started = Omit<ServedService, "close" | typeof Symbol.asyncDispose>;

async function startRegistered(options: ServeOptions, stack: AsyncDisposableStack, grace: Grace): Promise<Started> {
  const { connection, release } = shareConnection(resolveSettings(options));
  stack.defer(release);
  const name = nameOf(options, connection.settings.environment);
  const keys = new Map<string, Uint8Array>();
  const kernel = registeredKernel(name, { connection, keys, stack, options });
  const bytes = options.contract && serializedContract(options.contract);
  if (bytes) addMethods(kernel, bytes, { name, options });
  const server = await listen(kernel, options, { ...connection.settings, ticketed: true });
  stack.defer(() => server.close(grace));
  const registration = register({ name, server, connection, keys, options, bytes });
  stack.use(registration);
  if (bytes === undefined) addMethods(kernel, await contractAt(registration, name, connection), { name, options });
  const registered = registration.registered.then(
    () => {},
    (error) => {
      throw FfiError.of(error);
    },
  );
  registered.catch(() => {});
  return { ...name, address: server.address, registered };
}

async function startAlone(options: ServeOptions, stack: AsyncDisposableStack, grace: Grace): Promise<Started> {
  const env = ffiEnvironment();
  const name = nameOf(options, options.environment ?? env.environment ?? "default");
  const kernel = kernelAlone(options);
  const { serviceId, version } = name;
  const bytes = options.contract
    ? serializedContract(options.contract)
    : descriptorSetOf(contractOfSchemas({ serviceId, version, methods: methodSchemas(options.methods) }).files.files);
  addMethods(kernel, bytes, { name, options });
  const server = await listen(kernel, options, {
    serviceFolder: env.serviceFolder,
    maxStreams: undefined,
    tls: tlsOf(options.tls),
    ticketed: false,
  });
  stack.defer(() => server.close(grace));
  return { ...name, address: server.address, registered: Promise.resolve() };
}

/** How long running calls may take to finish; can change until the service closes. */
interface Grace {
  graceMs?: number;
}

function graceOf({ graceMs }: ServeOptions): Grace {
  return graceMs === undefined ? {} : { graceMs };
}

function addMethods(kernel: Kernel, bytes: Uint8Array, served: { name: InstanceName; options: ServeOptions }): void {
  const { methods, interceptors = [], maxConcurrentCalls, timeoutMs } = served.options;
  const contract = loadContract(bytes, packageOf(served.name));
  const limits = new CallLimits({ maxConcurrentCalls, timeoutMs });
  for (const one of registrationsOf(contract, methods, { interceptors, limits })) kernel.register(one);
}

function nameOf(options: ServeOptions, environment: string): InstanceName {
  const { contract, instanceId = randomBytes(6).toString("hex") } = options;
  const own = contract && !(contract instanceof Uint8Array) ? nameOfContract(contract) : undefined;
  const serviceId = options.serviceId ?? own?.serviceId;
  const version = options.version ?? own?.version ?? "v1";
  if (serviceId === undefined) {
    throw new HmsError("INVALID_ARGUMENT", 'serve needs to know what it serves: give serviceId ("hms.cdf.debate").');
  }
  return { serviceId, version, environment, instanceId };
}

interface ListenSettings extends Pick<Settings, "serviceFolder" | "tls"> {
  maxStreams: number | undefined;
  /** Whether callers have to show tickets. */
  ticketed: boolean;
}

function listen(kernel: Kernel, options: ServeOptions, settings: ListenSettings): Promise<FrameServer> {
  const folder = settings.serviceFolder ?? tmpdir();
  const { listen: given } = options;
  // A short name: the path of a socket may have no more than 107 bytes.
  const address = given ?? `unix:${join(folder, randomBytes(4).toString("hex"))}`;
  const tls = tlsIdentity(settings);
  return serveFrames(kernel, {
    address,
    // Callers run under other users; tickets say who may call. Without a registry there are none.
    mode: settings.ticketed ? 0o666 : 0o600,
    ...(settings.maxStreams === undefined ? {} : { maxStreams: settings.maxStreams }),
    ...graceOf(options),
    ...(tls ? { tls } : {}),
  });
}

interface Registering {
  name: InstanceName;
  server: FrameServer;
  connection: Connection;
  keys: Map<string, Uint8Array>;
  options: ServeOptions;
  bytes: Uint8Array | undefined;
}

function register({ name, server, connection, keys, options, bytes }: Registering): Registration {
  const { metadata = {}, leaseMs, address = server.address, methods } = options;
  const { replica = "" } = ffiEnvironment();
  return keepRegistered({
    registry: connection.registry,
    request: {
      ...name,
      address,
      replica,
      metadata: { ...metadata },
      ...(bytes ? { fileDescriptorSet: new Uint8Array(bytes) } : { methodSchemas: methodSchemas(methods) }),
      ...(leaseMs === undefined ? {} : { leaseDuration: durationFromMs(leaseMs) }),
    },
    onRegistered: ({ ticketKey }) => {
      if (ticketKey.length > 0) keys.set(ticketAudience(name), ticketKey);
    },
    onFailure: (failure) => options.onFailure?.(FfiError.of(failure)),
  });
}

/** The contract that the registry has made of the methods' schemas. */
async function contractAt(
  registration: Registration,
  name: InstanceName,
  { registry }: Connection,
): Promise<Uint8Array> {
  await registration.registered;
  const { serviceId, version, environment } = name;
  const { fileDescriptorSet } = await registry.getContract({ serviceId, version, environment }, { timeoutMs: 5_000 });
  return fileDescriptorSet;
}
