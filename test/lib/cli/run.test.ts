/** `rootloom run` with real sandboxes, and how a template is shown. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { RunningCli, runCli, runCliJson } from '../../helpers/cli.js';
import { ensureTemplate, TEMPLATE_TIMEOUT_MS, type TestTemplate } from '../../helpers/template.js';

let template: TestTemplate;
beforeAll(async () => {
  template = await ensureTemplate();
}, TEMPLATE_TIMEOUT_MS);

const run = (...args: string[]) => runCli(['run', template.buildId, ...args], template);

describe('run', () => {
  it('passes on what the command prints and its exit code', async () => {
    expect(await run('--', 'sh', '-c', 'echo out; echo err >&2; exit 7')).toEqual({
      exitCode: 7,
      stdout: 'out\n',
      stderr: 'err\n',
    });
  });

  it('--json tells all of it, --stdin gives it something to read', async () => {
    const { exitCode, stdout } = await runCli(
      ['run', template.buildId, '--json', '--stdin', '--', 'tr', 'a-z', 'A-Z'],
      { ...template, input: 'some data' },
    );
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ exitCode: 0, stdout: 'SOME DATA', stderr: '', truncated: false });
  });

  it('ends a command that takes too long, and one that cannot be started', async () => {
    const slow = await runCliJson(['run', template.buildId, '--timeout', '1', '--', 'sleep', '60'], template);
    expect(slow).toMatchObject({ exitCode: 1, error: { code: 'GUEST_TIMEOUT' } });
    const wrong = await runCliJson(['run', template.buildId, '--', '/no/such/program'], template);
    expect(wrong).toMatchObject({ exitCode: 1, error: { code: 'GUEST_FAILED' } });
  });

  it('interrupted leaves no process and no file', async () => {
    const running = await RunningCli.start(['run', template.buildId, '--', 'sleep', '600'], template);
    const keeper = await running.firstChild();
    expect(await running.end('SIGINT')).toEqual({ exitCode: 130, signal: null });
    expect(running.stderr).toBe('rootloom: Interrupted by SIGINT\n');
    expect(() => process.kill(keeper, 0)).toThrow(/ESRCH/);
  });
});

describe('a template', () => {
  it('is listed without --all, and inspected with its memory', async () => {
    const { answer } = await runCliJson(['list'], template);
    expect(answer).toContainEqual(expect.objectContaining({ buildId: template.buildId, phase: 'template' }));
    const { answer: inspection } = await runCliJson(['inspect', template.buildId], template);
    expect(inspection.objects.map(({ name }: { name: string }) => name)).toEqual(
      expect.arrayContaining(['memfile', 'memfile.header', 'snapfile']),
    );
  });

  it('stays as it is, whatever its sandboxes do', async () => {
    await run('--', 'sh', '-c', 'echo changed >/etc/hostname; sync');
    const { stdout } = await run('--', 'cat', '/etc/hostname');
    expect(stdout).not.toBe('changed\n');
    expect((await runCliJson(['inspect', template.buildId, '--verify'], template)).exitCode).toBe(0);
    expect(await readdir(path.join(template.store, '.rootloom/tmp'))).toEqual(['lock']);
  });
});
