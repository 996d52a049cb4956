/**
 * A test for topics: `*` in the pattern stands for one part, `**` at its end for one or more, as in the event log
 * (docs/events.md).
 */
export function topicMatcher(pattern: string): (topic: string) => boolean {
  if (!pattern.includes("*")) return (topic) => topic === pattern;
  const parts = pattern.split(".").map((part) => {
    if (part === "**") return ".+";
    return part === "*" ? "[^.]+" : part;
  });
  const expression = new RegExp(`^${parts.join("\\.")}$`);
  return (topic) => expression.test(topic);
}
