import { chmod, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Command } from 'commander';
import { expect, test } from 'vitest';
import { addProvisioningOptions, provisioningOf } from '../../../lib/cli/provisioning-options.js';
import { makeScratch } from '../../helpers/temporary.js';

function parse(args: readonly string[]) {
  const command = new Command();
  addProvisioningOptions(command);
  return provisioningOf(command.parse(args, { from: 'user' }).opts());
}

test('provisioningOf reads packages, files with their modes, and the agent with its units', async () => {
  const folder = await makeScratch();
  const inFolder = (name: string) => path.join(folder, name);
  await writeFile(inFolder('tool:1'), 'tool');
  await chmod(inFolder('tool:1'), 0o711);
  await writeFile(inFolder('notes'), 'notes');
  await chmod(inFolder('notes'), 0o600);
  await writeFile(inFolder('envd'), 'binary');
  await writeFile(inFolder('unit'), '[Service]\n');
  await writeFile(inFolder('openrc'), '#!/sbin/openrc-run\n');
  const args = [
    ...['--package', 'git', 'curl', '--hostname', 'box'],
    ...['--file', `${inFolder('tool:1')}:/usr/bin/tool`, '--file', `${inFolder('notes')}:/srv/notes`],
    ...['--agent', inFolder('envd'), '--agent-unit', inFolder('unit'), '--agent-openrc', inFolder('openrc')],
  ];
  expect(await parse(args)).toEqual({
    packages: ['git', 'curl'],
    hostname: 'box',
    files: [
      { source: inFolder('tool:1'), path: '/usr/bin/tool', mode: 0o755 },
      { source: inFolder('notes'), path: '/srv/notes', mode: 0o644 },
    ],
    agent: {
      name: 'envd',
      binary: inFolder('envd'),
      unit: '[Service]\n',
      openrc: '#!/sbin/openrc-run\n',
    },
  });
});

test('provisioningOf without arguments asks for nothing', async () => {
  expect(await parse([])).toEqual({ files: [] });
});
