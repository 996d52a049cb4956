import type { DescFile, DescService } from "@bufbuild/protobuf";
import { descriptorSetOf } from "@hms/descriptors";
import { HmsError } from "@hms/kernel";
import { keepRegistered } from "./keep-registered.ts";
import type { RegistryClient } from "./service-watch.ts";

/** What is announced, and to whom. */
export interface AnnouncementOptions {
  /** The registry to announce to, over any transport. */
  readonly registry: RegistryClient;
  /** The contracts that answer at the address. */
  readonly services: Iterable<DescService>;
  /** "unix:/path/to.sock" or "http://127.0.0.1:20001". */
  readonly address: string;
  /** Unique among the instances of these services. */
  readonly instanceId: string;
  /** Default "default". */
  readonly environment?: string;
  readonly metadata?: Record<string, string>;
  /** Hears what fails. Default: nobody. */
  readonly onFailure?: (failure: HmsError) => void;
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

/**
 * Keeps all services of a process registered, one registration for each package of contracts.
 * @throws HmsError INVALID_ARGUMENT if a contract's package has no version.
 */
export function announceServices(options: AnnouncementOptions): Announcement {
  const { registry, address, instanceId, environment = "default", metadata = {}, onFailure } = options;
  const kept = offersOf(options.services).map(({ serviceId, version, files }) =>
    keepRegistered({
      registry,
      request: {
        serviceId,
        version,
        environment,
        instanceId,
        address,
        metadata,
        fileDescriptorSet: descriptorSetOf(files),
      },
      ...(onFailure === undefined ? {} : { onFailure }),
    }),
  );
  return {
    registered: Promise.allSettled(kept.map(({ registered }) => registered)).then(() => {}),
    async [Symbol.asyncDispose]() {
      await Promise.all(kept.map((each) => each[Symbol.asyncDispose]()));
    },
  };
}
