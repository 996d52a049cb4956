/** A system under measurement: one stream, one group that reads it; both sides in this process. */
export interface EventContender extends AsyncDisposable {
  name: string;
  /** What runs, and what its acknowledgement means. */
  version: string;
  /** Resolves once the system says that the event is safe. */
  publish(key: string, body: string): Promise<void>;
  /** Called with each event's body; returning acknowledges it. Called once, before anything is published. */
  consume(handle: (body: string) => void): Promise<void>;
}

/** What a contender needs of the bench. */
export interface ContenderFolder {
  /** An empty folder of its own, on the disk that all contenders use. */
  folder: string;
}
