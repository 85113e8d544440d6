// @ts-check
// A human decides in the browser what the autoscaler may not do by itself: the budget of its incident is used up. The
// Kubernetes API is the simulated one; all else is real.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { open, picture } from "../tests/harness.js";
import { line, Stack } from "./stack.js";

/** Three actions of an incident are what the budget allows; the fourth needs somebody. @param {string} id */
const spec = (id) => `id: ${id}
owner: browser
sensors:
  - {name: q, interval: 0.2}
slo: {target: q, threshold: 30, window_seconds: 5, step: 1, lateness: 0.5, min_samples: 5}
workload: deployment/scanner
limits: {max: 20}
playbook:
  - if: slo_breach
    then: scale_up compute=+1
${[1, 2, 3].map((s) => `  - if: still_breach_after ${s}s\n    then: scale_up compute=+1\n`).join("")}`;

const stack = new Stack();
let kubernetes = "";
before(async () => {
  await stack.start();
  stack.spawn(["process"]);
  const simulated = stack.spawn(["local-kubernetes", "default/scanner=2"], { stdin: "pipe" });
  kubernetes = JSON.parse(await line(simulated)).url;
  const config = join(stack.dir, "actors.toml");
  writeFileSync(config, "[autoscaler]\ncool_down_seconds = 0\n");
  stack.spawn(["act", "autoscaler", "--server", kubernetes, "--config", config]);
}, { timeout: 120_000 });
after(() => stack.stop());

const replicas = async () => {
  const answer = await fetch(`${kubernetes}/apis/apps/v1/namespaces/default/deployments/scanner/scale`);
  return (await answer.json()).spec.replicas;
};

/** A service whose fourth action waits; the replicas by then. @param {import("node:test").TestContext} t @param {string} id */
async function waiting(t, id) {
  stack.register(spec(id));
  const sender = stack.sender(id);
  const emitting = setInterval(() => sender.send("q", 90), 100);
  t.after(() => clearInterval(emitting));
  await stack.until("something waits for approval", async () => {
    const { approvals } = await stack.get("approvals");
    return approvals.some((/** @type {any} */ one) => one.service === id);
  });
  return replicas();
}

test("what is approved in the browser is done, once", { timeout: 180_000 }, async (t) => {
  const had = await waiting(t, "Approved");
  const page = await open(t, `${stack.url}#/approvals`);
  const queued = page.locator("article.ask", { hasText: "Approved" });
  await queued.waitFor();
  await picture(page, "real-approvals");
  assert.equal(await replicas(), had, "nothing is done before somebody says so");
  await queued.getByRole("button", { name: "Approve" }).click();
  await page.locator("#reason").fill("the hall is full");
  await page.locator("#confirm").click();
  await queued.waitFor({ state: "detached", timeout: 30_000 });
  await stack.until("one replica more", async () => (await replicas()) === had + 1);
  const { actions } = await stack.get("actions?service=Approved");
  const done = actions.find((/** @type {any} */ one) => one.events.some((/** @type {any} */ event) => event.event === "approved"));
  await stack.until("its outcome", async () => (await stack.get("actions?service=Approved")).actions.some((/** @type {any} */ one) => one.action_id === done.action_id && one.state === "done"));
});

test("what is denied in the browser is not done, and says why", { timeout: 180_000 }, async (t) => {
  const had = await waiting(t, "Denied");
  const page = await open(t, `${stack.url}#/approvals`);
  const queued = page.locator("article.ask", { hasText: "Denied" });
  await queued.getByRole("button", { name: "Deny" }).click();
  await page.locator("#reason").fill("a deploy is under way");
  await page.locator("#confirm").click();
  await queued.waitFor({ state: "detached", timeout: 30_000 });
  const denied = await stack.until("its outcome", async () => {
    const { actions } = await stack.get("actions?service=Denied");
    return actions.find((/** @type {any} */ one) => one.state === "denied");
  });
  assert.match(denied.reason, /a deploy is under way/);
  assert.equal(await replicas(), had);
});
