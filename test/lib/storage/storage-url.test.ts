import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { parseStorageUrl } from '../../../lib/storage/storage-url.js';

test.each([
  ['file:///srv/store', '/srv/store'],
  ['file:///srv/a%20b/', '/srv/a b'],
  ['file:/srv/store', '/srv/store'],
  ['file:some/store', resolve('some/store')],
  ['FILE:store', resolve('store')],
  ['/srv/a%20b', '/srv/a%20b'],
  ['./with:colon', resolve('with:colon')],
  ['some/store', resolve('some/store')],
])('parseStorageUrl reads %s', (text, path) => {
  expect(parseStorageUrl(text)).toEqual({ kind: 'file', path });
});

test.each([
  '',
  'file:',
  'file://',
  'file://host/path',
  'file:///a?b=c',
  'file:a?b',
  'file:///a#b',
  'file:///%zz',
])('parseStorageUrl refuses "%s"', (text) => {
  expect(() => parseStorageUrl(text)).toThrow(TypeError);
});

test.each(['gs://bucket', 's3://bucket?region=x', 'azblob://container', 'http://host/', 'debian:12'])(
  'parseStorageUrl does not support %s, and says what is',
  (text) => {
    expect(() => parseStorageUrl(text)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    expect(() => parseStorageUrl(text)).toThrow(/file:\/\/\/absolute/);
  },
);

test.each([
  's3://key:hunter2@bucket',
  'file://me:hunter2@/path',
  'ftp://hunter2@host',
  's3://b?token=hunter2',
  'file:///a?t=hunter2',
])('parseStorageUrl never repeats the secret in %s', (text) => {
  expect(() => parseStorageUrl(text)).toThrow(expect.not.stringContaining('hunter2'));
});
