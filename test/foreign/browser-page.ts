import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { registry } from "@hms/contracts";

/** What a page is told to do. */
export interface PageOrder {
  /** Where the platform answers; the page's own origin or another one. */
  readonly baseUrl: string;
  readonly token: string;
  readonly protocol: "connect" | "grpc-web";
  readonly binary: boolean;
}

/** What came of it. */
export interface PageOutcome {
  /** Of a call with one answer. */
  readonly serviceId?: string | undefined;
  /** Kinds of events on a stream, in their order, until all is known. */
  readonly kinds?: readonly string[];
  /** The code of a call about something that is not there, with the reason among its details. */
  readonly failure?: string;
  /** Why no call was answered. */
  readonly refused?: string;
}

const { CURRENT, SYNCED } = registry.WatchEventKind;
const NAMES: Readonly<Record<number, string>> = { [CURRENT]: "CURRENT", [SYNCED]: "SYNCED" };

/** Calls the platform as a page does, with Connect's client for browsers. */
async function callPlatform({ baseUrl, token, protocol, binary }: PageOrder): Promise<PageOutcome> {
  const create = protocol === "connect" ? createConnectTransport : createGrpcWebTransport;
  const transport = create({ baseUrl, useBinaryFormat: binary, defaultTimeoutMs: 10_000 });
  const client = createClient(registry.RegistryService, transport);
  const headers = { authorization: `Bearer ${token}` };
  try {
    const { service } = await client.lookup({ serviceId: "hms.ffi" }, { headers });
    const failure = await client.lookup({ serviceId: "hms.nobody" }, { headers }).then(
      () => "answered",
      (error) => `${Code[ConnectError.from(error).code]} ${ConnectError.from(error).details.length > 0}`,
    );
    const kinds: string[] = [];
    for await (const { kind } of client.watch({ pattern: "hms.ffi" }, { headers })) {
      kinds.push(NAMES[kind] ?? String(kind));
      if (kind === SYNCED) break;
    }
    return { serviceId: service?.serviceId, kinds, failure };
  } catch (error) {
    return { refused: `${Code[ConnectError.from(error).code]}: ${ConnectError.from(error).rawMessage}` };
  }
}

Object.assign(globalThis, { callPlatform });
