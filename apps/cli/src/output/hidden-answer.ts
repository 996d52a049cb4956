import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";

/** Asks on the terminal, without showing what is typed. */
export async function hiddenAnswer(question: string, signal: AbortSignal): Promise<string> {
  process.stderr.write(question);
  // What is typed is written nowhere: readline would repeat it.
  const nowhere = new Writable({ write: (_, __, done) => done() });
  const prompt = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  try {
    return await prompt.question("", { signal });
  } finally {
    prompt.close();
    process.stderr.write("\n");
  }
}
