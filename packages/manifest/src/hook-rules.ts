import type { Manifest } from "./manifest-schema.ts";

type Problem = [key: string, description: string];

/** The moments of a deploy that have hooks, as manifests call them, with their names in one that was read. */
const MOMENTS = {
  before_deploy: "beforeDeploy",
  before_traffic: "beforeTraffic",
  after_deploy: "afterDeploy",
  on_failure: "onFailure",
} as const satisfies Record<string, keyof Manifest["hooks"]>;

/** A moment of a deploy that has hooks. */
export type HookMoment = keyof typeof MOMENTS;

/** All of them, in their order. */
export const hookMoments = Object.keys(MOMENTS) as HookMoment[];

/** One hook of a manifest. */
export interface WrittenHook {
  readonly run?: string;
  readonly webhook?: string;
  readonly timeoutMs: number;
  /** Not of those after a failure. */
  readonly onError?: "fail" | "ignore";
}

/** The hooks of a moment; manifests that older versions stored have none. */
export function hooksOf(manifest: Pick<Manifest, "hooks">, at: HookMoment): readonly WrittenHook[] {
  return (manifest as Partial<Manifest>).hooks?.[MOMENTS[at]] ?? [];
}

/** What is wrong between the keys of hooks that are each right by themselves. */
export function hookProblems(hooks: Manifest["hooks"]): Problem[] {
  // What could not be read is a symbol, and has been reported already.
  return hookMoments.flatMap((at) => {
    const list: unknown = typeof hooks === "object" ? hooksOf({ hooks }, at) : [];
    if (!Array.isArray(list)) return [];
    return (list as WrittenHook[]).flatMap((hook, index): Problem[] => {
      if (typeof hook !== "object" || Object.values(hook).some((value) => typeof value === "symbol")) return [];
      const key = `hooks.${at}[${index}]`;
      if (hook.run === undefined && hook.webhook === undefined) {
        return [[key, "This does nothing. Write run, a command, or webhook, an address"]];
      }
      if (hook.run === undefined || hook.webhook === undefined) return [];
      return [[`${key}.webhook`, "A hook does one thing, and this one has run too. Make two hooks of it"]];
    });
  });
}
