import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { HmsError } from "@hms/kernel/errors";
import type { InstancePaths } from "./instance-paths.ts";

const file = (paths: Pick<InstancePaths, "data">) => `${paths.data}/listen.txt`;
const ADDRESS = /^tls:\/\/(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/;

/**
 * Reads where other machines are answered: "tls://host:port"; undefined for "none".
 * @throws HmsError INVALID_ARGUMENT if it is neither
 */
export function parseNetworkAddress(text: string): string | undefined {
  if (text === "none") return undefined;
  const port = Number(ADDRESS.exec(text)?.[1]);
  if (port > 0 && port <= 65_535) return text;
  throw new HmsError(
    "INVALID_ARGUMENT",
    `--listen says where other machines are answered: tls://HOST:PORT with an address of this machine (tls://0.0.0.0:7443: all), or none; not ${JSON.stringify(text)}.`,
  );
}

/** Where other machines are answered; undefined unless `up --listen` has said it. */
export function readNetworkAddress(paths: Pick<InstancePaths, "data">): string | undefined {
  try {
    return parseNetworkAddress(readFileSync(file(paths), "utf8").trim());
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Keeps where other machines are answered; atomic. */
export function writeNetworkAddress(paths: Pick<InstancePaths, "data">, address: string | undefined): void {
  if (address === undefined) {
    rmSync(file(paths), { force: true });
    return;
  }
  writeFileSync(`${file(paths)}.new`, `${address}\n`, { mode: 0o600 });
  renameSync(`${file(paths)}.new`, file(paths));
}
