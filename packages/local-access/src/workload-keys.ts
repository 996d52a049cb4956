import { createHash } from "node:crypto";
import { existsSync, rmSync, statSync } from "node:fs";
import { openConfigFile } from "@hms/config-file";
import { HmsError } from "@hms/kernel";
import { ensureSealedKey, openSealedKey, putSealedKey, randomKey, type SealedKeyFile } from "./sealed-key-file.ts";

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

/** Where the keys are, and by what they are sealed there. */
export interface WorkloadKeyFile extends SealedKeyFile {
  /** Hears why a key is not used; those read last stay good. */
  readonly onFailure: (failure: HmsError) => void;
}

const KEY = /^[0-9a-f]{64}$/;

/** Where the key before the one in a file is. */
export const oldWorkloadKeyPath = (path: string) => `${path}.old`;

/** Names a key without telling it. */
export const workloadKeyId = (key: string) =>
  createHash("sha256").update(`workload-key:${key}`).digest("hex").slice(0, 8);

/**
 * Opens the key in a file, which is made at first use, and those before it in `PATH.old`. Every process of the installation
 * has what another one changes within 50 ms, 5 s at most, and at once when it is shown a token that it does not know.
 */
export function openWorkloadKeys({ path, sealing, onFailure }: WorkloadKeyFile): WorkloadKeys {
  const present = { path, sealing };
  const before = { path: oldWorkloadKeyPath(path), sealing };
  ensureSealedKey(present);
  if (existsSync(before.path)) ensureSealedKey(before);
  const stack = new DisposableStack();
  let all: readonly string[] | undefined;
  const follow = (file: SealedKeyFile, changed: () => void) =>
    stack.use(
      openConfigFile<readonly string[]>({
        path: file.path,
        access: "private",
        absent: [],
        parse: (text) => parseKeys(openSealedKey(file, text), file.path),
        onChange() {
          all = undefined;
          changed();
        },
        onFailure,
      }),
    );
  // Who sees a new key sees the one before as well: that was written first.
  const current = follow(present, () => old.reload());
  const old = follow(before, () => {});
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
      return keys().length > 1 ? statSync(before.path, { throwIfNoEntry: false })?.mtimeMs : undefined;
    },
    look,
    replace() {
      look();
      const [signing = "", ...others] = keys();
      if (others.length > 0) return;
      // Whenever this ends half way, every token that was good is good.
      putSealedKey(before, signing);
      putSealedKey(present, randomKey());
      look();
    },
    forgetOld() {
      rmSync(before.path, { force: true });
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
