// States of instances and workers: their order, their drawings, and what can be done in them.

/** In the order of a person's attention. */
export const STATES = [
  "FATAL", "BACKOFF", "UNKNOWN", "PENDING", "STARTING", "STOPPING", "RUNNING", "EXITED", "STOPPED",
];

export const LABEL = {
  FATAL: "Fatal", BACKOFF: "Backoff", UNKNOWN: "Unknown", PENDING: "Pending", STARTING: "Starting",
  STOPPING: "Stopping", RUNNING: "Running", EXITED: "Exited", STOPPED: "Stopped",
};

/** What a state means, for a title. */
export const MEANS = {
  FATAL: "given up: it failed too often",
  BACKOFF: "a start failed; the next one waits",
  UNKNOWN: "its worker is lost, and no other can take it",
  PENDING: "no worker can take it",
  STARTING: "started, and not yet counted as running",
  STOPPING: "asked to stop",
  RUNNING: "alive",
  EXITED: "ended by itself, and is not started again",
  STOPPED: "stopped by a request, or never started",
};

const ALIVE = new Set(["RUNNING", "STARTING", "BACKOFF", "STOPPING", "UNKNOWN"]);

/** Whether a start would change something. */
export const canStart = (row) => !["RUNNING", "STARTING"].includes(row.state);
/** Whether a stop would change something: also what waits for its next try. */
export const canStop = (row) => ALIVE.has(row.state) || row.state === "PENDING";
/** Whether it refuses to be started. */
export const isDisabled = (row) => row.reason === "disabled";
/** What was asked for is not done yet. */
export function isPending(row) {
  const { wanted, acted } = row;
  if (!wanted || !acted) return false;
  return wanted.run !== acted.run || wanted.starts !== acted.starts
    || wanted.restarts !== acted.restarts || wanted.reloads !== acted.reloads;
}

/** How long it has been in its state, where that is worth telling: what runs, or tries to. */
export const ticks = (row) => row.since !== null && row.state !== "PENDING";

/** Why it is so, in one line. */
export function why(row) {
  const parts = [];
  if (row.reason) parts.push(row.reason);
  if (row.spawnerr && row.spawnerr !== row.reason) parts.push(row.spawnerr);
  if (row.note) parts.push(row.note);
  if (row.stderr_line) parts.push(row.stderr_line);
  return parts.join(" · ");
}

export const WORKER_MEANS = {
  ready: "takes instances", cordoned: "takes no new instances", draining: "gives its instances away",
  suspect: "silent; it is being asked", lost: "silent for too long, and declared lost",
  stopping: "was told to stop", stopped: "stopped because it was told to",
};
