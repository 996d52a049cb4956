import { randomBytes } from "node:crypto";
import { chmod, link, lstat, mkdir, rename, stat, unlink } from "node:fs/promises";
import { connect, type Server } from "node:net";
import { dirname, join } from "node:path";
import { HmsError } from "@hms/kernel";

/** The longest path the system lets a socket have (sun_path, 108 bytes with its end mark). */
const MAX_PATH_BYTES = 107;

/** Raised errors of the system carry their name here. */
function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/** A socket file that is being listened on, ours until it is removed. */
export interface SocketFile {
  readonly path: string;
  /** Removes the file if it is still ours. */
  remove(): Promise<void>;
}

/**
 * Listens on a socket file of a mode, its directory made with 0700 if it is missing; by default only this user can open
 * it.
 * A file that a dead server left is replaced, in one step, so that nobody ever finds a half-made one.
 * @throws HmsError ALREADY_EXISTS if a server answers there, INVALID_ARGUMENT if the path is too long,
 * PERMISSION_DENIED or FAILED_PRECONDITION if the directory cannot be used
 */
export async function listenOnFile(server: Server, path: string, mode = 0o600): Promise<SocketFile> {
  const folder = dirname(path);
  const side = join(folder, `.${randomBytes(3).toString("hex")}`);
  const longest = Math.max(Buffer.byteLength(path), Buffer.byteLength(side));
  if (longest > MAX_PATH_BYTES) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `The socket path ${path} takes ${longest} bytes; the system allows ${MAX_PATH_BYTES}. Choose a shorter directory.`,
    );
  }
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await listen(server, side);
    await chmod(side, mode);
    const { ino } = await stat(side);
    await place(side, path);
    return { path, remove: () => removeOwn(path, ino) };
  } catch (error) {
    server.close();
    throw error instanceof HmsError ? error : cannotListen(path, error);
  } finally {
    await unlink(side).catch(() => {});
  }
}

function cannotListen(path: string, cause: unknown): HmsError {
  const code = codeOf(cause);
  const denied = code === "EACCES" || code === "EPERM";
  return new HmsError(
    denied ? "PERMISSION_DENIED" : "FAILED_PRECONDITION",
    `The socket ${path} cannot be made (${code || cause}): check that its directory can be written by this user.`,
    { cause },
  );
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path, backlog: 1024 }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Gives the socket its name; whoever holds the name keeps it if it answers. */
async function place(side: string, path: string): Promise<void> {
  for (;;) {
    try {
      await link(side, path);
      return;
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
    const found = await lstat(path).catch(() => undefined);
    if (found === undefined) continue;
    if (!found.isSocket()) throw notSocket(path);
    if (await answers(path)) throw inUse(path);
    await moveAway(path);
  }
}

/** Takes a dead socket out of the way; if it turns out to be another's fresh one, puts it back. */
async function moveAway(path: string): Promise<void> {
  const aside = `${dirname(path)}/.${randomBytes(3).toString("hex")}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  const live = await answers(aside);
  if (live) await link(aside, path).catch(() => {});
  await unlink(aside);
  if (live) throw inUse(path);
}

function notSocket(path: string): HmsError {
  return new HmsError("FAILED_PRECONDITION", `${path} is in the way and is no socket: move it elsewhere.`);
}

function inUse(path: string): HmsError {
  return new HmsError(
    "ALREADY_EXISTS",
    `Another server answers at ${path}: stop it first, or use another instance (--instance NAME).`,
    { reason: "SOCKET_IN_USE", metadata: { path } },
  );
}

/** True if somebody accepts connections at a path. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", (error) => {
      const code = codeOf(error);
      if (code === "ECONNREFUSED" || code === "ENOENT") resolve(false);
      // A full queue of waiting connections means that somebody listens.
      else if (code === "EAGAIN") resolve(true);
      else reject(error);
    });
  });
}

async function removeOwn(path: string, ino: number): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.ino === ino) await unlink(path).catch(() => {});
}
