/** One point of a benchmark: peers that do the same thing, measured in turn inside one run. */
import { type Summary, summarize } from './statistics.js';

/** How the figures of a point are told, and which way is better. */
export type Unit = 'ms' | 'IOPS' | 'MiB/s' | 'M/s' | 'MiB' | 'blocks' | 'µs';

const MORE_IS_BETTER: ReadonlySet<Unit> = new Set(['IOPS', 'MiB/s', 'M/s']);

export function isMoreBetter(unit: Unit): boolean {
  return MORE_IS_BETTER.has(unit);
}

/** What one run of one peer measured. */
export interface Sample {
  /** In the point's unit. */
  value: number;
  /** Bytes that the run added to what must be stored. */
  newBytes?: number | undefined;
}

/** What a peer is to reach: a figure of its own, or a share of another peer's. */
export interface Goal {
  peer: string;
  /** Of another peer of the point, whose median is the measure; without it the limit is a figure in the point's unit. */
  of?: string | undefined;
  /** At least so much, or so many times `of`. Where less is better: at most. */
  limit: number;
}

export interface PointSpec {
  /** "4 connections", "depth 64". */
  name: string;
  unit: Unit;
  /** Ratios are to this peer. */
  reference: string;
  peers: Record<string, () => Promise<Sample>>;
  goals?: readonly Goal[] | undefined;
}

export interface GoalVerdict extends Goal {
  isMet: boolean;
  /** What was reached, as `limit` is meant. */
  reached: number;
}

export interface PeerResult extends Summary {
  peer: string;
  /** To the median of the reference: above 1 is more. */
  ratio: number;
  newBytes: number | undefined;
  samples: readonly Sample[];
}

export interface PointResult {
  name: string;
  unit: Unit;
  peers: PeerResult[];
  goals: GoalVerdict[];
}

function judge(goal: Goal, unit: Unit, medians: ReadonlyMap<string, number>): GoalVerdict {
  const own = medians.get(goal.peer);
  const base = goal.of === undefined ? 1 : medians.get(goal.of);
  if (own === undefined || base === undefined) {
    throw new TypeError(`Cannot judge ${goal.peer} by ${goal.of ?? 'itself'}: the point has no such peer`);
  }
  const reached = own / base;
  return { ...goal, reached, isMet: isMoreBetter(unit) ? reached >= goal.limit : reached <= goal.limit };
}

export interface Rounds {
  /** Run first, to warm the caches, and thrown away. */
  warmup: number;
  counted: number;
  /** Runs before each turn, unmeasured. */
  beforeEach: () => Promise<unknown>;
}

/** A B C, A B C, …: every peer sees the same warm caches and the same neighbours on the machine. */
export async function measurePoint(
  spec: PointSpec,
  { warmup, counted, beforeEach }: Rounds,
): Promise<PointResult> {
  const samples = new Map<string, Sample[]>(Object.keys(spec.peers).map((peer) => [peer, []]));
  for (let round = 0; round < warmup + counted; round += 1) {
    for (const [peer, run] of Object.entries(spec.peers)) {
      await beforeEach();
      const sample = await run();
      if (round >= warmup) samples.get(peer)?.push(sample);
    }
  }
  const summaries = [...samples].map(([peer, taken]) => ({
    peer,
    ...summarize(taken.map(({ value }) => value)),
    newBytes: newBytesOf(taken),
    samples: taken,
  }));
  const medians = new Map(summaries.map(({ peer, median }) => [peer, median]));
  const base = medians.get(spec.reference);
  if (base === undefined) throw new TypeError(`Cannot compare: the point has no peer ${spec.reference}`);
  return {
    name: spec.name,
    unit: spec.unit,
    peers: summaries.map((summary) => ({ ...summary, ratio: summary.median / base })),
    goals: (spec.goals ?? []).map((goal) => judge(goal, spec.unit, medians)),
  };
}

function newBytesOf(samples: readonly Sample[]): number | undefined {
  const known = samples.map(({ newBytes }) => newBytes).filter((bytes) => bytes !== undefined);
  return known.length === 0 ? undefined : summarize(known).median;
}
