/** How the page says what the log holds: states, people, faces, times. */

const STATUS = {
  queued: "Queued",
  running: "Running",
  waiting: "Waiting for an answer",
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
};

const FACES = {
  rest: "REST",
  agui: "AG-UI",
  copilotkit: "CopilotKit",
  a2a: "A2A",
  mcp: "MCP",
  page: "the run page",
  cinatra: "Cinatra",
  clock: "the clock",
};

export const statusWords = (status) => STATUS[status] ?? status;

/** Who did it, as a person knows them: by name, else by id. */
export function person(by) {
  if (!by) return "someone";
  if (by.kind === "system") return "hocket";
  return by.name || by.id || "someone";
}

export const through = (face) => (face ? `through ${FACES[face] ?? face}` : "");

/** When: the time of day, and the day too where it is another one. */
export function moment(at, now = new Date()) {
  const when = new Date(at);
  if (Number.isNaN(when.getTime())) return "";
  const time = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
  const day = when.toDateString() === now.toDateString() ? {} : { day: "numeric", month: "short", year: "numeric" };
  return when.toLocaleString(undefined, { ...day, ...time });
}

/** A length of time in its two largest units. */
export function span(ms) {
  if (ms < 1000) return "less than a second";
  const seconds = Math.floor(ms / 1000);
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}

/** The name of a field as a person would write it: `amount_due` is "Amount due". */
export function spoken(name) {
  const words = String(name)
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .replace(/[_\-.]+/g, " ")
    .trim();
  return words ? words[0].toUpperCase() + words.slice(1).toLowerCase() : String(name);
}
