import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { hostEnvironment, type InstancePaths, resolveInstance } from "@hms/config";

/** How the temporary installation differs from an ordinary one. */
export interface TempInstanceOptions {
  /** Who owns the folders; default: this process's user. */
  owner?: { uid: number; gid: number };
  /** Where the folder is made; default /tmp, because sockets below it must stay within 107 bytes. */
  parent?: string;
}

/** An installation's paths in a folder of its own; disposing removes everything. */
export interface TempInstance extends AsyncDisposable {
  paths: InstancePaths;
  /** The folder that holds all of it. */
  root: string;
}

/** Makes an empty installation: data, run and config folders exist with mode 0700. */
export function tempInstance(options: TempInstanceOptions = {}): TempInstance {
  const root = mkdtempSync(`${options.parent ?? "/tmp"}/hms-`);
  chmodSync(root, 0o755);
  const paths = resolveInstance(
    { instance: "test", data: `${root}/d` },
    hostEnvironment({ HOME: root, XDG_CONFIG_HOME: `${root}/c`, XDG_STATE_HOME: `${root}/s` }),
  );
  for (const folder of [paths.data, paths.run, paths.config]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (options.owner) {
    const { uid, gid } = options.owner;
    for (const folder of [root, paths.data, paths.run, `${root}/c`, `${root}/c/hms-sys`, paths.config]) {
      chownSync(folder, uid, gid);
    }
  }
  return {
    root,
    paths,
    [Symbol.asyncDispose]: async () => rmSync(root, { recursive: true, force: true, maxRetries: 5 }),
  };
}
