import { type Principal, principalName } from "@hms/kernel";
import { tooManySubscriptions } from "../errors.ts";

/** Each subscription costs every publisher a look, and the process what waits for a slow reader. */
const MOST = 1_000;

/** How many subscriptions each principal has open in this process. */
export class SubscriptionPlaces {
  readonly #open = new Map<string, number>();

  /**
   * Takes a place until what is answered is disposed; the operator and the platform always get one.
   * @throws HmsError RESOURCE_EXHAUSTED if the principal has 1,000 open
   */
  take(principal: Principal): Disposable {
    if (principal.kind === "operator" || principal.kind === "component") return { [Symbol.dispose]() {} };
    const name = principalName(principal);
    const before = this.#open.get(name) ?? 0;
    if (before >= MOST) throw tooManySubscriptions(name, MOST);
    this.#open.set(name, before + 1);
    return { [Symbol.dispose]: () => this.#leave(name) };
  }

  #leave(name: string): void {
    const left = (this.#open.get(name) ?? 1) - 1;
    if (left > 0) this.#open.set(name, left);
    else this.#open.delete(name);
  }
}
