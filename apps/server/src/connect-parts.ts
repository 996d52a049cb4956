import type { PartName } from "@hms/config";
import type { Kernel, Transport } from "@hms/kernel";
import {
  forwardedServices,
  openTlsFiles,
  type PartPlacement,
  PartTickets,
  partContracts,
  partSpiffeId,
} from "@hms/parts";
import { type ConnectFramesOptions, connectFrames } from "@hms/wire";

/** A part that is being started again is waited for this long. */
const PATIENCE_MS = 10_000;
/** One that is there and gives no sign of life for twice this counts as away. */
const KEEP_ALIVE_MS = 5_000;

/** Who calls parts that run elsewhere, and with what. */
export interface ConnectPartsOptions {
  placement: PartPlacement;
  installation: string;
  /** The key that the installation's processes share. */
  key: Uint8Array;
  kernels: readonly Kernel[];
}

/** A part in another process, and the way there. */
export interface ConnectedPart {
  readonly part: PartName;
  readonly transport: Transport;
  readonly tickets: PartTickets;
}

/** Makes the parts that run in other processes callable through these kernels, as if they were here. */
export function connectParts(options: ConnectPartsOptions, stack: AsyncDisposableStack): ConnectedPart[] {
  const connected: ConnectedPart[] = [];
  const { placement, key, kernels } = options;
  for (const [part, address] of placement.elsewhere) {
    const tls = address.startsWith("tls:") ? callerOf(address, options) : {};
    const transport = stack.use(
      connectFrames({ address, waitForReadyMs: PATIENCE_MS, keepAliveMs: KEEP_ALIVE_MS, ...tls }),
    );
    const tickets = new PartTickets(key, part);
    const registrations = forwardedServices(partContracts[part], { transport, tickets });
    for (const kernel of kernels) for (const registration of registrations) kernel.register(registration);
    connected.push({ part, transport, tickets });
  }
  return connected;
}

/** By TLS a part must show that it is one; a process with several shows the name of any of them. */
function callerOf(
  address: string,
  { placement, installation }: ConnectPartsOptions,
): Pick<ConnectFramesOptions, "tls"> {
  const isThere = ([, other]: readonly [PartName, string]) => other === address;
  const expectedId = [...placement.elsewhere].filter(isThere).map(([part]) => partSpiffeId(installation, part));
  return placement.tls ? { tls: { ...openTlsFiles(placement.tls), expectedId } } : {};
}
