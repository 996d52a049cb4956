/** A system under measurement, with its workers. Times are milliseconds since 1970, with fractions. */
export interface RunContender extends AsyncDisposable {
  /** What runs, and how it is set. */
  version: string;
  /** Enqueues so many jobs of one step that does nothing, and resolves when all are done: milliseconds. */
  drain(jobs: number): Promise<number>;
  /** Starts jobs one after the other, each when the one before is done; from asking for it to its step's beginning. */
  startLatencies(jobs: number): Promise<number[]>;
  /** One run of so many steps, each after the one before: milliseconds. Undefined: it has no such thing. */
  chain?(steps: number): Promise<number>;
  /** One run of so many steps side by side, and one after all of them: milliseconds. */
  fanOut?(steps: number): Promise<number>;
  /** From the death of a worker (SIGKILL) until all its steps have begun elsewhere: milliseconds. Undefined: not measured. */
  recovery?(): Promise<number>;
}

/** What a contender needs of the bench. */
export interface ContenderFolder {
  /** An empty folder of its own, on the disk that all contenders use. */
  folder: string;
}
