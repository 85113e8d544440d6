// @ts-check
// The pictures of the README: those that the tests have made last, as they are. `npm test && npm run pictures`.
import { copyFile, stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** What is shown, by the picture's name in `artifacts/`. @type {{ [artifact: string]: string }} */
const CHOSEN = {
  "wall-1280-dark": "wall", "incident-1280-dark": "incident", "approvals-1280-dark": "approvals", "service-1280-dark": "service",
};
/** Who clones the repository loads them too, bytes. */
const MOST = 200 * 1024;

const [from, to] = ["./artifacts/", "../../docs/img/"].map((path) => fileURLToPath(new URL(path, import.meta.url)));
for (const [artifact, name] of Object.entries(CHOSEN)) {
  const { size } = await stat(`${from}${artifact}.png`);
  if (size > MOST) throw new Error(`${artifact}.png has ${size} bytes, and ${MOST} is the most`);
  await copyFile(`${from}${artifact}.png`, `${to}${name}.png`);
  console.log(`docs/img/${name}.png  ${Math.round(size / 1024)} KiB`);
}
