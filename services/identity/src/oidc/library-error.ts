/** Waits for work that a library asked for; what fails becomes an error that answers 503 there. */
export async function forLibrary<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    // The library takes `statusCode` for HTTP's, and that of our errors is gRPC's.
    const error = new Error("The identity service's database does not answer.", { cause });
    throw Object.assign(error, { statusCode: 503 });
  }
}
