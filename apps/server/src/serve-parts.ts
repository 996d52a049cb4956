import { Kernel, type ServiceRegistration } from "@hms/kernel";
import { createPartIdentity, openTlsFiles, originOf, type PartListener, type PartPlacement } from "@hms/parts";
import type { Logger } from "@hms/telemetry";
import { serveFrames } from "@hms/wire";
import type { TakenAway } from "./taken-away.ts";

/** What other processes of the platform may call here. */
export interface ServePartsOptions {
  placement: PartPlacement;
  installation: string;
  /** The key that the installation's processes share. */
  key: Uint8Array;
  /** Whose policy, audit and validation hold. */
  kernel: Kernel;
  /** The services of the parts that run here. */
  registrations: readonly ServiceRegistration[];
  takenAway: TakenAway;
  log: Logger;
}

/** Answers other processes of the platform for the parts that run here, and for nothing else. */
export async function serveParts(options: ServePartsOptions, stack: AsyncDisposableStack): Promise<void> {
  const { placement, log } = options;
  const tls = placement.tls && {
    ...openTlsFiles(placement.tls),
    onFailure: (error: unknown) => log.error("the certificate cannot be used; the one before stays", { error }),
  };
  for (const listener of placement.listeners) {
    const kernel = partKernel(listener, options);
    const server = await serveFrames(kernel, { address: listener.address, ...(tls ? { tls } : {}) });
    stack.use(server);
    log.info("parts are called here", { parts: listener.parts.join(", "), address: server.address });
  }
}

function partKernel({ parts }: PartListener, options: ServePartsOptions): Kernel {
  const { installation, key, kernel, registrations, takenAway } = options;
  // What is elsewhere is not for others to reach through here: two processes could send a call to and fro.
  const { elsewhere: _, ...ports } = kernel.options;
  const own = new Kernel({ ...ports, identity: createPartIdentity({ key, parts, installation }), originOf });
  takenAway.endStreamsAt(own);
  for (const registration of registrations) own.register(registration);
  return own;
}
