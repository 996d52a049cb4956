import { createHash, randomBytes } from "node:crypto";
import { renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { openConfigFile } from "@hms/config-file";
import { HmsError } from "@hms/kernel";
import { ensureToken } from "./token-file.ts";

/** Keys that sign and verify tokens of deployed services, 64 hexadecimal digits each. */
export interface WorkloadKeySource {
  /** The one that signs, then those whose tokens are still good. */
  readonly all: readonly string[];
  /** Looks whether another process has replaced them. */
  look(): void;
}

/** The keys in the files of an installation, followed as they change. */
export interface WorkloadKeys extends WorkloadKeySource, Disposable {
  /** When the key before was replaced, in milliseconds since 1970; undefined: there is none. */
  readonly replacedAtMs: number | undefined;
  /** Makes a new key that signs from now on; while an old one waits to be forgotten, nothing happens. */
  replace(): void;
  /** From now on only the key that signs is good. */
  forgetOld(): void;
}

const KEY = /^[0-9a-f]{64}$/;

/** Names a key without telling it. */
export const workloadKeyId = (key: string) =>
  createHash("sha256").update(`workload-key:${key}`).digest("hex").slice(0, 8);

/**
 * Opens the key in a file, which is made at first use, and those before it in `PATH.old`. Every process of the installation
 * has what another one changes within 50 ms, 5 s at most, and at once when it is shown a token that it does not know.
 */
export function openWorkloadKeys(path: string, onFailure: (failure: HmsError) => void): WorkloadKeys {
  ensureToken(path);
  const oldPath = `${path}.old`;
  const stack = new DisposableStack();
  let all: readonly string[] | undefined;
  const follow = (file: string, changed: () => void) =>
    stack.use(
      openConfigFile<readonly string[]>({
        path: file,
        access: "private",
        absent: [],
        parse: (text) => parseKeys(text, file),
        onChange() {
          all = undefined;
          changed();
        },
        onFailure,
      }),
    );
  // Who sees a new key sees the one before as well: that was written first.
  const current = follow(path, () => old.reload());
  const old = follow(oldPath, () => {});
  const look = () => {
    current.reload();
    old.reload();
  };
  const keys = () => {
    all ??= [...new Set([...current.current, ...old.current])];
    return all;
  };
  if (keys().length === 0) throw new HmsError("FAILED_PRECONDITION", `${path} holds no key that can be used.`);
  return {
    get all() {
      return keys();
    },
    get replacedAtMs() {
      return keys().length > 1 ? statSync(oldPath, { throwIfNoEntry: false })?.mtimeMs : undefined;
    },
    look,
    replace() {
      look();
      const [signing = "", ...others] = keys();
      if (others.length > 0) return;
      // Whenever this ends half way, every token that was good is good.
      put(oldPath, signing);
      put(path, randomBytes(32).toString("hex"));
      look();
    },
    forgetOld() {
      rmSync(oldPath, { force: true });
      look();
    },
    [Symbol.dispose]: () => stack[Symbol.dispose](),
  };
}

function parseKeys(text: string, file: string): readonly string[] {
  const keys = text.trim().split(/\s+/);
  if (keys.every((key) => KEY.test(key))) return keys;
  throw new HmsError("FAILED_PRECONDITION", `${file} holds something else than keys (64 hexadecimal digits each).`);
}

function put(path: string, key: string): void {
  writeFileSync(`${path}.next`, `${key}\n`, { mode: 0o600, flush: true });
  renameSync(`${path}.next`, path);
}
