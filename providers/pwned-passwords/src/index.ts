export { type CheckedList, checkBreachedPasswords } from "./check-list.ts";
export { createPwnedPasswords } from "./pwned-passwords.ts";
