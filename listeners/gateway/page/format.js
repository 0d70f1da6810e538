// Numbers and times as people read them. Pure.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** 1536 -> "1.5 KiB". */
export function bytes(count) {
  if (count === null || count === undefined) return "–";
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < UNITS.length - 1) { value /= 1024; unit += 1; }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** Seconds as the two greatest units: "3d 4h", "12m 5s", "8s". */
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s}s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m}m ${s % 60}s`;
  const hours = Math.floor(m / 60);
  if (hours < 24) return `${hours}h ${m % 60}m`;
  const days = Math.floor(hours / 24);
  return days < 100 ? `${days}d ${hours % 24}h` : `${days}d`;
}

const parsed = new Map();

/** Milliseconds of an RFC 3339 time. */
export function millis(text) {
  if (!text) return NaN;
  let value = parsed.get(text);
  if (value === undefined) {
    if (parsed.size > 20000) parsed.clear();
    value = Date.parse(text);
    parsed.set(text, value);
  }
  return value;
}

/** How long ago: "12s ago". */
export const ago = (text, now = Date.now()) =>
  text ? `${span((now - millis(text)) / 1000)} ago` : "never";

/** The time of day, with the date where it is not today. */
export function clock(text, now = new Date()) {
  const at = new Date(millis(text));
  if (Number.isNaN(at.getTime())) return "";
  const two = (n) => String(n).padStart(2, "0");
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  if (at.toDateString() === now.toDateString()) return time;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

/** The whole time, for a title. */
export const whole = (text) => (text ? new Date(millis(text)).toLocaleString() : "");

/** "1 instance", "1,200 instances". */
export const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

/** Cores: 0.034 -> "0.03", 1.5 -> "1.5". */
/** Processor time: of little, as part of one core. */
export const cores = (n) => {
  if (n === null || n === undefined) return "–";
  if (n === 0) return "0 %";
  return n < 0.1 ? `${(n * 100).toFixed(n < 0.01 ? 2 : 1)} %` : `${n.toFixed(n < 1 ? 2 : 1)} cores`;
};

/** How a child ended. */
export function exit(how) {
  if (!how) return null;
  const text = how.code !== null && how.code !== undefined ? `exit code ${how.code}` : `signal ${how.signal}`;
  return how.core ? `${text} (core dumped)` : text;
}

/** Names with numbers in their order: web:2 before web:10. */
export const natural = new Intl.Collator("en", { numeric: true }).compare;

/** A command, as it is typed. */
export const command = (words) => (Array.isArray(words) ? words.join(" ") : words);
