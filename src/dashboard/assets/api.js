// The admin API as this session may use it: looking, changes with the session's word, and what a role allows.

export class ApiError extends Error {
  constructor(status, code, message, problems) {
    super(message);
    Object.assign(this, { status, code, problems: problems ?? [] });
  }
}

/** Who is signed in: `user`, `roles`, `csrf`. */
export const session = { user: "", roles: [], csrf: "" };

export async function start() {
  Object.assign(session, await read(await fetch("/session", { cache: "no-store" })));
}

export const can = (role) => role === "read" || session.roles.includes(role);

/** `GET /api…`. */
export async function get(path, signal) {
  return read(await fetch("/api" + path, { cache: "no-store", signal }));
}

/** The same; null where this build has no such page, or it has nothing yet. Asked this way that is no error in anybody's eyes. */
export async function optional(path, signal) {
  return read(await fetch("/api" + path, { cache: "no-store", signal, headers: { "x-igris-optional": "1" } }));
}

/** A change; answers what the gateway answers. */
export async function change(method, path, body) {
  const fields = { "x-igris-csrf": session.csrf };
  if (body !== undefined) fields["content-type"] = "application/json";
  const options = { method, headers: fields, body: body === undefined ? undefined : JSON.stringify(body) };
  return read(await fetch("/api" + path, options));
}

export async function leave() {
  await fetch("/logout", { method: "POST", headers: { "x-igris-csrf": session.csrf } });
  location.assign("/login");
}

export function query(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return kept.length ? "?" + new URLSearchParams(kept) : "";
}

async function read(answer) {
  if (answer.status === 401) {
    location.assign("/login" + location.hash);
    throw new ApiError(401, "signed_out", "You are signed out.");
  }
  const text = await answer.text();
  let value = null;
  try {
    value = text === "" ? null : JSON.parse(text);
  } catch {
    if (answer.ok) return text;
  }
  if (answer.ok) return value;
  const error = value?.error ?? {};
  throw new ApiError(answer.status, error.code ?? "", error.message ?? `The gateway answered ${answer.status}.`, value?.problems);
}
