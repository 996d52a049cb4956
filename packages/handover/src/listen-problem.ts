import type { ListenAddress } from "./handover-message.ts";
import { portHolder } from "./port-holder.ts";

/** Says in one sentence why an address cannot be listened on, and who has it, as far as this user may see. */
export function listenProblem(error: unknown, { address, port, protocol }: ListenAddress): string {
  const where = `${address}:${port}`;
  switch ((error as NodeJS.ErrnoException).code) {
    case "EADDRINUSE": {
      const holder = portHolder(port, { address, protocol });
      const who = holder ? ` by ${holder.name} (pid ${holder.pid})` : " by another program";
      return `${where} (${protocol}) is taken${who}.`;
    }
    case "EACCES":
      return `This user may not listen on ports below 1024 (${where}); once "sudo hms-sys setup" allows it, or run as root, or take a port from 1024 on.`;
    case "EADDRNOTAVAIL":
      return `This machine has no address ${address}.`;
    default:
      return `${where} (${protocol}) cannot be listened on: ${(error as Error).message}.`;
  }
}
