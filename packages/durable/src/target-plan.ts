import { HmsError } from "@hms/kernel/errors";
import type { TargetPlan } from "./claimed-task.ts";
import type { FanOut } from "./graph.ts";
import type { Json } from "./json.ts";

const MOST_TARGETS = 10_000;
const MOST_NAME_CHARACTERS = 200;

/** A number, or a part of so many (rounded up, so that "10%" of three is one). */
const countOf = (share: number | string, total: number): number =>
  typeof share === "number" ? share : Math.ceil((Number(share.slice(0, -1)) / 100) * total);

/**
 * Freezes what a node's targets are and in which batches they go: the canary first, then the others, so many at once.
 * @throws HmsError INVALID_ARGUMENT if `items` is no list, or too long.
 */
export function planTargets(fanOut: FanOut, items: Json): TargetPlan {
  if (!Array.isArray(items) || items.length > MOST_TARGETS) {
    const what = Array.isArray(items) ? `${items.length} values` : `${JSON.stringify(items)?.slice(0, 100)}`;
    throw new HmsError(
      "INVALID_ARGUMENT",
      `targets.items gave ${what}; it must give a list of at most ${MOST_TARGETS} values.`,
      {
        reason: "TARGETS",
      },
    );
  }
  const { batch = Math.max(1, items.length), canary = 0, max_fail = 0, pause_ms = 0, on_threshold = "stop" } = fanOut;
  const size = Math.max(1, countOf(batch, items.length));
  const names = uniqueNames(items);
  const batchOf = (index: number) => {
    if (index < canary) return 0;
    return Math.floor((index - canary) / size) + (canary > 0 ? 1 : 0);
  };
  return {
    targets: items.map((item, index) => ({ target: names[index] as string, item, batch: batchOf(index) })),
    batches: items.length === 0 ? 0 : batchOf(items.length - 1) + 1,
    max_fail: maxFail(max_fail, items.length),
    pause_ms,
    on_threshold,
  };
}

/** Of a part, no more than that: "10%" of three allows none. */
const maxFail = (share: number | string, total: number) =>
  typeof share === "number" ? share : Math.floor((Number(share.slice(0, -1)) / 100) * total);

/** A text names itself, a map by its name or id; what has no name of its own goes by its place. */
function uniqueNames(items: readonly Json[]): string[] {
  const seen = new Set<string>();
  return items.map((item, index) => {
    const own = ownName(item);
    const name =
      own === undefined || own === "" || own.length > MOST_NAME_CHARACTERS || seen.has(own) ? `#${index}` : own;
    seen.add(name);
    return name;
  });
}

function ownName(item: Json): string | undefined {
  if (typeof item === "string") return item;
  if (typeof item !== "object" || item === null || Array.isArray(item)) return undefined;
  const { name, id } = item as { name?: Json; id?: Json };
  return [name, id].find((each) => typeof each === "string");
}
