import { expect, test } from 'vitest';
import { formatPlatform, hostPlatform, parsePlatform, rankPlatform } from '../../../lib/oci/platform.js';
import { parseImageReference } from '../../../lib/oci/reference.js';

const digest = `sha256:${'0'.repeat(64)}`;

test.each([
  ['oci:a/b', { kind: 'layout', path: 'a/b' }],
  ['oci:/a/b:latest', { kind: 'layout', path: '/a/b', selector: { tag: 'latest' } }],
  ['oci:a:library/debian:12', { kind: 'layout', path: 'a', selector: { tag: 'library/debian:12' } }],
  [`oci:a@${digest}`, { kind: 'layout', path: 'a', selector: { digest } }],
  ['oci-archive:a.tar:x', { kind: 'archive', path: 'a.tar', selector: { tag: 'x' } }],
  ['docker://debian', { kind: 'registry', name: 'debian' }],
  [
    `docker://host.example:5000/a/b:1.2@${digest}`,
    { kind: 'registry', name: `host.example:5000/a/b:1.2@${digest}` },
  ],
  ['images/debian', { kind: 'layout', path: 'images/debian' }],
  ['./with:colon', { kind: 'layout', path: './with:colon' }],
  ['/a:b', { kind: 'layout', path: '/a:b' }],
])('parseImageReference reads %s', (text, reference) => {
  expect(parseImageReference(text)).toEqual(reference);
});

test.each([
  '',
  'oci:',
  'oci::tag',
  'oci:a:',
  'docker:',
  'docker:debian',
  'docker://',
  'docker://-x',
  'docker://me:pw@host/a',
])('parseImageReference refuses "%s"', (text) => {
  expect(() => parseImageReference(text)).toThrow(TypeError);
});

test.each(['debian:12', 'docker-daemon:x', 'dir:a', 'https://host/x'])(
  'parseImageReference does not support %s',
  (text) => {
    expect(() => parseImageReference(text)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
  },
);

test('parsePlatform reads what formatPlatform writes', () => {
  for (const text of ['linux/amd64', 'linux/arm/v7', 'linux/386'])
    expect(formatPlatform(parsePlatform(text))).toBe(text);
  for (const text of ['', 'amd64', 'linux/', 'linux/a/b/c'])
    expect(() => parsePlatform(text)).toThrow(TypeError);
  expect(() => parsePlatform('windows/amd64')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
  expect(hostPlatform().os).toBe('linux');
});

test('rankPlatform prefers the usual variant, takes older ones, and obeys a wish', () => {
  const rank = (offered: string, wanted: string) =>
    rankPlatform(parsePlatform(offered), parsePlatform(wanted));
  expect(rank('linux/amd64', 'linux/arm64')).toBeUndefined();
  expect(rank('linux/arm64', 'linux/arm64/v8')).toBe(rank('linux/arm64/v8', 'linux/arm64'));
  expect(rank('linux/amd64/v3', 'linux/amd64')).toBeUndefined();
  expect(rank('linux/amd64/v3', 'linux/amd64/v3')).toBeDefined();
  expect(rank('linux/arm/v6', 'linux/arm')).toBeGreaterThan(rank('linux/arm/v5', 'linux/arm') ?? 0);
  expect(rank('linux/arm/v7', 'linux/arm')).toBeGreaterThan(rank('linux/arm/v6', 'linux/arm') ?? 0);
  expect(rank('linux/arm/v6', 'linux/arm/v7')).toBeUndefined();
});
