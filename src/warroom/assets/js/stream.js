// @ts-check
// The stream of the server, and whether it still flows. Resumes by itself: the browser sends the id of the last event,
// and where it cannot (it gave up, or the line is dead without a word) a new stream begins with everything.

/** No word for so long, though a beat is due every 5 s: the connection is gone, ms. */
const SILENCE_MS = 12_000;
/** A break shorter than this is not worth a banner, ms. */
const GRACE_MS = 2_000;
/**
 * So long a stream is left alone before a new one takes its place, by its state: `CONNECTING` (the browser tries again
 * by itself, with the id of the last event), `OPEN` (and silent), `CLOSED` (refused), ms.
 */
const PATIENCE_MS = [60_000, SILENCE_MS, 3_000];

/** @typedef {"connecting" | "live" | "gone"} Link */

/**
 * @param {string} url
 * @param {{ [event: string]: (data: any) => void }} handlers
 * @param {(link: Link) => void} onLink
 * @param {() => void} onRefused each time that the server is there and says no
 * @returns {() => void} ends it
 */
export function follow(url, handlers, onLink, onRefused) {
  /** @type {EventSource} */
  let source;
  /** @type {Link} */
  let link = "connecting";
  let heard = performance.now();
  let opened = heard;
  /** When the line broke; null while it holds. @type {number | null} */
  let broken = null;

  const turn = (/** @type {Link} */ next) => {
    if (next === link) return;
    link = next;
    onLink(link);
  };
  const open = () => {
    source?.close();
    opened = performance.now();
    source = new EventSource(url);
    source.onerror = () => {
      broken ??= performance.now();
      // A line that breaks is taken up again by the browser; an answer that is no stream is not.
      if (source.readyState === EventSource.CLOSED) onRefused();
    };
    for (const [event, handler] of Object.entries(handlers)) {
      source.addEventListener(event, (message) => {
        heard = performance.now();
        broken = null;
        handler(JSON.parse(message.data));
        turn("live");
      });
    }
  };
  const look = () => {
    const now = performance.now();
    const isSilent = now - heard > SILENCE_MS;
    if (isSilent || (broken !== null && now - broken > GRACE_MS)) turn("gone");
    if (now - opened > PATIENCE_MS[source.readyState] && (isSilent || source.readyState === EventSource.CLOSED)) open();
  };
  open();
  const timer = setInterval(look, 500);
  // Back from another page of the history or from sleep: look at once.
  const control = new AbortController();
  addEventListener("pageshow", look, { signal: control.signal });
  addEventListener("online", look, { signal: control.signal });
  return () => {
    control.abort();
    clearInterval(timer);
    source.close();
  };
}
