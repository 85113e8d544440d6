// @ts-check
// The address after `#` -> a page. Every state that is worth a link has one.

/** @typedef {{ page: "wall" | "service" | "incident" | "actions" | "approvals" | "login" | "lost", id: string, params: URLSearchParams }} Route */

/**
 * @param {string} hash
 * @returns {Route}
 */
export function parse(hash) {
  if (hash === "#kiosk") return { page: "wall", id: "", params: new URLSearchParams("kiosk=1") };
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const params = new URLSearchParams(query);
  const [kind, rest, ...more] = path.split("/");
  let id;
  try {
    id = decodeURIComponent(rest ?? "");
  } catch {
    return { page: "lost", id: "", params };
  }
  if (kind === "" && !rest) return { page: "wall", id: "", params };
  if ((kind === "actions" || kind === "approvals") && !rest) return { page: kind, id: "", params };
  if (kind === "s" && id && !more.length) return { page: "service", id, params };
  if (kind === "i" && id && !more.length) return { page: "incident", id, params };
  return { page: "lost", id: "", params };
}
