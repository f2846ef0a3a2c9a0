/** What a machine can do, told by the command and by the API. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { examineMachine, ext4, type MachineFinding } from '../../../lib/index.js';
import { runCli, runCliJson } from '../../helpers/cli.js';

const NAMES = [
  ...['Node.js', 'addon', 'free space for the store', 'QEMU', 'KVM', 'kernel bundle'],
  ...['kernel tools', 'static busybox', 'skopeo', 'kernel NBD'],
];

/** A cache in which no kernel is: nothing is booted to try KVM. */
let environment: NodeJS.ProcessEnv;
let cache: string;
beforeAll(async () => {
  cache = await mkdtemp(path.join(tmpdir(), 'rootloom-doctor-'));
  environment = { XDG_CACHE_HOME: cache };
  return () => rm(cache, { recursive: true, force: true });
});

const named = (findings: readonly MachineFinding[], name: string) =>
  findings.find((finding) => finding.name === name);

describe('doctor', () => {
  it('finds everything that the tests themselves need, and changes nothing', async () => {
    const { exitCode, answer } = await runCliJson(['doctor'], { environment });
    expect(exitCode).toBe(0);
    expect(answer.map(({ name }: MachineFinding) => name)).toEqual(NAMES);
    for (const name of ['Node.js', 'addon', 'QEMU', 'kernel tools', 'static busybox', 'skopeo']) {
      expect(named(answer, name)).toMatchObject({ state: 'ok', cost: '' });
    }
    expect(named(answer, 'addon')?.found).toContain(ext4.engineVersion);
    expect(named(answer, 'kernel bundle')).toMatchObject({ state: 'limited', found: 'none made yet' });
    expect(await readdir(cache)).toEqual([]);
  });

  it('ends with 1 when something is missing that builds need, and says what that costs', async () => {
    const bare = { ...environment, PATH: '/nonexistent' };
    const { exitCode, answer } = await runCliJson(['doctor'], { environment: bare });
    expect(exitCode).toBe(1);
    for (const name of ['QEMU', 'kernel tools', 'static busybox']) {
      expect(named(answer, name)).toMatchObject({ state: 'missing', cost: expect.stringMatching(/^no /) });
    }
    expect(named(answer, 'skopeo')).toMatchObject({ state: 'limited' });

    const { exitCode: forPeople, stdout } = await runCli(['doctor'], { environment: bare });
    expect(forPeople).toBe(1);
    expect(stdout).toMatch(
      /^missing +QEMU +not installed \(qemu-system-x86\)\n +\(no template can be built/m,
    );
  });

  it('looks at the space of the store that it is told, which need not be there yet', async () => {
    const { answer } = await runCliJson(['doctor', '--store', '/proc/self/nowhere'], { environment });
    expect(named(answer, 'free space for the store')).toMatchObject({
      state: 'limited',
      found: '0 B at /proc/self/nowhere',
    });
  });
});

describe('examineMachine', () => {
  it('rejects with the reason of an aborted signal', async () => {
    const reason = new Error('enough');
    await expect(examineMachine({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const examining = examineMachine({
      signal: controller.signal,
      onProgress: ({ done }) => done === 3 && controller.abort(reason),
    });
    await expect(examining).rejects.toBe(reason);
  });

  it('refuses the URL of a store that cannot be', async () => {
    await expect(examineMachine({ storeUrl: '' })).rejects.toThrow(TypeError);
  });
});
