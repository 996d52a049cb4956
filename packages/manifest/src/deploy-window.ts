import type { TextReading } from "./schema-node.ts";

/** When new versions may be deployed. */
export interface DeployWindow {
  /** 0 is Sunday. */
  readonly days: ReadonlySet<number>;
  /** Minutes of the day; `until` is the first one that does not belong to it. */
  readonly from: number;
  readonly until: number;
  /** A name of the IANA time zone database. */
  readonly zone: string;
}

const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const DAY = `(?:${DAYS.join("|")})`;

/** What a window looks like, for editors. */
export const DEPLOY_WINDOW_PATTERN = `^${DAY}(?:-${DAY})?(?:,${DAY}(?:-${DAY})?)* [0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}(?: [A-Za-z0-9_+/-]+)?$`;

const WINDOW = new RegExp(DEPLOY_WINDOW_PATTERN);

/** Reads "mon-fri 09:00-16:00 Europe/Berlin"; undefined if it is no window. Without a zone it is UTC. */
export function parseDeployWindow(text: string): DeployWindow | undefined {
  if (!WINDOW.test(text)) return undefined;
  const [days = "", times = "", zone = "UTC"] = text.split(" ");
  const [from = Number.NaN, until = Number.NaN] = times.split("-").map(minutesOf);
  if (!(from < until) || !isZone(zone)) return undefined;
  return { days: new Set(days.split(",").flatMap(daysOf)), from, until, zone };
}

/** "mon-fri"; a span may lead over the end of the week. */
function daysOf(span: string): number[] {
  const [first = -1, last = first] = span.split("-").map((day) => DAYS.indexOf(day));
  const count = ((last - first + DAYS.length) % DAYS.length) + 1;
  return Array.from({ length: count }, (_, index) => (first + index) % DAYS.length);
}

function minutesOf(time: string): number {
  const [hour = 99, minute = 99] = time.split(":").map(Number);
  const total = hour * 60 + minute;
  return minute < 60 && total <= 24 * 60 ? total : Number.NaN;
}

function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

/** Reads a window as it is written in a manifest. */
export function readDeployWindow(text: string): TextReading {
  if (parseDeployWindow(text)) return { value: text };
  return {
    problem:
      "is no window. Write days, times of one day and a time zone: mon-fri 09:00-16:00 Europe/Berlin; without a zone it is UTC",
  };
}
