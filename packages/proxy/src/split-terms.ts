/** How a service's requests are divided between the revision that is tried and the baseline, all its others. */
export interface SplitTerms {
  /** The revision that is tried. */
  revision: number;
  /** So many of 10,000 go to it; 0: only those that match. */
  share: number;
  /** Requests that match one of these go to it, whatever the share. */
  matches: readonly SplitMatch[];
  /** How a client is known again; null: each request is decided for itself. */
  sticky: StickyKey | null;
}

/** A header field (its name in lower case) or a cookie; an empty value: present at all. */
export interface SplitMatch {
  in: "header" | "cookie";
  name: string;
  value: string;
}

/** What a client is known by; one without the header field or cookie is known by its address. */
export type StickyKey = { by: "address" } | { by: "header" | "cookie"; name: string };
