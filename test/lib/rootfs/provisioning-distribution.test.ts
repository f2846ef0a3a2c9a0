import { describe, expect, test } from 'vitest';
import { isRootloomError } from '../../../lib/errors.js';
import { EXIT_UNSUPPORTED, PROVISIONED_MARKER } from '../../../lib/rootfs/provisioning/config.js';
import { detectDistribution, parseOsRelease } from '../../../lib/rootfs/provisioning/distribution.js';
import { ProvisioningSandbox } from './provisioning-sandbox.js';

test('parseOsRelease undoes quotes and backslashes, and passes over the rest', () => {
  const text = `# comment\nID=debian\nNAME="A \\"B\\""\nID_LIKE='x y'\r\nBAD LINE\nlower=no\nEMPTY=\n`;
  expect(parseOsRelease(text)).toEqual({ ID: 'debian', NAME: 'A "B"', ID_LIKE: 'x y', EMPTY: '' });
});

test('detectDistribution names the distribution and the reason', () => {
  expect(() => detectDistribution('ID=devuan\nID_LIKE=debian\n')).toThrow(
    'Cannot provision the distribution devuan: it has no systemd, one of debian, ubuntu, alpine was wanted',
  );
});

describe('detectDistribution and provision.sh decide alike', () => {
  const cases: [osRelease: string | undefined, decision: string][] = [
    ['ID=ubuntu\nID_LIKE=debian\n', 'ubuntu debian'],
    ['ID="debian"\n', 'debian debian'],
    ["ID='raspbian'\nID_LIKE='debian'\n", 'raspbian debian warned'],
    ['ID=pop\nID_LIKE="ubuntu debian"\n', 'pop debian warned'],
    ['ID=mystery\nID_LIKE="fedora debian"\n', 'mystery debian warned'],
    ['ID=devuan\nID_LIKE=debian\n', 'unsupported devuan'],
    ['ID=rhel\nID_LIKE=fedora\n', 'unsupported rhel'],
    ['ID=fedora\n', 'unsupported fedora'],
    ['NAME=Nameless\n', 'unsupported linux'],
    ['ID="we;ird id"\n', 'unsupported weirdid'],
    ['', 'unsupported linux'],
    [undefined, 'unsupported unknown'],
  ];

  function decideOnHost(osRelease: string | undefined): string {
    try {
      const { id, family, warning } = detectDistribution(osRelease);
      return `${id} ${family.name}${warning === undefined ? '' : ' warned'}`;
    } catch (error) {
      if (!isRootloomError(error, 'UNSUPPORTED_DISTRIBUTION')) throw error;
      const [, id] = /the distribution (\S+):/.exec(error.message) ?? [];
      return `unsupported ${id}`;
    }
  }

  for (const [osRelease, decision] of cases) {
    test(`${JSON.stringify(osRelease)}: ${decision}`, async () => {
      expect(decideOnHost(osRelease)).toBe(decision);
      const [first, second, warned] = decision.split(' ');
      await using sandbox = await ProvisioningSandbox.create('debian', osRelease);
      const { code, lines, calls } = await sandbox.run();
      if (first === 'unsupported') {
        expect(code).toBe(EXIT_UNSUPPORTED);
        expect(lines.at(-1)?.startsWith(`error: unsupported distribution ${second}`)).toBe(true);
        expect(calls).toEqual([]);
      } else {
        expect(code).toBe(0);
        expect(lines.some((line) => line.startsWith('warning:'))).toBe(warned !== undefined);
        const marker = JSON.parse(await sandbox.read(PROVISIONED_MARKER));
        expect(marker).toMatchObject({ distribution: first, family: second });
      }
    });
  }

  test('a known distribution without its package manager is unsupported in the guest', async () => {
    await using sandbox = await ProvisioningSandbox.create('alpine', 'ID=debian\n');
    const { code, lines } = await sandbox.run();
    expect(code).toBe(EXIT_UNSUPPORTED);
    expect(lines.at(-1)).toBe('error: unsupported distribution debian: the image has no apt-get');
  });
});
