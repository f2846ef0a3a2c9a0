/** Every command has a page, with its options and no others; every command of the overview is one. */
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { Interruption } from '../../lib/cli/interruption.js';
import { createProgram } from '../../lib/cli/program.js';
import { listPages, readPage } from './pages.js';

const commands = createProgram(new Interruption()).commands as readonly Command[];
const names = commands.map((command) => command.name());

describe('docs/cli', () => {
  it('has a page for each command, and the overview names them all', async () => {
    const pages = (await listPages()).filter((page) => page.startsWith('docs/cli/'));
    expect(pages).toEqual([...names, 'README'].map((name) => `docs/cli/${name}.md`).sort());
    const overview = await readPage('docs/cli/README.md');
    for (const name of names) expect(overview).toContain(`[${name}](${name}.md)`);
  });

  it.each(names)('%s.md has the options of its command, and no others', async (name) => {
    const page = await readPage(`docs/cli/${name}.md`);
    const command = commands.find((each) => each.name() === name) as Command;
    const options = command.options.map(({ long }) => long as string);
    for (const option of options) expect(page).toContain(option);
    // Only where the command's own lines are: examples call other programs, too.
    const usage = page
      .split('\n')
      .filter((line) => /^(?: {4}rootloom|rootloom|\| `--)/.test(line))
      .map((line) => line.split(' -- ', 1)[0] ?? '');
    const mentioned = usage.flatMap((line) => line.match(/--[a-z][a-z-]+/g) ?? []);
    const known = new Set([...options, ...allOptions()]);
    expect(mentioned.filter((option) => !known.has(option))).toEqual([]);
    expect(page).toMatch(new RegExp(`^# rootloom ${name}\\n\\n    rootloom ${name}`));
  });
});

/** Pages show other commands beside their own. */
function allOptions(): string[] {
  return commands.flatMap((command) => command.options.map(({ long }) => long as string));
}
