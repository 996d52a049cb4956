export { askDirectory } from "./acme-account.ts";
export { AcmeFolder, type AcmePlaces } from "./acme-folder.ts";
export { AcmeKeeper, type AcmeKeeperOptions } from "./acme-keeper.ts";
export { AcmeProblem, remedyFor } from "./acme-problem.ts";
export {
  type AcmeSettings,
  acmeSettingsText,
  DEFAULT_DIRECTORY,
  directoryProblem,
  mailProblem,
  nameProblem,
  parseAcmeSettings,
} from "./acme-settings.ts";
export { type NameState, nameStates } from "./name-state.ts";
