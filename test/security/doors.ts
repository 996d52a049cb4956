import { create, type DescMethod, toJsonString } from "@bufbuild/protobuf";
import { HmsError, type Transport } from "@hms/kernel";
import { connectSocket } from "@hms/wire";

/** What came of a call: "allowed" also where the method refuses what it was asked for. */
export type Verdict = "allowed" | "denied";

/** A call, and what is expected of it: whoever is let in by a stream may have to wait for its first message. */
interface Knock {
  readonly method: DescMethod;
  /** Undefined: without credentials. */
  readonly token: string | undefined;
  readonly request: object;
  readonly expected: Verdict;
}

/** A way into a running server. @throws Error if the answer is neither yes nor no */
export type Door = (knock: Knock) => Promise<Verdict>;

/** A stream that should be open, and has said nothing for so long, is. */
const BEGUN_MS = 300;
const HANGS_MS = 20_000;

const isStream = ({ methodKind }: DescMethod) => methodKind !== "unary";
const patienceMs = ({ method, expected }: Knock) => (isStream(method) && expected === "allowed" ? BEGUN_MS : HANGS_MS);

/** Whether it is the policy that refuses, and not the method. */
function verdictOf(code: string, message: string, { method }: Knock): Verdict {
  const { parent, name } = method;
  if (code === "DEADLINE_EXCEEDED" && isStream(method)) return "allowed";
  if (/^(INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED|UNIMPLEMENTED|)$/.test(code)) {
    throw new Error(`neither yes nor no, but ${code} ${message}`);
  }
  const isPolicys = code === "PERMISSION_DENIED" && message.includes(` may not call ${parent.typeName}/${name} (`);
  return isPolicys || code === "UNAUTHENTICATED" ? "denied" : "allowed";
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}

async function callBy(transport: Transport, knock: Knock): Promise<void> {
  const { method, request } = knock;
  const input = create(method.input, request as never);
  const options = { timeoutMs: patienceMs(knock) };
  if (!isStream(method)) await transport.unary(method as never, input as never, options);
  else for await (const _ of transport.stream(method as never, once(input) as never, options)) break;
}

/** By frames over one of the platform's sockets; a connection for each token. */
export function socketDoor(path: string, stack: AsyncDisposableStack): Door {
  const open = new Map<string | undefined, Transport>();
  return async (knock) => {
    const { token } = knock;
    const transport = open.get(token) ?? stack.use(connectSocket({ path, ...(token ? { token } : {}) }));
    open.set(token, transport);
    try {
      await callBy(transport, knock);
      return "allowed";
    } catch (error) {
      const { code, message } = HmsError.from(error);
      return verdictOf(code, message, knock);
    }
  };
}

async function fetchVerdict(origin: string, knock: Knock, signal: AbortSignal): Promise<Verdict> {
  const { method, token, request } = knock;
  const answer = await fetch(`${origin}/v1/${method.parent.typeName}/${method.name}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) },
    body: toJsonString(method.input, create(method.input, request as never)),
    signal,
  });
  if (answer.status === 200) {
    if (isStream(method)) await answer.body?.cancel();
    else await answer.arrayBuffer();
    return "allowed";
  }
  const { error } = (await answer.json()) as { error?: { status: string; message: string } };
  return verdictOf(error?.status ?? "", error?.message ?? "", knock);
}

/** By HTTP with JSON. */
export function httpDoor(origin: string): Door {
  return async (knock) => {
    const limit = AbortSignal.timeout(patienceMs(knock));
    try {
      return await fetchVerdict(origin, knock, limit);
    } catch (error) {
      if (limit.aborted && knock.expected === "allowed" && isStream(knock.method)) return "allowed";
      throw error;
    }
  };
}
