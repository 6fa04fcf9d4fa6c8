// Hides events of low priority in quiet hours, by the time at which they happened.

const PRIORITIES = ["info", "action", "urgent", "critical"];
const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const KEYS = ["from", "to", "utc_offset", "quiet_days", "keep"];

/** Reads the sidecar's [config]; throws what is wrong with it. */
export function readConfig(entries) {
  const given = Object.fromEntries(entries);
  for (const key in given) {
    if (!KEYS.includes(key)) throw `unknown key ${key} (there are: ${KEYS.join(", ")})`;
  }
  const { from = "22:00", to = "07:00", utc_offset = "+00:00", keep = "action" } = given;
  const quietDays = JSON.parse(given.quiet_days ?? "[]");
  const offset = /^([+-])(\d\d:\d\d)$/.exec(utc_offset);
  if (!offset) throw `utc_offset: ${utc_offset} is not like +02:00`;
  if (!PRIORITIES.includes(keep)) throw `keep: ${keep} is not one of ${PRIORITIES.join(", ")}`;
  for (const day of quietDays) {
    if (!DAYS.includes(day)) throw `quiet_days: ${day} is not one of ${DAYS.join(", ")}`;
  }
  return {
    from: minutes("from", from),
    to: minutes("to", to),
    span: `${from} to ${to}`,
    offset: minutes("utc_offset", offset[2]) * (offset[1] === "-" ? -1 : 1),
    quietDays,
    keep: PRIORITIES.indexOf(keep),
  };
}

/** `07:30` in minutes since midnight. */
function minutes(key, text) {
  const [, hours, rest] = /^(\d\d):(\d\d)$/.exec(text) ?? [];
  if (hours === undefined || hours > 23 || rest > 59) throw `${key}: ${text} is not like 07:30`;
  return Number(hours) * 60 + Number(rest);
}

/** Why the event is dropped; undefined when it is kept. */
export function reasonToDrop({ priority, timestamp }, config) {
  if (PRIORITIES.indexOf(priority) >= config.keep) return undefined;
  // Whole seconds are enough, and all that every engine reads.
  const utc = Date.parse(`${timestamp.slice(0, 19)}Z`);
  const local = new Date(utc + config.offset * 60_000);
  const day = DAYS[local.getUTCDay()];
  if (config.quietDays.includes(day)) return `quiet day ${day}`;
  const now = local.getUTCHours() * 60 + local.getUTCMinutes();
  const { from, to, span } = config;
  const quiet = from <= to ? from <= now && now < to : from <= now || now < to;
  return quiet ? `quiet hours ${span}` : undefined;
}
