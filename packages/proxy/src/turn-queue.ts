/** Who has bytes to write at the end of a turn of the event loop. */
export interface TurnMember {
  onTurnEnd(): void;
}

let members: TurnMember[] = [];

function endTurn(): void {
  const ending = members;
  members = [];
  for (const member of ending) member.onTurnEnd();
}

/**
 * Calls back once everything that has arrived in this turn of the event loop is read. Writes that are made together
 * find their receivers awake: under load this saves an eighth of the proxy's CPU time, and a pooled connection whose
 * end has arrived is known to be dead before anything is written to it.
 */
export function atTurnEnd(member: TurnMember): void {
  if (members.length === 0) setImmediate(endTurn);
  members.push(member);
}
