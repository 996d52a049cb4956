import { HmsError } from "@hms/kernel/errors";
import type { TargetPlan } from "./claimed-task.ts";
import { type FanOut, MOST_TARGETS } from "./graph.ts";
import { type Json, toStoredJson } from "./json.ts";

const MOST_NAME_CHARACTERS = 200;
/** What all targets of a node may have together as JSON: the database takes it in one statement. */
const MOST_PLAN_BYTES = 16 * 1024 * 1024;

/** A number, or a part of so many (rounded up, so that "10%" of three is one). */
const countOf = (share: number | string, total: number): number =>
  typeof share === "number" ? share : Math.ceil((Number(share.slice(0, -1)) / 100) * total);

/**
 * Freezes what a node's targets are and in which batches they go: the canary first, then the others, so many at once.
 * @throws HmsError INVALID_ARGUMENT if `items` is no list, is too long, or holds what cannot be stored.
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
  const plan: TargetPlan = {
    targets: items.map((item, index) => ({ target: names[index] as string, item, batch: batchOf(index) })),
    batches: items.length === 0 ? 0 : batchOf(items.length - 1) + 1,
    max_fail: maxFail(max_fail, items.length),
    pause_ms,
    on_threshold,
  };
  toStoredJson(plan, "What targets.items gave", MOST_PLAN_BYTES);
  return plan;
}

/** Of a part, no more than that: "10%" of three allows none. More than there are is all of them. */
const maxFail = (share: number | string, total: number) =>
  typeof share === "number" ? Math.min(share, total) : Math.floor((Number(share.slice(0, -1)) / 100) * total);

/** A text names itself, a map by its name or id; what has no name of its own, or one that is taken, goes by its place. */
function uniqueNames(items: readonly Json[]): string[] {
  const seen = new Set<string>();
  return items.map((item, index) => {
    const name = freeName(ownName(item), index, seen);
    seen.add(name);
    return name;
  });
}

function freeName(own: string | undefined, index: number, seen: ReadonlySet<string>): string {
  const isName = own !== undefined && own !== "" && own.length <= MOST_NAME_CHARACTERS;
  if (isName && !seen.has(own)) return own;
  const place = `#${index}`;
  // Another one may call itself so.
  for (let more = 2, name = place; ; more += 1) {
    if (!seen.has(name)) return name;
    name = `${place}.${more}`;
  }
}

function ownName(item: Json): string | undefined {
  if (typeof item === "string") return item;
  if (typeof item !== "object" || item === null || Array.isArray(item)) return undefined;
  const { name, id } = item as { name?: Json; id?: Json };
  return [name, id].find((each) => typeof each === "string");
}
