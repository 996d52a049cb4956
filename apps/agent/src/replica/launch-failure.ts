import { accessSync, closeSync, constants, existsSync, openSync, readSync, statSync } from "node:fs";

/** What is known about a program that its shell could not start. */
export interface LaunchFailureFacts {
  command: string;
  exitCode: number;
  /** What the shell said. */
  lastErrorLine: string;
  /** Where the operator finds programs. */
  operatorPath: readonly string[];
  programPath: readonly string[];
}

const CANNOT_EXECUTE = 126;
const NOT_FOUND = 127;
const SHELL_COMPLAINT =
  /not found|No such file|Permission denied|cannot execute|bad interpreter|Exec format|can't cd|Not a directory/i;

/** Says why a program never started and what to do; empty if it did start and chose such an exit code itself. */
export function explainLaunchFailure(facts: LaunchFailureFacts): string {
  const { exitCode, lastErrorLine } = facts;
  if (exitCode !== NOT_FOUND && exitCode !== CANNOT_EXECUTE) return "";
  if (!SHELL_COMPLAINT.test(lastErrorLine)) return "";
  return [`The command could not be started: ${lastErrorLine.trim()}.`, remedy(facts)].filter(Boolean).join(" ");
}

function remedy({ command, exitCode, lastErrorLine, operatorPath, programPath }: LaunchFailureFacts): string {
  const program = firstWord(command);
  if (!program) return "";
  if (program.includes("/")) {
    return exitCode === CANNOT_EXECUTE ? `Make ${program} executable (chmod +x) in the source directory.` : "";
  }
  const found = operatorPath.map((directory) => `${directory}/${program}`).find((path) => isExecutable(path));
  // What is missing may be a program further on: `. ./env.sh && serve`.
  if (!found && !lastErrorLine.split(/[\s:]+/).includes(program)) return "";
  if (!found)
    return `Nothing named "${program}" is on PATH (${programPath.join(":")}): install it, or name it by its path.`;
  const interpreter = interpreterOf(found);
  const reason =
    interpreter && !existsSync(interpreter)
      ? `its interpreter ${interpreter} is missing`
      : "it or what it needs lies in a directory that services cannot see";
  return `${found} exists, but ${reason}: install "${program}" for the whole system, for example in /usr/local/bin.`;
}

function firstWord(command: string): string | undefined {
  return command.split(/\s+/).find((word) => word !== "" && word !== "exec" && !/^[A-Za-z_]\w*=/.test(word));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** Undefined too if it cannot be read: a program may be executable only. */
function interpreterOf(path: string): string | undefined {
  try {
    const head = Buffer.alloc(256);
    const file = openSync(path, "r");
    try {
      const bytes = readSync(file, head, 0, head.length, 0);
      return /^#!\s*(\S+)/.exec(head.toString("latin1", 0, bytes))?.[1];
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined;
  }
}
