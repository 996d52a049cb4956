import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";

/** Another Node process of a test. */
export interface NodeProgram extends AsyncDisposable {
  child: ChildProcess;
  /** What it wrote, once it has ended. @throws Error with its stderr if it did not end with 0. */
  output(): Promise<string>;
}

/** How the process runs. */
export interface NodeProgramOptions {
  /** As this user; only root can. */
  as?: { uid: number; gid: number };
  /** What `process.argv[1]`… hold. */
  args?: readonly string[];
}

/** Runs the source of an ES module in a process of its own; import by the URLs of import.meta.resolve(). */
export function startNodeProgram(source: string, options: NodeProgramOptions = {}): NodeProgram {
  const argv = ["--input-type=module", "--eval", source, ...(options.args ?? [])];
  const child = spawn(process.execPath, argv, { ...options.as, cwd: "/tmp", stdio: ["ignore", "pipe", "pipe"] });
  const written = Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return {
    child,
    output: async () => {
      const [output, errors, [code, signal]] = await written;
      if (code !== 0) throw new Error(`The program ended with ${signal ?? code}:\n${errors}`);
      return output;
    },
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await written;
    },
  };
}
