import { isPartName, type PartName } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import { parseFrameAddress } from "@hms/wire";

/**
 * Reads where parts are called: "registry=unix:/path,mesh=tls://host:port".
 * @throws HmsError INVALID_ARGUMENT with everything that is wrong with it
 */
export function readPlaces(text: string | undefined, away: readonly PartName[]): Map<PartName, string> {
  const places = new Map<PartName, string>();
  const problems: string[] = [];
  for (const place of text === undefined ? [] : text.split(",")) {
    const cut = place.indexOf("=");
    const [part, address] = [place.slice(0, Math.max(cut, 0)), place.slice(cut + 1)];
    const problem = problemOf(part, address, away);
    if (problem !== undefined) problems.push(problem);
    else places.set(part as PartName, address);
  }
  if (problems.length > 0) throw new HmsError("INVALID_ARGUMENT", problems.join("\n"));
  return places;
}

function problemOf(part: string, address: string, away: readonly PartName[]): string | undefined {
  if (!isPartName(part) || !away.includes(part)) {
    const others = away.length === 0 ? "none, because all run here" : away.join(", ");
    return `--at says where a part that runs elsewhere is called, PART=ADDRESS; ${JSON.stringify(part)} is none of them (${others}).`;
  }
  try {
    parseFrameAddress(address);
    return undefined;
  } catch (error) {
    return `--at ${part}: ${HmsError.from(error).message}`;
  }
}
