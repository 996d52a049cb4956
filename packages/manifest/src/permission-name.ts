/** What a permission looks like: "resource:verb". */
export const PERMISSION_PATTERN = "^[a-z][a-z0-9_-]*:[a-z][a-z0-9_-]*$";
