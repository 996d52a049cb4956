import { type DeployWindow, parseDeployWindow } from "@hms/manifest";

const MINUTE_MS = 60_000;
/** A window of one day in the week opens within this time. */
const LONGEST_WAIT_MINUTES = 8 * 24 * 60;
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/** When one of the windows is open: `now` if one is, else the minute at which the next one opens. */
export function nextOpening(windows: readonly string[], now: Date): Date {
  const clocks = windows.flatMap((text) => {
    const window = parseDeployWindow(text);
    return window ? [clockOf(window)] : [];
  });
  // What is not a window has been refused already, and none at all is no reason to wait.
  if (clocks.length === 0 || clocks.some((isOpen) => isOpen(now))) return now;
  const first = Math.floor(now.getTime() / MINUTE_MS) + 1;
  for (let minute = first; minute < first + LONGEST_WAIT_MINUTES; minute += 1) {
    const at = new Date(minute * MINUTE_MS);
    if (clocks.some((isOpen) => isOpen(at))) return at;
  }
  return now;
}

/** Says of a time whether the window is open then, by the clocks of its zone: summer time is theirs. */
function clockOf({ days, from, until, zone }: DeployWindow): (at: Date) => boolean {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  return (at) => {
    const parts = new Map(format.formatToParts(at).map(({ type, value }) => [type, value]));
    const minutes = Number(parts.get("hour")) * 60 + Number(parts.get("minute"));
    return days.has(DAYS.indexOf(parts.get("weekday") ?? "")) && minutes >= from && minutes < until;
  };
}
