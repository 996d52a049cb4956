/** How busy a service is at a moment. */
export interface LoadSample {
  /** Milliseconds; only differences mean something. */
  readonly atMs: number;
  /** Average of requests at once since the sample before, those that wait for a replica included. */
  readonly concurrency: number;
  /** Average share of its processor time that a ready replica uses, 1 is all of it; undefined: not known. */
  readonly cpu: number | undefined;
  /** Replicas that take requests. */
  readonly ready: number;
  /** Replicas that are meant to run, those that start included. */
  readonly replicas: number;
}

/** What a policy would do by itself, before any limit. */
export interface Recommendation {
  readonly replicas: number;
  /** Why, in a sentence. */
  readonly why: string;
  /** The numbers that it follows from, each with its name. */
  readonly figures: Readonly<Record<string, number>>;
}

/** A rule from load to replicas. It has a memory: one for each service, given every sample once, in the order of time. */
export interface ScalingPolicy {
  recommend(sample: LoadSample): Recommendation;
}
