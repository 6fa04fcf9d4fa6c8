// Pages somebody when an event wants immediate attention.

/** What is emitted. The sidecar has to grant its subject. */
const PAGE = "custom.page";

/** Reads the sidecar's [config], which comes as pairs of texts; throws what is wrong with it. */
export function readConfig(entries) {
  const { to, ...unknown } = Object.fromEntries(entries);
  for (const key in unknown) throw `unknown key ${key} (there is: to)`;
  if (!to) throw "to is missing or empty";
  return { to };
}

/** The event to emit, in the session and project of the one reacted to; undefined for none. */
export function pageFor({ event, seq }, { to }) {
  if (event.eventType === PAGE) return undefined;
  return {
    eventType: PAGE,
    priority: "action",
    message: `${to}: ${event.eventType}: ${event.message}`,
    // The contract's u64 is a BigInt, which JSON does not know.
    data: { to, seq: Number(seq) },
  };
}
