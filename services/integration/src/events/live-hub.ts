import { topicMatcher } from "./topic-matcher.ts";

/** An event that is handed to whoever is there. */
export interface LiveEvent<T> {
  environment: string;
  topic: string;
  event: T;
}

interface Listener<T> {
  environment: string;
  matches: (topic: string) => boolean;
  hear: (live: LiveEvent<T>) => void;
}

/** Hands events to who listens now, at most once; nothing is kept. */
export class LiveHub<T> {
  readonly #listeners = new Set<Listener<T>>();

  /** Hears what is published on matching topics of an environment, until what comes back is called. */
  listen(place: { environment: string; pattern: string }, hear: Listener<T>["hear"]): () => void {
    const listener = { environment: place.environment, matches: topicMatcher(place.pattern), hear };
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Tells everybody who listens. */
  publish(live: LiveEvent<T>): void {
    for (const { environment, matches, hear } of this.#listeners) {
      if (environment === live.environment && matches(live.topic)) hear(live);
    }
  }
}
