/** What the server sends, as types. Read by `tsc` alone; never served. All times are ms since the epoch. */

export interface Phase { cause: string; phase: string; held_ms: number }
export interface OpenIncident { incident: string; cause: string; opened_at: number }
export interface Refusal { reason: string; at: number; partition: number; offset: number; sample: string }
export type Text = { [name: string]: string };

/** An event of `ops.actions`; which fields it has depends on `event`. */
export interface ActionEvent {
  event: string; action_id: string; incident: string; service: string; verb: string; actor: string; at: number;
  target: string | null; attempt: number; dry_run: boolean;
  reason?: string; goal?: Text; detail?: Text;
  /** Of `awaiting` (with `why` and `expires_at`) and of a human's word on it. */
  hash?: string; why?: string; expires_at?: number;
  before?: number | null; before_n?: number | null; before_over?: number | null;
  after?: number | null; after_n?: number | null; after_over?: number | null;
}

/** An event of `ops.incidents`; which fields it has depends on `event`. */
export interface IncidentEvent {
  event: string; service: string; spec_hash: string; at: number; partition?: number; offset?: number;
  incident?: string; cause?: string; episode?: string; openings?: number; flapping?: boolean;
  threshold?: number | null; window_from?: number | null; window_to?: number | null;
  n?: number | null; over?: number | null; rank?: number | null; p95_estimate?: number | null;
  step?: number; call?: number; verb?: string; args?: Text; basis?: string; action_id?: string;
  opened_at?: number; reason?: string; from?: number; to?: number;
}

export interface Target { url?: string; state?: string; reason?: string | null; at?: number | null; [more: string]: unknown }

export interface Status {
  service: string; owner: string; slo_state: string; state: Phase[]; quality: string;
  p95_estimate: number | null; n: number | null; over: number | null; rank: number | null;
  threshold: number | null; window_ms: number | null; age_ms: number | null; late: number;
  rejected: { [reason: string]: number }; last_rejected: Refusal | null;
  open_incidents: OpenIncident[]; last_actions: ActionEvent[]; frozen: ActionEvent | null; as_of: number | null;
  targets?: Target[] | null;
}

export interface Sensor {
  name: string; unit: string; interval_ms: number; no_data_after_ms: number; scrape_url: string | null; is_event: boolean;
}
export interface Slo {
  target: string; threshold: number; recover_threshold: number; objective_ppm: number; min_samples: number;
  window_ms: number; step_ms: number; lateness_ms: number;
}
export interface Detail extends Status {
  registered: { text: string; hash: string; owner: string; by: string; registered_at: number };
  explained: string[]; sensors: Sensor[]; slo: Slo | null;
}

/** One bucket of a series; `at` is its end. */
export interface Point {
  at: number; n: number; over: number | null;
  min: number | null; max: number | null; mean: number | null; p95_estimate: number | null;
}
export interface Series { service: string; sensor: string; from: number; to: number; points: Point[] }
export interface LiveReading { ts: number; value: number }
export interface LiveWindow { at: number; n: number; over: number | null; p95: number | null }
/** One event of the live edge of a series. */
export interface LiveNews { readings: LiveReading[]; windows: LiveWindow[] }

export interface IncidentLine {
  incident: string; service: string; cause: string; opened_at: number; ended_at: number | null; end: string | null;
  reason: string | null; episode: string | null; flapping: boolean;
  /** Of the SLO's incidents alone. */
  n?: number | null; over?: number | null; rank?: number | null; threshold?: number | null; p95_estimate?: number | null;
  window_from?: number | null; window_to?: number | null;
}
export interface Request { at: number; step: number; call: number; basis: string; args: Text }
export interface Deed {
  action_id: string; service: string; incident: string; verb: string; target: string | null; state: string;
  effect: string | null; reason: string | null; request: Request | null; events: ActionEvent[];
}
export interface Story { incident: string; service: string; events: IncidentEvent[]; actions: Deed[] }
export interface Actions { now: number; frozen: ActionEvent[]; actions: Deed[] }
export interface Services { now: number; services: Status[] }
export interface Problem { type?: string; title?: string; detail?: string; status?: number }

/** What waits for a human's word. */
export interface Approval {
  action_id: string; service: string; incident: string; verb: string; target: string | null; owner: string | null;
  asked_at: number; expires_at: number; reason: string; why: string; hash: string; goal: Text;
  /** What exactly will be done, and what it touches: a sentence each. */
  what: string; blast_radius: string;
}

/** Who one is: `login` says whether the server asks for tokens at all; `services` are ids, `BEGINNING*` or `*`. */
export interface Me { login: string; name: string | null; rights: string[]; services: string[]; version: string }

/** An incident, computed again from the log: `text` as `ops explain` prints it, `evidence` the same fact by fact. */
export interface Explanation {
  now: number; incident: string; confirmed: boolean; text: string[]; evidence: { name: string; text: string }[];
}

export interface VaultEntry { topic: string; partition: number; offset: number; position: number | null; event: string; at: number }
/** What the vault keeps of an incident; `damage` is what could not be read. */
export interface Vaulted {
  now: number; origin: string; entries: VaultEntry[]; checkpoint: { [name: string]: unknown } | null; damage?: string[];
}
