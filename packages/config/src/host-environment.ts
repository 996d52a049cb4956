import { homedir } from "node:os";
import { buildVariables } from "./build-variables.ts";

/** What the product reads from the process environment; nothing else reads it. */
export interface HostEnvironment {
  /** The operator's home directory. */
  home: string;
  /** The operator's PATH. */
  path: string;
  /** XDG_STATE_HOME, default ~/.local/state. */
  stateHome: string;
  /** XDG_CONFIG_HOME, default ~/.config. */
  configHome: string;
  /** HMS_INSTANCE. */
  instance: string | undefined;
  /** HMS_DATA. */
  data: string | undefined;
  /** DATABASE_URL: use this PostgreSQL instead of the embedded one. */
  databaseUrl: string | undefined;
  /** HMS_ENVIRONMENT: the environment commands act on. */
  environment: string | undefined;
  /** What builds are told of this machine's way to package registries. */
  buildVariables: Readonly<Record<string, string>>;
  /** True if NO_COLOR is set and not empty. */
  noColor: boolean;
  /** True if FORCE_COLOR is set and not "0". */
  forceColor: boolean;
  /** True in continuous integration. */
  ci: boolean;
}

/** Reads the environment once; pass another one in tests. */
export function hostEnvironment(env: NodeJS.ProcessEnv = process.env): HostEnvironment {
  const home = env.HOME || homedir();
  return {
    home,
    path: env.PATH ?? "/usr/local/bin:/usr/bin:/bin",
    stateHome: env.XDG_STATE_HOME || `${home}/.local/state`,
    configHome: env.XDG_CONFIG_HOME || `${home}/.config`,
    instance: env.HMS_INSTANCE || undefined,
    data: env.HMS_DATA || undefined,
    databaseUrl: env.DATABASE_URL || undefined,
    environment: env.HMS_ENVIRONMENT || undefined,
    buildVariables: buildVariables(env),
    noColor: Boolean(env.NO_COLOR),
    forceColor: Boolean(env.FORCE_COLOR) && env.FORCE_COLOR !== "0",
    ci: Boolean(env.CI),
  };
}

/** One variable of the operator's environment, for ${env.NAME} in manifests. */
export function hostVariable(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  return Object.hasOwn(env, name) ? env[name] : undefined;
}
