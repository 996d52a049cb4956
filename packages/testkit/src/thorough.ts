// biome-ignore lint/style/noProcessEnv: the tests' own setting.
const { HMS_TEST_THOROUGH } = process.env;

/** Whether every case is to be played (`npm run test:thorough`), not only those that `npm test` has the time for. */
export const isThorough = HMS_TEST_THOROUGH === "1";

/** All cases in a thorough run; else those that stand for the others. */
export function casesOf<T>(all: readonly T[], standsForOthers: (one: T, index: number) => boolean): T[] {
  return isThorough ? [...all] : all.filter(standsForOthers);
}
