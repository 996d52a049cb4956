interface Found {
  check: string;
  finding: string;
}

/** One thing looked at; what is not well comes with what to do. */
export type Finding = (Found & { level: "ok" }) | (Found & { level: "warning" | "problem"; remedy: string });
