/** Why a process of ours ended, from the JSON lines it wrote last: its last error. */
export function explainEnd(lastWords: string): string {
  for (const line of lastWords.split("\n").toReversed()) {
    const message = errorMessage(line);
    if (message !== undefined) return message;
  }
  return "It ended before it was ready and did not say why.";
}

function errorMessage(line: string): string | undefined {
  try {
    const { level, message } = JSON.parse(line) as { level?: string; message?: string };
    return level === "error" ? message : undefined;
  } catch {
    // The first line may be cut off, and a crash writes no JSON.
    return undefined;
  }
}
