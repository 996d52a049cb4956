import type { RolloutReplica, RolloutState } from "./rollout-state.ts";

const MOST_NAMED = 4;

function ordinals(replicas: readonly RolloutReplica[]): string {
  const numbers = replicas.map(({ ordinal }) => ordinal).sort((a, b) => a - b);
  const gapless = numbers.every((number, index) => number === (numbers[0] ?? 0) + index);
  if (numbers.length > 2 && gapless) return `${numbers[0]}–${numbers.at(-1)}`;
  if (numbers.length > MOST_NAMED) return String(numbers.length);
  return numbers.length > 1 ? `${numbers.slice(0, -1).join(", ")} and ${numbers.at(-1)}` : String(numbers[0] ?? "");
}

/** "replica 1/2", "replicas 1–3 of 4", "old replica 2". */
export function replicaWords(state: RolloutState, replicas: readonly RolloutReplica[]): string {
  const role = replicas[0]?.role;
  const few = replicas.length === 1;
  const noun = few ? "replica" : "replicas";
  if (role === "retiring") return `old ${noun} ${ordinals(replicas)}`;
  if (role === "restored") return `${noun} of revision ${replicas[0]?.revision}`;
  if (state.phase === "reverting") return `new ${noun} ${ordinals(replicas)}`;
  return few
    ? `${noun} ${ordinals(replicas)}/${state.policy.wanted}`
    : `${noun} ${ordinals(replicas)} of ${state.policy.wanted}`;
}

/** The sentence with a capital first letter. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** "sha256:ab12cd34…". */
export function shortDigest(digest: string): string {
  return digest.length > 20 ? `${digest.slice(0, 15)}…` : digest;
}

/** "1 file", "12 files". */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Ten-thousandths as people write shares: "12.5 %". */
export function percent(share: number): string {
  return `${share / 100} %`;
}
