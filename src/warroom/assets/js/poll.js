// @ts-check
// In place of the stream, for those whom it does not tell: asks how it is, again and again.
import * as api from "./api.js";

/** @typedef {import("./contract.d.ts").Services} Services */
/** @typedef {import("./stream.js").Link} Link */
/** @typedef {import("./api.js").Refused} Refused */

export const EVERY_MS = 5_000;
/** An answer that takes longer is none: with the pause before it, as long as a stream may be silent, ms. */
const PATIENCE_MS = 7_000;

/**
 * @param {(all: Services) => void} onAnswer
 * @param {(link: Link, refused: Refused | null) => void} onLink
 * @returns {() => void} ends it
 */
export function poll(onAnswer, onLink) {
  const control = new AbortController();
  const { signal } = control;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const look = async () => {
    try {
      const all = await api.services(AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]));
      if (signal.aborted) return;
      onAnswer(all);
      onLink("live", null);
    } catch (error) {
      if (signal.aborted) return;
      onLink("gone", error instanceof api.Refused && error.status ? error : null);
    }
    timer = setTimeout(look, EVERY_MS);
  };
  void look();
  return () => {
    control.abort();
    clearTimeout(timer);
  };
}
