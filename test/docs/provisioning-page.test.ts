/** docs/provisioning.md names what the code has. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import {
  DISTRIBUTION_MARKER,
  EXIT_MARKER,
  EXIT_UNSUPPORTED,
  LOG_PREFIX,
  PROVISIONED_MARKER,
  PROVISIONING_INIT,
} from '../../lib/rootfs/provisioning/config.js';
import { LOG_TAIL_LINES } from '../../lib/rootfs/provisioning/console.js';
import { DISTRIBUTION_FAMILIES, REJECTED_DISTRIBUTIONS } from '../../lib/rootfs/provisioning/distribution.js';
import { provisioningFiles } from '../../lib/rootfs/provisioning/files.js';

const page = await readFile(new URL('../../docs/provisioning.md', import.meta.url), 'utf8');

test('the page lists each family with its IDs and packages', () => {
  for (const { name, ids, init, packages, agentPackage } of DISTRIBUTION_FAMILIES) {
    const row = page.split('\n').find((line) => line.startsWith(`| ${name} |`)) ?? '';
    const cells = row.split('|').map((cell) => cell.trim());
    expect(cells[2]).toBe(ids.map((id) => `\`${id}\``).join(', '));
    expect(cells[3]?.toLowerCase()).toBe(init);
    expect(cells[4]).toBe([...packages, agentPackage].join(', '));
  }
});

test('the page lists the refused IDs', () => {
  const ids = Object.keys(REJECTED_DISTRIBUTIONS).map((id) => `\`${id}\``);
  expect(page.replaceAll('\n', ' ')).toContain(ids.join(', '));
});

test('the page names each file that is written to its final place', async () => {
  for (const { path: name } of await provisioningFiles()) {
    if (!name.includes('/rootloom/provisioning/')) expect(page).toContain(`\`${name}\``);
  }
});

test('the page shows what the console says', () => {
  for (const text of [
    `${DISTRIBUTION_MARKER}debian`,
    `${EXIT_MARKER}0`,
    PROVISIONING_INIT,
    PROVISIONED_MARKER,
  ]) {
    expect(page).toContain(text);
  }
  expect(page).toContain(`\`${LOG_PREFIX}\``);
  expect(page).toContain(`Exit code ${EXIT_UNSUPPORTED} `);
  expect(page).toContain(`the last ${LOG_TAIL_LINES} lines`);
});
