import { expect, test } from 'vitest';
import { drawCharts } from '../../../benchmarks/harness/chart.js';
import { measurePoint, type PointSpec } from '../../../benchmarks/harness/point.js';
import { formatReport, type Report } from '../../../benchmarks/harness/report.js';
import { busyMilliseconds, splitDeviceNumber } from '../../../benchmarks/harness/settle.js';
import { median, summarize } from '../../../benchmarks/harness/statistics.js';

/** A peer that answers with these values, one after the other. */
function peer(values: readonly number[], calls: string[], name: string) {
  let round = 0;
  return async () => {
    calls.push(name);
    const value = values[round] as number;
    round += 1;
    return { value };
  };
}

function makeSpec(calls: string[] = []): PointSpec {
  return {
    name: 'point',
    unit: 'ms',
    reference: 'ours',
    peers: { ours: peer([99, 1, 3, 2], calls, 'ours'), theirs: peer([99, 20, 10, 30], calls, 'theirs') },
    goals: [
      { peer: 'ours', of: 'theirs', limit: 0.2 },
      { peer: 'ours', limit: 1 },
    ],
  };
}

/** Rounds of a test, and what is to run before each turn. */
function rounds(counted: number, beforeEach = async () => {}) {
  return { warmup: 1, counted, beforeEach };
}

async function makeReport(): Promise<Report> {
  const points = [await measurePoint(makeSpec(), rounds(3))];
  return { name: 'x', title: 'X', machine: { node: 'v1' }, rounds: 3, points, notes: ['A remark.'] };
}

test('median takes the middle, or the mean of the two in the middle', () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3])]).toEqual([2, 2.5]);
  expect(() => median([])).toThrow(RangeError);
});

test('summarize tells how far samples are apart', () => {
  expect(summarize([10, 20, 15])).toEqual({ median: 15, least: 10, most: 20, spread: 10 / 15 });
});

test('measurePoint lets peers take turns, throws the first round away, and judges goals', async () => {
  const calls: string[] = [];
  const { peers, goals } = await measurePoint(
    makeSpec(calls),
    rounds(3, async () => {
      calls.push('-');
    }),
  );
  expect(calls).toEqual(Array.from({ length: 4 }, () => ['-', 'ours', '-', 'theirs']).flat());
  expect(peers).toMatchObject([
    { peer: 'ours', median: 2, least: 1, most: 3, ratio: 1 },
    { peer: 'theirs', median: 20, ratio: 10 },
  ]);
  expect(goals.map(({ isMet, reached }) => ({ isMet, reached }))).toEqual([
    { isMet: true, reached: 0.1 },
    { isMet: false, reached: 2 },
  ]);
});

test('measurePoint takes more for better where the unit says so', async () => {
  const { goals } = await measurePoint({ ...makeSpec(), unit: 'IOPS' }, rounds(3));
  expect(goals.map(({ isMet }) => isMet)).toEqual([false, true]);
});

test('measurePoint refuses a reference that is no peer', async () => {
  await expect(measurePoint({ ...makeSpec(), reference: 'nobody' }, rounds(1))).rejects.toThrow(TypeError);
});

test('formatReport shows the figures, and a missed goal as missed', async () => {
  const text = formatReport(await makeReport());
  expect(text).toContain('| theirs | 20.0 ms | 10.0 ms – 30.0 ms | 10.00× |  |');
  expect(text).toContain('- met: ours ≤ 0.2× theirs; reached 0.10×');
  expect(text).toContain('- **missed**: ours ≤ 1.00 ms; reached 2.00 ms');
  expect(text).toContain('A remark.');
});

test('drawCharts draws an SVG that names the peers', async () => {
  const { points } = await makeReport();
  const charts = await drawCharts('X', points);
  expect([...charts.keys()]).toEqual(['ms']);
  expect(charts.get('ms')).toMatch(/^<svg [\s\S]*theirs[\s\S]*<\/svg>\n$/);
});

test('busyMilliseconds finds the device of a number, and how long it was busy', () => {
  const diskstats = [
    ' 254       0 vda 2250987 648684 568188138 5037153 10419277 3446634 4454507064 45564987 3 3762084 53277827 0 0 0 0 9 8',
    '   8     257 sdq1 1 2 3 4 5 6 7 8 9 10 11',
  ].join('\n');
  expect(busyMilliseconds(diskstats, splitDeviceNumber(65_024))).toBe(3_762_084);
  expect(busyMilliseconds(diskstats, splitDeviceNumber(0x100801))).toBe(10);
  expect(busyMilliseconds(diskstats, splitDeviceNumber(42))).toBeUndefined();
});
