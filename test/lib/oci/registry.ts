/** A registry on this machine that serves one image layout, and makes skopeo willing to use it. */
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { makeScratch } from '../../helpers/temporary.js';
import { readJson, type TestDescriptor } from './layouts.js';

export interface TestRegistry {
  /** "127.0.0.1:PORT". */
  host: string;
  requests: string[];
}

/** Serves the layout's images as HOST/image, by tag and digest. `hang` never answers a request for a layer. */
export async function startRegistry(layout: string, { hang = false } = {}): Promise<TestRegistry> {
  const { manifests } = (await readJson(join(layout, 'index.json'))) as { manifests: TestDescriptor[] };
  const requests: string[] = [];
  const server: Server = createServer(async (request, response) => {
    requests.push(request.url ?? '');
    const [, kind, name = ''] = /^\/v2\/image\/(manifests|blobs)\/(.+)$/.exec(request.url ?? '') ?? [];
    if (request.url === '/v2/') return response.end('{}');
    const entry = manifests.find(
      (each) => each.digest === name || Object.values(each.annotations ?? {}).includes(name),
    );
    const digest = kind === 'manifests' ? entry?.digest : name;
    const body =
      digest && (await readFile(join(layout, 'blobs', ...digest.split(':'))).catch(() => undefined));
    if (!body) return response.writeHead(404).end('{}');
    if (hang && body.subarray(0, 2).equals(Buffer.from([0x1f, 0x8b]))) return undefined;
    const type = kind === 'manifests' ? entry?.mediaType : 'application/octet-stream';
    const headers = { 'content-type': type, 'content-length': body.length, 'docker-content-digest': digest };
    return response.writeHead(200, headers).end(request.method === 'HEAD' ? undefined : body);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const home = await makeScratch();
  await mkdir(join(home, '.config', 'containers'), { recursive: true });
  const settings = join(home, '.config', 'containers', 'registries.conf');
  await writeFile(settings, `[[registry]]\nlocation = "${host}"\ninsecure = true\n`);
  vi.stubEnv('HOME', home);
  onTestFinished(() => void vi.unstubAllEnvs());
  return { host, requests };
}
