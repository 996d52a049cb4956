import { connect, isIP, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { HmsError, NOT_OUTGOING, outgoingTo, SPECIAL_NETWORK } from "@hms/kernel";
import { type FrameAddress, formatFrameAddress } from "./frame-address.ts";
import { checkServerId, type ExpectedId, FRAMES_PROTOCOL, secureOptions, type TlsIdentity } from "./tls-identity.ts";

/** A server whose queue of new connections is full is asked again for this long. */
const FULL_QUEUE_MS = 2_000;
const RETRY_MS = 10;
/** Who has not answered by then is away. */
const CONNECT_TIMEOUT_MS = 10_000;
/** An idle connection over the network is checked by the system after this long; a peer that vanished costs no more. */
export const TCP_KEEP_ALIVE_MS = 30_000;

/** Whom to connect to, and how. */
export interface DialTarget {
  readonly address: FrameAddress;
  /** For tls addresses only. */
  readonly tls?: (TlsIdentity & { readonly expectedId?: ExpectedId | undefined }) | undefined;
}

/**
 * Connects to a server.
 * @throws HmsError UNAVAILABLE (NOT_CONNECTED) if nobody answers, PERMISSION_DENIED if this user may not,
 * UNAUTHENTICATED if the server cannot show that it is the one expected
 */
export async function dial(target: DialTarget, closed: AbortSignal): Promise<Socket> {
  const giveUpAt = performance.now() + FULL_QUEUE_MS;
  for (;;) {
    closed.throwIfAborted();
    try {
      return await connected(target);
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : "";
      if (code !== "EAGAIN" || performance.now() > giveUpAt) throw unreachable(target.address, code, error);
      await pause(RETRY_MS);
    }
  }
}

function connected(target: DialTarget): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = open(target);
    const timer = setTimeout(
      () => socket.destroy(Object.assign(new Error(), { code: "ETIMEDOUT" })),
      CONNECT_TIMEOUT_MS,
    );
    const settle = (error?: Error) => {
      clearTimeout(timer);
      socket.off("error", settle);
      if (error) reject(error);
      else resolve(socket);
    };
    socket.once("error", settle);
    socket.once(target.address.kind === "tls" ? "secureConnect" : "connect", () => settle());
  });
}

function open({ address, tls }: DialTarget): Socket {
  if (address.kind === "unix") return connect(address.path);
  const { host, port } = address;
  const keepAlive = { keepAlive: true, keepAliveInitialDelay: TCP_KEEP_ALIVE_MS };
  const network = { host, port, ...outgoingTo(host), noDelay: true, ...keepAlive };
  if (address.kind === "tcp") return connect(network);
  if (tls === undefined) throw new HmsError("INVALID_ARGUMENT", `${formatFrameAddress(address)} needs a certificate.`);
  return connectTls({
    ...network,
    ...secureOptions(tls),
    ...(isIP(host) ? {} : { servername: host }),
    ALPNProtocols: [FRAMES_PROTOCOL],
    checkServerIdentity: (_, { subjectaltname }) => checkServerId(subjectaltname, tls.expectedId),
  });
}

const WHY: Record<string, string> = {
  ENOENT: "there is no such socket",
  ECONNREFUSED: "nobody listens",
  EAGAIN: "it is too busy to take a connection",
  ETIMEDOUT: "nobody has answered in time",
  [NOT_OUTGOING]: "the operator's list of hosts (outgoing.json) has not this one, or not the address it leads to",
  [SPECIAL_NETWORK]: "its name leads where no service is (link-local, metadata or multicast)",
};

/** Codes of failures to agree on TLS; OpenSSL's own, and those of certificates. */
const UNTRUSTED = /^ERR_(SSL|TLS)_|CERT|UNABLE_TO|SIGNATURE/;

function unreachable(address: FrameAddress, code: string, cause: unknown): HmsError {
  const where = formatFrameAddress(address);
  if (cause instanceof HmsError) return cause;
  if (address.kind === "unix" && (code === "EACCES" || code === "EPERM")) {
    return new HmsError(
      "PERMISSION_DENIED",
      `This user may not open the socket ${address.path}: run the command as the user who started the platform.`,
      { cause },
    );
  }
  if (address.kind === "tls" && UNTRUSTED.test(code)) {
    const why = cause instanceof Error ? cause.message : code;
    return new HmsError("UNAUTHENTICATED", `No trust between this side and ${where}: ${why}.`, { cause });
  }
  const advice =
    address.kind === "unix"
      ? "Start the platform (hms-sys up), or name the right one (--instance)."
      : "Start the service that answers there, or check the address.";
  const at = address.kind === "unix" ? address.path : where;
  return new HmsError("UNAVAILABLE", `No answer at ${at}: ${WHY[code] ?? code}. ${advice}`, {
    reason: "NOT_CONNECTED",
    cause,
  });
}
