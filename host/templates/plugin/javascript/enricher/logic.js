// Adds the team that owns a project to its events.

/** Reads the sidecar's [config]: texts come as they are, anything else as JSON. */
export function readConfig(entries) {
  const { owners, ...unknown } = Object.fromEntries(entries);
  for (const key in unknown) throw `unknown key ${key} (there is: owners)`;
  if (!owners) throw "owners is missing";
  return { owners: new Map(Object.entries(JSON.parse(owners))) };
}

/** What to merge into the event's data; undefined when there is nothing to add. */
export function patchOf(event, { owners }) {
  const owner = owners.get(event.projectId);
  // A merge patch would make an object of anything else.
  const fits = event.data === null || (typeof event.data === "object" && !Array.isArray(event.data));
  return owner !== undefined && fits ? { owner } : undefined;
}
