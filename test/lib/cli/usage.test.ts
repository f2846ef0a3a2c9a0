/** Command lines that can never be right, help, and the forms of an error. */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageVersion } from '../../../lib/util/package.js';
import { runCli, runCliJson } from '../../helpers/cli.js';

const ID = '0f8fad5b-d9cb-469f-a165-70867728950e';
const NOWHERE = path.join('/nonexistent', 'store');

const COMMANDS = [
  ...['build', 'list', 'inspect', 'diff', 'ls', 'stat', 'cat', 'cp'],
  ...['fsck', 'export', 'serve', 'mount', 'attach', 'devices', 'run', 'kernel', 'rm', 'doctor'],
];

/** Arguments, and what the message must name. */
const WRONG: [string[], RegExp][] = [
  [['nonsense'], /unknown command 'nonsense'/],
  [['list', '--nonsense'], /unknown option '--nonsense'/],
  [['list', '--store', ''], /URL is empty/],
  [['list', '--store', 'file://user:secret@host/x'], /credentials/],
  [['list', '--store', 'file:///x?region=y'], /parameters "region"/],
  [['inspect'], /missing required argument 'id'/],
  [['inspect', 'nope'], /"nope" is not the id of a build/],
  [['rm', ID, 'nope'], /"nope" is not the id of a build/],
  [['rm'], /either ids of builds or --unused/],
  [['rm', '--unused', ID], /either ids of builds or --unused/],
  [['rm', '--unused', '--force'], /--force is for ids/],
  [['rm', ID, '--older-than', '1'], /belongs to --unused/],
  [['ls', ID], /has no colon, wanted ID:PATH/],
  [['cat', 'nope:/x'], /"nope" is not the id of a build/],
  [['cp', `${ID}:/x`, `${ID}:/y`], /builds never change/],
  [['serve', ID], /'--socket <path>' not specified/],
  [['mount', ID], /a folder: one is needed, or --device-only/],
  [['mount', ID, '/mnt', '--device-only'], /on a folder with --device-only/],
  [['mount', ID, '--device-only', '--options', 'noatime'], /--options without a mount/],
  [['mount', ID, '/mnt', '--options', 'noatime,,nodev'], /one of them is empty/],
  [['mount', ID, '/mnt', '--connections', '17'], /Wanted 1 to 16 connections/],
  [['attach'], /either the id of a build or --empty/],
  [['attach', ID, '--empty', '--size', '1M'], /either the id of a build or --empty/],
  [['attach', '--empty'], /--empty and --size belong together/],
  [['attach', ID, '--size', '1M'], /--empty and --size belong together/],
  [['attach', '--empty', '--size', '1000'], /a multiple of 512/],
  [['attach', '--empty', '--size', '1M', '--read-only'], /--read-only is for builds/],
  [['run', ID], /missing required argument 'command'/],
  [['run', ID, '--timeout', '0', '--', 'true'], /Wanted 1 to \d+ seconds/],
  [['kernel', '--vmlinux', 'x'], /a folder for it is needed/],
  [['kernel', 'out', '--modules', 'x'], /--modules belongs to a --vmlinux/],
  [['kernel', 'out', '--vmlinux', 'x', '--package', 'y'], /cannot be used with/],
  [['build'], /one of --from-oci and --from-template is needed/],
  [['build', '--from-oci', 'oci:x', '--from-template', ID], /cannot be used with/],
  [['build', '--from-oci', 'oci:x'], /one of --disk-size and --disk-free is needed/],
  [['build', '--from-oci', 'oci:', '--disk-size', '1G'], /it has no path/],
  [['build', '--from-oci', 'oci:x', '--disk-size', '1G', '--disk-free', '1G'], /cannot be used with/],
  [['build', '--from-oci', 'oci:x', '--disk-size', '1GB'], /may mean 1000 or 1024/],
  [['build', '--from-oci', 'oci:x', '--disk-size', '16777217'], /multiple of 4096/],
  [['build', '--from-oci', 'oci:x', '--disk-size', '1G', '--platform', 'x'], /platform/],
  [['build', '--from-oci', 'oci:x', '--disk-size', '1G', '--memory', '1M'], /64 MiB at least/],
  [['build', '--from-oci', 'oci:x', '--disk-size', '1G', '--cpus', '65'], /has 1 to 64 processors/],
  [['build', '--from-oci', 'oci:x', '--disk-size', '1G', '--hostname', '-'], /hostname/],
  [['build', '--from-oci', 'oci:x', '--disk-size', '1G', '--package', 'a b'], /package name/],
  [['build', '--from-oci', 'oci:x', '--disk-size', '1G', '--file', '/etc/hosts'], /no HOST:IMAGE/],
  [['build', '--from-oci', 'oci:x', '--disk-size', '1G', '--file', '/etc/hosts:/a/../b'], /plain path/],
  [
    [
      'build',
      '--from-oci',
      'oci:x',
      '--disk-size',
      '1G',
      '--file',
      '/etc/hosts:/a',
      '--file',
      '/etc/passwd:/a',
    ],
    /no other extra file/,
  ],
  [
    ['build', '--from-oci', 'oci:x', '--disk-size', '1G', '--file', '/nowhere/x:/a'],
    /--file .nowhere.x: ENOENT/,
  ],
  [['build', '--from-oci', 'oci:x', '--disk-size', '1G', '--agent', '/bin/true'], /--agent-unit/],
  [
    [
      'build',
      '--from-oci',
      'oci:x',
      '--disk-size',
      '1G',
      '--agent',
      '/bin/true',
      '--agent-unit',
      '/nowhere/x',
    ],
    /ENOENT/,
  ],
  [
    [
      'build',
      '--from-oci',
      'oci:x',
      '--disk-size',
      '1G',
      '--agent',
      '/bin/true',
      '--agent-unit',
      '/etc/hosts',
    ],
    /systemd unit/,
  ],
  [['build', '--from-template', ID, '--check', 'x'], /Allowed choices are auto, always, never/],
];

