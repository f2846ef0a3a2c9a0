import { expect, test } from 'vitest';
import { assertCompatible, type HostTraits, readHostCpu } from '../../../lib/vm/machine.js';

const here: HostTraits = { qemuVersion: '7.2.22', accelerator: 'tcg', hostCpu: null, tscKhz: 2_300_000 };

test('assertCompatible takes the same host, and a counter as good as the same', () => {
  assertCompatible(here, here);
  assertCompatible({ ...here, tscKhz: 2_300_100 }, here);
});

test.each([
  [{ qemuVersion: '8.2.0' }, 'QEMU here is 7.2.22, it was made with 8.2.0'],
  [{ accelerator: 'kvm' as const }, 'the accelerator here is tcg, it was made with kvm'],
  [{ hostCpu: 'Some CPU' }, 'the processor here is any, it was made with Some CPU'],
  [{ tscKhz: 2_600_000 }, 'the time stamp counter here is 2300000 kHz, it was made with 2600000 kHz'],
])('assertCompatible refuses %j and says what is and what was wanted', (difference, words) => {
  expect(() => assertCompatible({ ...here, ...difference }, here)).toThrow(
    expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringContaining(words) }),
  );
});

test('readHostCpu names the processor', async () => {
  await expect(readHostCpu()).resolves.toMatch(/^.+ \(family \d+, model \d+, stepping \S+\)$/);
});
