import { Client, type FfiError, serve } from "@hms/ffi";
import { machineSlowness, waitFor } from "@hms/testkit";
import { expect } from "vitest";
import type { Platform } from "./platform.ts";

const SERVICE = "hms.demo.ticker";

/** Where and as whom to call. */
export interface DirectCallerOptions {
  /** The kernel's socket. */
  socket: string;
  /** May register services. */
  operatorToken: string;
  /** The login of a user that is made here and has the role that may call. */
  login: string;
  role: string;
}

/** Somebody who calls a service directly, without the platform between. */
export interface DirectCaller extends AsyncDisposable {
  /** Ends "OK" or with an error's code and reason. */
  call(): Promise<string>;
  /** The same by the ticket that it got first, at the instance itself. */
  callWithTicket(): Promise<string>;
  /** How the stream ended that runs since the beginning; undefined: it runs. */
  readonly streamEnd: string | undefined;
}

/** Makes a user, a key, a service and a policy that lets the user call it; answers when it does, and a stream of it runs. */
export async function openDirectCaller(platform: Platform, options: DirectCallerOptions): Promise<DirectCaller> {
  const { socket, operatorToken, login, role } = options;
  await using stack = new AsyncDisposableStack();
  const registryUrl = `unix:${socket}`;
  const ticking = async function* (_: object, { signal }: { signal: AbortSignal }) {
    yield { n: 1 };
    await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  };
  const methods = { Now: () => ({ n: 1 }), Tick: { handler: ticking, streaming: "server" } } as const;
  const service = stack.use(await serve({ serviceId: SERVICE, methods, registryUrl, token: operatorToken }));
  await service.registered;
  await platform.json("users", "create", login, "--roles", role);
  const { secret: token } = await platform.json<{ secret: string }>("keys", "create", "k", "--user", login);
  const rule = { policy_id: SERVICE, service: SERVICE, allowed_roles: [role] };
  expect(await platform.cli("ffi", "policy", "--put", JSON.stringify(rule))).toMatchObject({ code: 0 });

  const registry = stack.use(new Client("hms.ffi", { registryUrl, token }));
  const ticket = await waitFor(
    async () => {
      const found = await registry.call<{ tickets: { ticket: string }[] }>("Lookup", { serviceId: SERVICE });
      return found.tickets[0]?.ticket;
    },
    { describe: "a ticket" },
  );
  const client = stack.use(new Client(SERVICE, { registryUrl, token }));
  const direct = stack.use(new Client(SERVICE, { address: service.address, ticket }));
  await waitFor(async () => (await endOf(client.call("Now", {}))) === "OK", { describe: "calls to be allowed" });
  expect(await endOf(direct.call("Now", {}))).toBe("OK");
  const answers = client.stream("Tick", {})[Symbol.asyncIterator]();
  await answers.next();
  let streamEnd: string | undefined;
  void endOf(answers.next()).then((end) => {
    streamEnd = end;
  });
  const owned = stack.move();
  return {
    call: () => endOf(client.call("Now", {})),
    callWithTicket: () => endOf(direct.call("Now", {})),
    get streamEnd() {
      return streamEnd;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function endOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "OK";
  } catch (error) {
    const { code, reason } = error as FfiError;
    return reason ? `${code} ${reason}` : String(code);
  }
}

/** Deactivates somebody who calls directly: within a second calls are refused and the stream has ended. */
export async function expectShutOut(platform: Platform, login: string, caller: DirectCaller): Promise<void> {
  expect(caller.streamEnd).toBeUndefined();
  const slowness = await machineSlowness();
  expect((await platform.cli("users", "deactivate", login)).code).toBe(0);
  const ends = async () => [await caller.callWithTicket(), (await caller.call()).split(" ")[0], caller.streamEnd];
  const wanted = ["UNAUTHENTICATED TICKET_REVOKED", "UNAUTHENTICATED", "UNAUTHENTICATED ACCESS_CHANGED"];
  let last: unknown;
  await waitFor(
    async () => {
      last = await ends();
      return JSON.stringify(last) === JSON.stringify(wanted);
    },
    { deadlineMs: 1000 * slowness, describe: () => `everything to be refused; it ends ${JSON.stringify(last)}` },
  );
}
