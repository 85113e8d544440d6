// @ts-check
// Numbers of the simulated fleet: the same for the same service and time, so that the past can be asked for again.

/** @param {string} text */
export function hash(text) {
  let h = 2166136261;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619);
  return h >>> 0;
}

/**
 * In [0, 1).
 * @param {number} seed
 * @param {number} n
 */
export function noise(seed, n) {
  let x = (seed ^ Math.imul(n | 0, 0x9e3779b1)) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
}

/**
 * Noise without jumps, period `every`.
 * @param {number} seed
 * @param {number} at
 * @param {number} every
 */
export function wave(seed, at, every) {
  const [n, part] = [Math.floor(at / every), (at % every) / every];
  const ease = part * part * (3 - 2 * part);
  return noise(seed, n) * (1 - ease) + noise(seed, n + 1) * ease;
}
