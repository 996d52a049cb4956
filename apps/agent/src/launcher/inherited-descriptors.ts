import { closeSync, readdirSync, readFileSync } from "node:fs";

const CLOSE_ON_EXEC = 0o2000000;

/**
 * Closes what this process inherited without knowing it, a terminal's or an editor's open files: every program it
 * launches would inherit them too. Node marks its own descriptors as closed on exec, so those without the mark are not its.
 */
export function closeInheritedDescriptors(): void {
  if (process.platform !== "linux") return;
  for (const name of readdirSync("/proc/self/fd")) {
    const descriptor = Number(name);
    if (descriptor <= 2 || staysHere(descriptor)) continue;
    try {
      closeSync(descriptor);
    } catch {
      // Closed meanwhile.
    }
  }
}

function staysHere(descriptor: number): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "latin1"))?.[1];
    return flags === undefined || (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) !== 0;
  } catch {
    // The one that listed the directory.
    return true;
  }
}
