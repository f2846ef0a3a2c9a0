/** The harness of test/kernel: whatever goes wrong in it must be seen, and nothing of it may stay. */
import { readdir, readlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { findProcesses } from '../../helpers/processes.js';
import { makeScratch, startChild } from '../../helpers/temporary.js';
import { findProblems } from '../../kernel/harness/console.js';
import { judgeReport } from '../../kernel/harness/suite.js';
import { runInUml, type UmlOptions } from '../../kernel/harness/uml.js';

const FILE = 'test/kernel/a.test.ts';

function report(status: string, ...cases: [string, string][]): string {
  const assertionResults = cases.map(([title, result]) => ({ ancestorTitles: ['A'], title, status: result }));
  return JSON.stringify({
    testResults: [{ name: `/tree/${FILE}`, status, message: 'a message', assertionResults }],
  });
}

describe('judgeReport', () => {
  it('passes a file whose cases all passed', () => {
    const json = report('passed', ['one', 'passed'], ['two', 'passed']);
    expect(judgeReport(json, FILE, ['A > one', 'A > two'])).toEqual({ passed: 2, problems: [] });
  });

  it.each([
    ['that was left out', report('passed', ['one', 'passed'])],
    ['that was skipped', report('passed', ['one', 'passed'], ['two', 'skipped'])],
    ['that failed', report('failed', ['one', 'passed'], ['two', 'failed'])],
  ])('counts a case %s as failed', (_what, json) => {
    const { passed, problems } = judgeReport(json, FILE, ['A > one', 'A > two']);
    expect(passed).toBe(1);
    expect(problems).toEqual([expect.stringContaining('A > two')]);
  });

  it('counts a case that nobody expected, an error outside of cases, and a missing report', () => {
    const json = report('passed', ['one', 'passed'], ['three', 'passed']);
    expect(judgeReport(json, FILE, ['A > one'])).toEqual({
      passed: 1,
      problems: [`${FILE}: ran A > three, which nobody expected`],
    });
    expect(judgeReport(report('failed', ['one', 'passed']), FILE, ['A > one']).problems).toEqual([
      `${FILE}: a message`,
    ]);
    const none = judgeReport(undefined, FILE, ['A > one', 'A > two']);
    expect(none).toMatchObject({ passed: 0, problems: { length: 2 } });
  });
});

describe('findProblems', () => {
  it('finds what a kernel says when it has gone wrong, and nothing in an ordinary log', () => {
    const bad = [
      '[    1.5] WARNING: CPU: 0 PID: 7 at drivers/block/nbd.c:1',
      '[    1.5] BUG: unable to handle kernel paging request',
      '[    1.5] INFO: task fio:12 blocked for more than 120 seconds.',
      '[    1.5] Kernel panic - not syncing: hung_task',
      'guest: PROBLEM: left behind: nbd0 is in use',
    ];
    const good = [
      '[    1.5] block nbd0: Receive control failed (result -32)',
      '[    1.5] I/O error, dev nbd0, sector 8',
    ];
    expect(findProblems([...good, ...bad])).toEqual(bad);
  });
});

/** What stands for a process's process namespace; empty for one that has ended. */
function namespaceOf(pid: number | string): Promise<string> {
  return readlink(`/proc/${pid}/ns/pid`).catch(() => '');
}

async function processesIn(namespace: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    if ((await namespaceOf(pid)) === namespace) found.push(pid);
  }
  return found;
}

describe('runInUml', () => {
  async function run(script: string, options: Partial<UmlOptions> = {}) {
    const results = path.join(await makeScratch(), 'results');
    return runInUml({ command: ['sh', '-c', script], results, ...options });
  }

  it('runs a command with its environment, and brings back status and output', async () => {
    const script = 'echo "$ROOTLOOM_WORDS"; ls /sys/block; echo changed >/etc/rootloom-test; exit 3';
    const { problems, status, output } = await run(script, { environment: { ROOTLOOM_WORDS: "it's two" } });
    expect(problems).toEqual([]);
    expect(status).toBe(3);
    expect(output).toContain("it's two\n");
    expect(output).toContain('nbd15\n');
    expect(output).toMatch(/Read-only file system/);
  });

  it('tells of processes and mounts that were left', async () => {
    const script =
      'sleep 1000 & mke2fs -q /tmp/image 8M; qemu-nbd --fork -f raw -k /tmp/s /tmp/image; nbd-client -unix /tmp/s /dev/nbd3';
    const { problems } = await run(script);
    expect(problems.join('\n')).toMatch(/left behind: .*\(sleep\)/);
    expect(problems.join('\n')).toMatch(/left behind: nbd3 is in use/);
  });

  it('tells of a kernel that dies, with its last words', async () => {
    const { problems, status } = await run('echo c >/proc/sysrq-trigger');
    expect(status).toBeUndefined();
    expect(problems.join('\n')).toMatch(
      /Kernel panic - not syncing[\s\S]*died before its command[\s\S]*panic/,
    );
  });

  it('tells of a kernel that does not boot', async () => {
    const kernel = path.join(await makeScratch(), 'kernel');
    await writeFile(kernel, '#!/bin/sh\necho nothing works here\nexit 7\n', { mode: 0o700 });
    const { problems } = await run('true', { kernel });
    expect(problems.join('\n')).toMatch(/did not boot \(exit status 7\)[\s\S]*nothing works here/);
  });

  it.each([
    ['boot', '#!/bin/sh\nsleep 1000\n', { bootSeconds: 1 }],
    ['run its command and power off', undefined, { runSeconds: 1 }],
  ])('ends a kernel that does not %s in time', async (task, script, limits) => {
    const kernel = script === undefined ? undefined : path.join(await makeScratch(), 'kernel');
    if (kernel !== undefined && script !== undefined) await writeFile(kernel, script, { mode: 0o700 });
    const { problems } = await run('sleep 1000', { ...limits, ...(kernel === undefined ? {} : { kernel }) });
    expect(problems[0]).toBe(`User-Mode Linux did not ${task} within 1 s`);
  });

  it('leaves neither process nor folder when whoever started it is killed', async () => {
    const area = await makeScratch();
    const child = startChild(new URL('children/uml-owner.ts', import.meta.url), [area]);
    await child.waitFor('ready');
    const namespaces = await Promise.all((await findProcesses(`uml_dir=${area}`)).map(namespaceOf));
    const ours = await namespaceOf('self');
    const namespace = namespaces.find((other) => other !== ours) as string;
    expect((await processesIn(namespace)).length).toBeGreaterThan(1);
    await child.kill();
    await expect.poll(() => processesIn(namespace), { timeout: 30_000 }).toEqual([]);
    await expect.poll(() => findProcesses(area), { timeout: 30_000 }).toEqual([]);
    const folder = (await readdir(area)).find((name) => name.startsWith('rootloom-')) as string;
    expect(await readdir(path.join(area, folder))).toEqual(['lock']);
  });
});
