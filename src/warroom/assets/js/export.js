// @ts-check
// A story as a file for the post-mortem. Made here, from what the page shows.
import { span, utc } from "./format.js";
import { outline, tell } from "./story.js";
import { visible } from "./text.js";

/** @typedef {import("./contract.d.ts").Story} Story */

/**
 * Text of strangers in Markdown: shown, not obeyed.
 * @param {unknown} text
 */
const plain = (text) => visible(text).replace(/[\\`*_{}[\]()<>#+!|~&-]/g, "\\$&");
/** In a code span no escape works, so what would end it goes. @param {unknown} text */
const code = (text) => `\`${visible(text).replaceAll("`", "'")}\``;

/**
 * @param {Story} story
 * @returns {string}
 */
export function markdown(story) {
  const { cause, openedAt, endedAt, end, hash } = outline(story);
  const lasted = openedAt === null ? "" : endedAt === null ? "still open" : `${end} after ${span(endedAt - openedAt)}`;
  const lines = [
    `# Incident ${plain(story.incident)}`, "",
    `- Service: ${plain(story.service)}`, `- Cause: ${plain(cause)}`, `- Opened: ${utc(openedAt)}`, `- Ended: ${endedAt === null ? "no" : utc(endedAt)} (${lasted})`,
    `- Spec: ${code(hash)}`, "", "## What happened", "",
  ];
  for (const { at, title, text, evidence, effect } of tell(story)) {
    lines.push(`- **${utc(at)}** ${plain(title)}`);
    if (text) lines.push(`  ${plain(text)}`);
    if (effect) lines.push(`  Before: ${plain(effect.before.text)}. After: ${plain(effect.after.text)}.`);
    if (evidence.length) lines.push(`  ${evidence.map(([name, value]) => `${plain(name)} ${code(value)}`).join(", ")}`);
  }
  lines.push("", "To check it against the log:", "", `    ops explain ${visible(story.incident)}`, "");
  return lines.join("\n");
}

/** @param {Story} story */
export const json = (story) => `${JSON.stringify(story, null, 2)}\n`;

/**
 * Hands a file to whoever asked.
 * @param {string} name
 * @param {string} type
 * @param {string} text
 */
export function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name.replace(/[^A-Za-z0-9_.-]/g, "_").slice(0, 120);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
