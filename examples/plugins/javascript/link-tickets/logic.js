// Finds tickets where people write them, and adds their addresses.

/** A message that lists a whole release would make an event of links. */
const MOST = 10;
/** The members of `data` that people write, or that are made of what they wrote. */
const FIELDS = ["branch", "title", "task"];
const KEYS = ["url", "prefixes"];

/** Reads the sidecar's [config]; throws what is wrong with it. */
export function readConfig(entries) {
  const given = Object.fromEntries(entries);
  for (const key in given) {
    if (!KEYS.includes(key)) throw `unknown key ${key} (there are: ${KEYS.join(", ")})`;
  }
  const { url } = given;
  if (!url?.includes("{id}")) throw "url is missing, or has no {id}";
  const prefixes = JSON.parse(given.prefixes ?? "[]");
  if (prefixes.length === 0) throw "prefixes: at least one is needed, or UTF-8 would be a ticket";
  for (const prefix of prefixes) {
    if (!/^[A-Z][A-Z0-9]{0,15}$/.test(prefix)) throw `prefixes: ${prefix} is not like OPS`;
  }
  // Not within a word or a longer number: XOPS-1 and OPS-1x are others' business.
  const ticket = new RegExp(`(?<![A-Za-z0-9])(${prefixes.join("|")})-(\\d{1,7})(?![A-Za-z0-9])`, "gi");
  return { url, ticket };
}

/** What to merge into the event's data; undefined when there is nothing to add. */
export function patchOf(message, data, { url, ticket }) {
  // A merge patch would make an object of anything else, and what is there already is not ours.
  const fits = data === null || (typeof data === "object" && !Array.isArray(data));
  if (!fits || data?.tickets !== undefined) return undefined;
  const texts = [message, ...FIELDS.map((field) => data?.[field])];
  const found = new Set();
  for (const text of texts) {
    if (typeof text !== "string") continue;
    for (const [, prefix, number] of text.matchAll(ticket)) {
      found.add(`${prefix.toUpperCase()}-${number}`);
    }
  }
  if (found.size === 0) return undefined;
  const tickets = [...found].slice(0, MOST);
  return { tickets: tickets.map((id) => ({ id, url: url.replace("{id}", id) })) };
}
