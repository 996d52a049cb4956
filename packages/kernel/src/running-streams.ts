import type { CallContext } from "./call-context.ts";
import type { HmsError } from "./hms-error.ts";
import type { Principal } from "./principal.ts";

/** Whose streams are over, and what their callers are told. */
interface Ending {
  readonly isOver: (principal: Principal) => boolean;
  readonly error: HmsError;
}

/** A stream from the question who calls to its end. */
export class RunningStream {
  readonly #all: Set<RunningStream>;
  #context: CallContext | undefined;
  /** Those since it began: who calls may be looked up while it is being revoked. */
  #missed: Ending[] | undefined;

  constructor(all: Set<RunningStream>) {
    this.#all = all;
    all.add(this);
  }

  /** Who calls is known now; what was ended meanwhile ends it at once. */
  isOf(context: CallContext): void {
    this.#context = context;
    for (const ending of this.#missed ?? []) this.endBy(ending);
    this.#missed = undefined;
  }

  endBy(ending: Ending): void {
    if (this.#context === undefined) this.#missed = [...(this.#missed ?? []), ending];
    else if (ending.isOver(this.#context.principal)) this.#context.end(ending.error);
  }

  forget(): void {
    this.#all.delete(this);
  }
}

/** The streams that run, whoever has them: each ends when its caller may do less than when it began. */
export class RunningStreams {
  readonly #all = new Set<RunningStream>();

  /** Notes one that begins; it has to be forgotten. */
  begin(): RunningStream {
    return new RunningStream(this.#all);
  }

  /** Ends those of the principals that `isOver` names, and those of them that are about to begin. */
  end(isOver: Ending["isOver"], error: HmsError): void {
    for (const stream of this.#all) stream.endBy({ isOver, error });
  }
}
