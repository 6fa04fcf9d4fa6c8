// Counts how often a job failed and then passed with nothing changed.

/** Memory stays bounded: the oldest go first. */
const MOST = 2_000;
const HOUR = 3_600_000;
const KEYS = ["flakes", "window_hours"];

/** Reads the sidecar's [config]; throws what is wrong with it. */
export function readConfig(entries) {
  const given = Object.fromEntries(entries);
  for (const key in given) {
    if (!KEYS.includes(key)) throw `unknown key ${key} (there are: ${KEYS.join(", ")})`;
  }
  return {
    flakes: whole("flakes", given.flakes ?? "3", 1, 100),
    window: whole("window_hours", given.window_hours ?? "24", 1, 24 * 30) * HOUR,
  };
}

function whole(key, text, least, most) {
  const number = Number(text);
  if (!Number.isInteger(number) || number < least || number > most) {
    throw `${key}: ${text} is not a whole number from ${least} to ${most}`;
  }
  return number;
}

export class Flakes {
  #config;
  /** The jobs that failed on a commit, by project and commit. */
  #failed = new Map();
  /** When each job flaked, by project and job. */
  #flaked = new Map();

  constructor(config) {
    this.#config = config;
  }

  /** Sees one event of CI. Returns what to report, if that makes a job flaky. */
  see({ eventType, projectId, timestamp, data }) {
    const { commit, job } = data ?? {};
    if (typeof commit !== "string" || typeof job !== "string") return undefined;
    const run = `${projectId} ${commit}`;
    if (eventType === "ci_failing") {
      const jobs = this.#failed.get(run) ?? new Set();
      remember(this.#failed, run, jobs.add(job));
      return undefined;
    }
    if (eventType !== "ci_passing") return undefined;
    const jobs = this.#failed.get(run) ?? new Set();
    const now = Date.parse(`${timestamp.slice(0, 19)}Z`);
    // A pass of "all" is a pass of each.
    const flaky = [...jobs].filter((failed) => job === "all" || job === failed);
    for (const passed of flaky) jobs.delete(passed);
    // More than one job at once on one commit says more of the machine than of the jobs.
    return flaky.length === 1 ? this.#count(projectId, flaky[0], now, data) : undefined;
  }

  #count(project, job, now, data) {
    const { flakes, window } = this.#config;
    const key = `${project} ${job}`;
    const times = (this.#flaked.get(key) ?? []).filter((time) => now - time < window);
    times.push(now);
    if (times.length < flakes) {
      remember(this.#flaked, key, times);
      return undefined;
    }
    // Counting starts again, so that one flaky job is one report and not one a flake.
    this.#flaked.delete(key);
    const hours = window / HOUR;
    return {
      eventType: "custom.flaky_job",
      priority: "action",
      message: `${job} is flaky: failed and passed on the same commit ${flakes} times in ${hours} h`,
      data: { job, flakes, window_hours: hours, branch: data.branch, commit: data.commit },
    };
  }
}

/** Puts it at the end of the map, and drops the beginning of one that is too long. */
function remember(map, key, value) {
  map.delete(key);
  map.set(key, value);
  if (map.size > MOST) map.delete(map.keys().next().value);
}