describe('wrong usage', () => {
  it.concurrent.each(WRONG)('%j ends with 2 and says why', async (args, message) => {
    const { exitCode, answer, error } = await runCliJson(args, { store: NOWHERE });
    expect({ exitCode, answer, code: error.code }).toEqual({ exitCode: 2, answer: undefined, code: 'USAGE' });
    expect(error.message).toMatch(message);
    expect(error.message).not.toMatch(/secret/);
  });

  it('is told to people in two lines', async () => {
    const { exitCode, stdout, stderr } = await runCli(['inspect', 'nope']);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toMatch(
      /^rootloom: .*"nope" is not the id.*\n\(rootloom help COMMAND shows what a command takes\)\n$/,
    );
  });

  it('of the environment is wrong usage, too', async () => {
    expect(await runCliJson(['list'], { store: 'file:///x?y=z' })).toMatchObject({ exitCode: 2 });
  });

  it('without a command prints the help', async () => {
    const { exitCode, stderr } = await runCli([]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^Usage: rootloom/);
  });

  it('takes what follows -- for the command of the guest', async () => {
    const { exitCode, stderr } = await runCli(['run', ID, '--', 'ls', '--json', '-l'], { store: NOWHERE });
    expect(exitCode).toBe(1);
    expect(stderr).toBe(`rootloom: Cannot find build ${ID}: the store has none of that id\n`);
  });
});

describe('help', () => {
  it('lists every command and the exit codes', async () => {
    const { exitCode, stdout } = await runCli(['--help']);
    expect(exitCode).toBe(0);
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    expect(stdout).toMatch(/Exit codes: 0 success; 1 failure/);
  });

  it.concurrent.each(COMMANDS)('%s takes --store and --json', async (command) => {
    const { exitCode, stdout } = await runCli([command, '--help']);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/--store <url>/);
    expect(stdout).toMatch(/--json/);
  });

  it('knows its version', async () => {
    expect(await runCli(['--version'])).toEqual({ exitCode: 0, stdout: `${packageVersion}\n`, stderr: '' });
  });
});
