// @ts-check
// The real thing for tests: Apache Kafka, the processor and the war room, each a process of its own. Needs the `ops`
// binary (OPS_BIN, else the debug build).
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** @typedef {import("node:child_process").ChildProcess} Child */

const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL("../../../target", import.meta.url));
export const OPS = process.env.OPS_BIN ?? join(target, "debug/ops");

/** How long a process may take to say that it is there, ms. */
const PATIENCE_MS = 60_000;

export class Stack {
  /** @type {Set<Child>} */
  #children = new Set();
  brokers = "";
  /** The war room's port, the same after a restart. */
  port = 0;
  /** @type {Child | null} */
  room = null;
  dir = mkdtempSync(join(tmpdir(), "ops-browser-"));

  /** Kafka with its topics, and a war room. */
  async start() {
    if (!existsSync(OPS)) throw new Error(`${OPS} is not built: cargo build`);
    const kafka = this.spawn(["local-kafka"], { stdin: "pipe" });
    this.brokers = JSON.parse(await line(kafka)).brokers;
    this.run(["topics", "apply"]);
    await this.startRoom();
    return this;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** @param {string[]} more arguments */
  async startRoom(...more) {
    this.room = this.spawn(["warroom", "--listen", `127.0.0.1:${this.port}`, ...more]);
    this.port = Number(new URL(await line(this.room)).port);
    await this.until("the war room follows", async () => (await fetch(`${this.url}readyz`)).ok);
  }

  /** As a power cut would. */
  async killRoom() {
    if (!this.room) return;
    this.room.kill("SIGKILL");
    await gone(this.room);
  }

  /**
   * @param {string[]} args
   * @param {{ stdin?: "pipe" | "ignore", env?: Record<string, string> }} [options]
   */
  spawn(args, { stdin = "ignore", env = {} } = {}) {
    const child = spawn(OPS, args, { cwd: this.dir, env: this.#environment(env), stdio: [stdin, "pipe", "pipe"] });
    this.#children.add(child);
    /** @type {string[]} */
    const said = [];
    child.stderr?.on("data", (data) => said.push(String(data)));
    child.on("exit", (code, signal) => {
      this.#children.delete(child);
      if (code) console.error(`ops ${args.join(" ")}: exit ${code ?? signal}\n${said.join("").slice(-4_000)}`);
    });
    return child;
  }

  /** A command that ends by itself; its standard output. @param {string[]} args @param {string} [input] */
  run(args, input = "") {
    const { status, stdout, stderr } = spawnSync(OPS, args, { cwd: this.dir, env: this.#environment(), input, encoding: "utf8" });
    if (status !== 0) throw new Error(`ops ${args.join(" ")}: exit ${status}\n${stdout}${stderr}`);
    return stdout;
  }

  /** @param {Record<string, string>} [more] */
  #environment(more = {}) {
    return { ...process.env, OPS_BROKERS: this.brokers, RUST_LOG: "warn", ...more };
  }

  /** @param {string} text YAML */
  register(text) {
    const file = join(this.dir, `${/^id: (\S+)/.exec(text)?.[1]}.ops.yaml`);
    writeFileSync(file, text);
    this.run(["register", file]);
  }

  /** A sender of readings of one service, as they are given. @param {string} service */
  sender(service) {
    const child = this.spawn(["emit", "--stdin", "--service", service], { stdin: "pipe" });
    return {
      /** @param {string} sensor @param {number} value */
      send: (sensor, value) => void child.stdin?.write(`${JSON.stringify({ sensor, value, ts: Date.now() })}\n`),
      end: async () => {
        child.stdin?.end();
        await gone(child);
      },
    };
  }

  /** @param {string} path */
  async get(path) {
    const answer = await fetch(`${this.url}api/v1/${path}`);
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /**
   * Asks again and again, where nothing tells.
   * @template T
   * @param {string} what
   * @param {() => Promise<T | null | undefined | false>} ask
   * @returns {Promise<T>}
   */
  async until(what, ask) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = await ask().catch(() => null);
      if (found) return found;
      if (Date.now() > deadline) throw new Error(`${what}: not within ${PATIENCE_MS / 1000} s`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Seconds of processor time that a process has used. @param {Child} child */
  static cpuSeconds({ pid }) {
    const [user, system] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ").slice(11, 13).map(Number);
    return (user + system) / 100;
  }

  async stop() {
    // Kafka last: the others would wait for it.
    for (const child of [...this.#children].reverse()) {
      if (child.stdin && !child.spawnargs.includes("emit")) child.stdin.end();
      else child.kill("SIGKILL");
      await gone(child);
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** The first line that a process prints. @param {Child} child @returns {Promise<string>} */
export async function line(child) {
  if (!child.stdout) throw new Error("its output is not ours");
  const lines = createInterface(child.stdout);
  const ended = once(child, "exit").then(([code]) => {
    throw new Error(`ops ${child.spawnargs.slice(1).join(" ")} ended with ${code}`);
  });
  const [first] = await Promise.race([once(lines, "line", { signal: AbortSignal.timeout(PATIENCE_MS) }), ended]);
  ended.catch(() => {});
  return first;
}

/** @param {Child} child */
async function gone(child) {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

/** Of numbers, in the order of their size. @param {number[]} numbers */
export function spread(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = (/** @type {number} */ part) => sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)];
  return { n: sorted.length, median: at(0.5), p95: at(0.95), max: at(1) };
}
