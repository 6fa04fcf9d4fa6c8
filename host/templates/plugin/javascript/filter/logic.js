// Drops events whose message begins with a configured text.

/** Reads the sidecar's [config], which comes as pairs of texts; throws what is wrong with it. */
export function readConfig(entries) {
  const { prefix, ...unknown } = Object.fromEntries(entries);
  for (const key in unknown) throw `unknown key ${key} (there is: prefix)`;
  if (!prefix) throw "prefix is missing or empty";
  return { prefix };
}

/** Why the event is dropped; undefined when it is kept. */
export function reasonToDrop(event, { prefix }) {
  return event.message.startsWith(prefix) ? `begins with ${prefix}` : undefined;
}
