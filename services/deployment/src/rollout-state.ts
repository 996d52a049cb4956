import type { JsonObject } from "@bufbuild/protobuf";
import type { HookMoment } from "@hms/manifest";

/** What a rollout does. */
export type RolloutKind = "deploy" | "rollback" | "restart" | "scale" | "stop" | "remove";

/** Where a rollout is, in the order of ARCHITECTURE §6. */
export type RolloutPhase =
  | "planned"
  | "locked"
  | "prepared"
  | "scaling"
  | "verifying"
  | "shifting"
  | "baking"
  | "draining"
  | "succeeded"
  | "reverting"
  | "rolled_back"
  | "failed";

/** What traffic a replica is meant to get; whether it does depends on its health too. */
export type ReplicaTraffic = "none" | "active" | "draining";

/** One replica as a rollout sees it. */
export interface RolloutReplica {
  id: string;
  revision: number;
  /** Counts from 1 within the service. */
  ordinal: number;
  /** kept: stays as it is · fresh: comes · retiring: goes · restored: comes back for one that had gone already. */
  role: "kept" | "fresh" | "retiring" | "restored";
  /** planned: not started · running: wanted on the machine · stopping: wanted gone. */
  phase: "planned" | "running" | "stopping";
  traffic: ReplicaTraffic;
}

/** One step of a rollout in which both versions serve side by side. */
export interface TrafficStep {
  /** Ten-thousandths of the requests that the new version gets; 0: those that ask for it only. */
  share: number;
  /** It is watched for so long before the next step begins by itself; absent: until somebody promotes it. */
  holdMs?: number;
}

/** How requests are divided between what served before and what is tried. */
export interface TrafficShare {
  /** The revision that is tried. */
  revision: number;
  /** Ten-thousandths. */
  share: number;
}

/** What a rollout obeys, from the manifest of its revision. */
export interface RolloutPolicy {
  /** Replicas when it is over. */
  wanted: number;
  /** Replicas allowed beyond that meanwhile. */
  surge: number;
  startTimeoutMs: number;
  minHealthyTimeMs: number;
  drainTimeoutMs: number;
  stopGraceMs: number;
  /** From the first replica's start until the revision serves. */
  deadlineMs: number;
  /** make: copy and build the program · find: the release has to be there · none: not needed. */
  release: "make" | "find" | "none";
  /** True if the manifest has a release command and this rollout has to run it. */
  runsReleaseCommand: boolean;
  /** A scale after which the load decides; absent: a person has set the number. */
  automatic?: boolean;
  /** Where both versions serve side by side until the new one has everything; absent: they change batch by batch. */
  sideBySide?: SideBySide;
  /** What the new version is asked beside its health; absent: nothing. */
  gates?: GatePlan;
  /** What is done beside it at which moment; absent: nothing. */
  hooks?: Partial<Record<HookMoment, HookPlan[]>>;
}

/** What the machine has to know of a hook. */
export interface HookPlan {
  name: string;
  timeoutMs: number;
  /** True: the rollout goes on though it fails. */
  ignored: boolean;
}

/** Which moments of a rollout the manifest's gates are asked at. */
export interface GatePlan {
  /** Before the first request of each new replica: how long that may take; absent: nothing is asked then. */
  startLimitMs?: number;
  /** While the new version has traffic: how long it is watched where nothing else says so; absent: nothing is asked then. */
  windowMs?: number;
}

/** What a verdict of gates leads on from. */
export type GateMoment = "start" | "step" | "window" | "warm";

/** A rollout that undoes itself at once, because what served before stays whole until the end. */
export interface SideBySide {
  /** The last one gives the new version everything. */
  steps: TrafficStep[];
  /** True: all new replicas are there before the first step; false: as many as the step's share needs. */
  whole: boolean;
  /** What served before stays ready for so long after the last step. */
  warmMs: number;
}

/** What the outside does for a rollout; each may be done twice with the same outcome. */
export type EffectKind =
  | "prepare"
  | "hook"
  | "release"
  | "start"
  | "verify"
  | "gate"
  | "shift"
  | "bake"
  | "hold"
  | "warm"
  | "drain"
  | "stop"
  | "prove"
  | "unregister"
  | "forget";

/** The one effect that is under way; journalled before it starts. */
export interface Effect {
  readonly kind: EffectKind;
  /** The replicas it is about. */
  readonly ids: readonly string[];
  /** Epoch milliseconds; an effect that is not done by then has failed. */
  until: number;
  readonly stepId: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly title: string;
}

