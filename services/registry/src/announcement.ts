import { setTimeout as delay } from "node:timers/promises";
import type { DescFile, DescService } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { registry } from "@hms/contracts";
import { descriptorSetOf } from "@hms/descriptors";
import { type Client, HmsError } from "@hms/kernel";

const CALL_TIMEOUT_MS = 5000;
const FAREWELL_TIMEOUT_MS = 2000;
const PAUSE_AFTER_FAILURE_MS = 1000;

/** What is announced, and to whom. */
export interface AnnouncementOptions {
  /** The registry to announce to, over any transport. */
  registry: Client<typeof registry.RegistryService>;
  /** The contracts that answer at the address. */
  services: Iterable<DescService>;
  /** "unix:/path/to.sock" or "http://127.0.0.1:20001". */
  address: string;
  /** Unique among the instances of these services. */
  instanceId: string;
  /** Default "default". */
  environment?: string;
  metadata?: Record<string, string>;
  /** Hears what fails; what may pass is tried again each second. Default: nobody. */
  onFailure?: (failure: HmsError) => void;
}

/** Services that stay registered until this is disposed; then they are unregistered, or their leases run out. */
export interface Announcement extends AsyncDisposable {
  /** Settles when each has been registered once or never will be. */
  readonly registered: Promise<void>;
}

/** One package of contracts: what the registry knows as a service version. */
interface Offer {
  serviceId: string;
  version: string;
  files: Set<DescFile>;
}

/** @throws HmsError INVALID_ARGUMENT if a package does not end in a version. */
function offersOf(services: Iterable<DescService>): Offer[] {
  const offers = new Map<string, Offer>();
  for (const { file, typeName } of services) {
    const name = file.proto.package;
    const [, serviceId, version] = /^(.+)\.(v\d+)$/.exec(name) ?? [];
    if (serviceId === undefined || version === undefined) {
      const message = `${typeName} cannot be registered: its package "${name}" has no version. Name it "${name}.v1".`;
      throw new HmsError("INVALID_ARGUMENT", message, { reason: "PACKAGE_WITHOUT_VERSION" });
    }
    const offer = offers.get(name) ?? { serviceId, version, files: new Set() };
    offer.files.add(file);
    offers.set(name, offer);
  }
  return [...offers.values()];
}

const mayPass = ({ code, details }: HmsError) =>
  code !== "INVALID_ARGUMENT" && code !== "PERMISSION_DENIED" && details.reason !== "CONTRACT_BREAKS";

/** Keeps one offer registered until the signal aborts; calls back once when its first try has ended well or for good. */
async function keepRegistered(
  offer: Offer,
  options: AnnouncementOptions,
  { signal, tried }: { signal: AbortSignal; tried: () => void },
): Promise<void> {
  const { serviceId, version, files } = offer;
  const { environment = "default", instanceId, address, metadata = {} } = options;
  const request = { serviceId, version, environment, instanceId, address, metadata };
  let fileDescriptorSet = descriptorSetOf(files);
  const registerOnce = async (): Promise<number> => {
    try {
      const answer = await options.registry.register(
        { ...request, fileDescriptorSet },
        { signal, timeoutMs: CALL_TIMEOUT_MS },
      );
      // The contract cannot change while this process runs.
      fileDescriptorSet = new Uint8Array();
      tried();
      return answer.renewInterval ? durationMs(answer.renewInterval) : PAUSE_AFTER_FAILURE_MS;
    } catch (error) {
      const failure = HmsError.from(error);
      if (!signal.aborted) options.onFailure?.(failure);
      return mayPass(failure) ? PAUSE_AFTER_FAILURE_MS : Number.POSITIVE_INFINITY;
    }
  };
  while (!signal.aborted) {
    const pauseMs = await registerOnce();
    if (pauseMs === Number.POSITIVE_INFINITY) break;
    await delay(pauseMs, undefined, { signal, ref: false }).catch(() => {});
  }
  tried();
}

async function takeLeave({ serviceId, version }: Offer, options: AnnouncementOptions): Promise<void> {
  const { environment = "default", instanceId, onFailure } = options;
  try {
    const key = { serviceId, version, environment, instanceId };
    await options.registry.unregister(key, { timeoutMs: FAREWELL_TIMEOUT_MS });
  } catch (error) {
    onFailure?.(HmsError.from(error));
  }
}

/**
 * Registers the services of a process and renews their leases.
 * @throws HmsError INVALID_ARGUMENT if a contract's package has no version.
 */
export function announceServices(options: AnnouncementOptions): Announcement {
  const end = new AbortController();
  const offers = offersOf(options.services);
  const firstTries: Promise<void>[] = [];
  const kept = offers.map((offer) => {
    const first = Promise.withResolvers<void>();
    firstTries.push(first.promise);
    return keepRegistered(offer, options, { signal: end.signal, tried: first.resolve });
  });
  return {
    registered: Promise.all(firstTries).then(() => {}),
    async [Symbol.asyncDispose]() {
      end.abort();
      await Promise.all(kept);
      await Promise.all(offers.map((offer) => takeLeave(offer, options)));
    },
  };
}
