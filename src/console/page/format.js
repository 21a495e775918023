// How values read.

const number = new Intl.NumberFormat("en");
const moment = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium" });

export const count = (value) => (value === null || value === undefined ? "–" : number.format(value));

export const rate = (value) =>
  value === null || value === undefined ? "–" : `${number.format(value >= 10 ? Math.round(value) : Math.round(value * 10) / 10)}/s`;

export function money(amount, currency) {
  if (amount === null || amount === undefined) return "–";
  try {
    return new Intl.NumberFormat("en", { style: "currency", currency }).format(amount);
  } catch {
    return `${amount} ${currency ?? ""}`.trim();
  }
}

export function time(text) {
  if (!text) return "–";
  const at = new Date(text);
  return at.toDateString() === new Date().toDateString() ? clock.format(at) : moment.format(at);
}

export const fullTime = (text) => (text ? moment.format(new Date(text)) : "–");

/** `2 h 5 min`, `4 min 03 s`, `12 s`; a whole number of minutes has no seconds, unless it is counting down. */
export function duration(seconds, counting = false) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.max(0, Math.round(seconds));
  const [days, hours] = [Math.floor(whole / 86_400), Math.floor((whole % 86_400) / 3_600)];
  const [minutes, rest] = [Math.floor((whole % 3_600) / 60), whole % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes && !rest && !counting) return `${minutes} min`;
  return minutes ? `${minutes} min ${String(rest).padStart(2, "0")} s` : `${rest} s`;
}

/** `3 min ago`. */
export function ago(text) {
  const seconds = (Date.now() - new Date(text).getTime()) / 1_000;
  return seconds < 5 ? "just now" : `${duration(seconds >= 60 ? Math.round(seconds / 60) * 60 : seconds)} ago`;
}

/** The end of an id is what differs between those of one moment. */
export const short = (id) => (id && id.length > 13 ? `${id.slice(0, 4)}…${id.slice(-6)}` : id);

/** `admin:` and the end of an account's id. */
export const who = (actor) => {
  const [role, ...rest] = String(actor ?? "–").split(":");
  const sub = rest.join(":");
  return sub.length > 24 ? `${role}:${short(sub)}` : String(actor ?? "–");
};

/** `pending_payment` reads "Pending payment". */
export const words = (code) => {
  const text = String(code ?? "").replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
};