/** Why something failed; parts that messages have too are in protobuf's JSON form. */
export interface Failure {
  reason: string;
  remedy: string;
  replicaId?: string;
  lastProbe?: string;
  exit?: JsonObject;
  lastLogLines?: JsonObject[];
}

/** A sealed copy of a program. */
interface ReleaseFacts {
  digest: string;
  fileCount: number;
  reused: boolean;
}

/** Everything a rollout has to remember, as plain JSON: from it alone any server can carry the rollout on. */
export interface RolloutState {
  rolloutId: string;
  environment: string;
  service: string;
  kind: RolloutKind;
  phase: RolloutPhase;
  revision: number;
  /** The revision that serves before the rollout; 0: none. */
  previousRevision: number;
  policy: RolloutPolicy;
  replicas: RolloutReplica[];
  /** Replicas that had traffic when the lock was taken. */
  originals: number;
  /** True: nothing was meant to serve then. */
  beganStopped?: boolean;
  /** True if what serves has no ready replica, so there is nothing to be careful with. */
  direct: boolean;
  /** True once a new replica was meant to get traffic. */
  shifted: boolean;
  /** Epoch milliseconds by which the revision has to serve; draining does not count. */
  serveBy: number;
  /** The revision whose routes apply. */
  trafficRevision: number;
  /** While both versions serve side by side. */
  split?: TrafficShare;
  /** The step of `policy.sideBySide` that comes next, or is being held; absent: 0. */
  step?: number;
  /** True: nothing new begins until somebody resumes it. */
  paused?: boolean;
  /** What a hold waits for; window: the gates of a rolling update's batch; verdict: gates that could not tell yet. */
  holds?: "step" | "pause" | "window" | "verdict";
  /** What `holds: "verdict"` leads on from. */
  awaits?: GateMoment;
  /** The hook that runs, or ran last, by its place among those of its moment. */
  hook?: { at: HookMoment; index: number };
  /** The moments whose hooks are over. */
  hooksOver?: HookMoment[];
  /** While the hooks after a failure run: how it ends then. */
  ending?: "rolled_back" | "failed";
  /** How many of the requests to it (promote, abort, pause, resume) it has taken; absent: 0. */
  asksTaken?: number;
  release?: ReleaseFacts;
  failure?: Failure;
  /** Unset before the lock is taken and after the end. */
  doing?: Effect;
  /** Steps so far. */
  steps: number;
}

/** What holds for a rollout that has just got its lock. */
export interface LockGrant {
  revision: number;
  previousRevision: number;
  trafficRevision: number;
  /** Nothing is meant to serve. */
  stopped?: boolean;
  policy: RolloutPolicy;
  existing: Pick<RolloutReplica, "id" | "revision" | "ordinal" | "traffic">[];
}

/** What an effect brought. */
export interface EffectResult {
  release?: ReleaseFacts;
  /** Data planes that serve the new picture. */
  nodes?: number;
  /** Requests that were still running at the end of draining. */
  left?: number;
  /** Gates that could not tell, and why; absent: all pass. */
  undecided?: string;
}

/** What a person, or a program on behalf of one, asks of a running rollout. */
export interface RolloutAsk {
  what: "promote" | "abort" | "pause" | "resume";
  /** promote: the steps that are left are skipped. */
  full?: boolean;
  /** Who asks, "user:anna". */
  by: string;
  /** Why, in their words; may be empty. */
  reason: string;
}

/** What happens to a rollout. */
export type RolloutInput =
  | { type: "asked"; ask: RolloutAsk }
  | { type: "locked"; grant: LockGrant }
  | { type: "done"; result: EffectResult }
  | { type: "failed"; failure: Failure }
  /** Nobody could carry it on for a while. */
  | { type: "resumed"; awayMs: number; why: string }
  /** It never got its lock, or got it in vain; `serves` is the revision that is current then, if that is known. */
  | { type: "refused"; failure: Failure; serves?: number };

/** What the machine knows of the world beside its state. */
export interface RolloutView {
  /** Epoch milliseconds. */
  now: number;
  /** Replicas whose health checks pass. */
  ready: ReadonlySet<string>;
}

/** True once nothing more will happen. */
export function hasEnded({ phase }: Pick<RolloutState, "phase">): boolean {
  return phase === "succeeded" || phase === "rolled_back" || phase === "failed";
}
