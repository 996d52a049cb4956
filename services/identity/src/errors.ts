import { type FieldViolation, HmsError } from "@hms/kernel";

/** NOT_FOUND: nobody has this id or login. */
export function accountUnknown(name: string): HmsError {
  const message = `There is no account "${name}". Look at: hms-sys users list`;
  return new HmsError("NOT_FOUND", message, { reason: "ACCOUNT_UNKNOWN" });
}

/** ALREADY_EXISTS: the login is somebody's. */
export function loginTaken(login: string): HmsError {
  return new HmsError("ALREADY_EXISTS", `The login "${login}" is taken; choose another.`, { reason: "LOGIN_TAKEN" });
}

/** NOT_FOUND: these roles do not exist. */
export function rolesUnknown(names: readonly string[]): HmsError {
  const message = `There is no role ${names.map((name) => `"${name}"`).join(", ")}. Look at: hms-sys roles list`;
  return new HmsError("NOT_FOUND", message, { reason: "ROLE_UNKNOWN" });
}

/** NOT_FOUND: there is no such group. */
export function groupUnknown(name: string): HmsError {
  return new HmsError("NOT_FOUND", `There is no group "${name}".`, { reason: "GROUP_UNKNOWN" });
}

/** PERMISSION_DENIED: somebody would give, or get hold of, what they do not have. */
export function beyondOwn(permissions: readonly string[]): HmsError {
  const message = `This would pass on what you do not have yourself: ${permissions.join(", ")}. Ask somebody who has it.`;
  return new HmsError("PERMISSION_DENIED", message, { reason: "BEYOND_OWN_PERMISSIONS" });
}

/** PERMISSION_DENIED: a role may be worth more than its permissions, by policies. */
export function notYourRoles(names: readonly string[]): HmsError {
  const message = `Only who has these roles, without limits, or everything, can give or take them: ${names.join(", ")}.`;
  return new HmsError("PERMISSION_DENIED", message, { reason: "BEYOND_OWN_ROLES" });
}

/** PERMISSION_DENIED: what belongs to others takes a permission. */
export function notYours(permission: string): HmsError {
  const message = `What belongs to others takes the permission ${permission}; leave the user out to mean yourself.`;
  return new HmsError("PERMISSION_DENIED", message, { reason: "NOT_YOURS" });
}

/** FAILED_PRECONDITION: nobody would be left who may do everything. */
export function lastAdmin(): HmsError {
  const message =
    "This is the last active admin who has a password. Make somebody else admin first (hms-sys roles assign LOGIN admin), who has signed in.";
  return new HmsError("FAILED_PRECONDITION", message, { reason: "LAST_ADMIN" });
}

/** INVALID_ARGUMENT with every problem of an input. */
export function invalid(violations: readonly FieldViolation[]): HmsError {
  const message = violations.map(({ field, description }) => `${field} ${description}`).join(" ");
  return new HmsError("INVALID_ARGUMENT", message, { fieldViolations: [...violations] });
}

/** INVALID_ARGUMENT: the caller has no account, so it must say whose. */
export function whose(): HmsError {
  return invalid([
    {
      field: "user",
      description:
        "must name an account (--user LOGIN): you have none of your own here. Or sign in as somebody: hms-sys login.",
    },
  ]);
}

/** NOT_FOUND: the link was used, has ended, or never was. */
export function linkGone(): HmsError {
  const message = "This link has been used or has ended. Ask for a new one.";
  return new HmsError("NOT_FOUND", message, { reason: "LINK_GONE" });
}

/** NOT_FOUND: nobody is asked for anything any more under this address, or not in this browser. */
export function interactionGone(): HmsError {
  const message =
    "This sign-in is over, or was begun in another browser. Go back to the program and begin again there.";
  return new HmsError("NOT_FOUND", message, { reason: "SIGN_IN_GONE" });
}

/** NOT_FOUND: the password was changed in the same moment. */
export function passwordGone(): HmsError {
  return new HmsError("NOT_FOUND", "The password was changed in this very moment. Sign in with the new one.", {
    reason: "PASSWORD_CHANGED",
  });
}

/** NOT_FOUND: somebody has used this recovery code in the same moment. */
export function codeGone(): HmsError {
  return new HmsError("NOT_FOUND", "This recovery code has been used. Sign in with another one.", {
    reason: "RECOVERY_CODE_USED",
  });
}

/** NOT_FOUND: there is no such key or session of that account. */
export function gone(what: "key" | "session", id: string): HmsError {
  return new HmsError("NOT_FOUND", `There is no ${what} "${id}" that you may end.`, {
    reason: what === "key" ? "KEY_UNKNOWN" : "SESSION_UNKNOWN",
  });
}

/** FAILED_PRECONDITION: nothing can be mailed. */
export function noMail(email: string): HmsError {
  const message =
    email === ""
      ? "Your account has no mail address. Set one first: UpdateProfile, or hms-sys users update LOGIN --email ADDRESS"
      : "No mail server is set up here. Who runs the platform names one in mail.json (see Accounts in the guide).";
  return new HmsError("FAILED_PRECONDITION", message, { reason: "NO_MAIL" });
}

/** FAILED_PRECONDITION: nothing was granted to this session that could be taken away. */
export function noProgram(sessionId: string): HmsError {
  const message = `"${sessionId}" is a browser's session: only programs have scopes. It can be ended: hms-sys sessions revoke`;
  return new HmsError("FAILED_PRECONDITION", message, { reason: "NO_PROGRAM" });
}
