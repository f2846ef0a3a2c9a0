/**
 * Proof of life for other processes: a unix socket that its owner listens on.
 *
 * The kernel answers for the owner. A connection succeeds exactly while the owner holds the socket (even when it is stopped
 * or busy), is refused from the moment the owner is gone, however it went, and a connection that stands breaks at that
 * moment. Unlike a process id in a file this cannot be taken for that of a later process, and it is true across containers
 * that share the folder. It is not true across machines: the folder must be on a filesystem that one machine uses.
 */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { link, open, readdir, rm } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { raceAbort } from './abort.js';
import { isSystemError } from './system-error.js';

/** `absent`: no such file. `dead`: nobody listens, provably. `alive`: everything else, also what cannot be told. */
export type BeaconState = 'alive' | 'dead' | 'absent';

const CLAIM_PREFIX = 'claim-';

/** A lit beacon. It does not keep the process running. */
export class Beacon {
  readonly #connections = new Set<Socket>();

  private constructor(
    /** The socket's path. */
    readonly path: string,
    private readonly server: Server,
  ) {
    server.on('connection', (socket) => {
      this.#connections.add(socket.unref());
      socket.on('error', () => {});
      socket.on('close', () => this.#connections.delete(socket));
    });
  }

  /**
   * Lights a beacon at `folder`/`name`, or returns undefined when the name is taken, by a dead beacon too. The name appears in
   * one step with somebody listening behind it, so nobody can see a beacon that is about to be lit and take it for dead.
   * Rejects with the system's own error.
   */
  static async light(folder: string, name: string): Promise<Beacon | undefined> {
    for (;;) {
      const claim = `${CLAIM_PREFIX}${randomUUID()}`;
      const beacon = new Beacon(join(folder, name), await listen(folder, claim));
      try {
        await link(join(folder, claim), beacon.path);
        return beacon;
      } catch (error) {
        beacon.leave();
        if (isSystemError(error, 'EEXIST')) return undefined;
        // Between binding and listening a claim looks dead, and `removeDeadClaims` may have taken it. A missing folder fails above.
        if (!isSystemError(error, 'ENOENT')) throw error;
      } finally {
        await rm(join(folder, claim), { force: true });
      }
    }
  }

  /** Stops listening and leaves the file, dead, where it is. */
  leave(): void {
    this.server.close();
    for (const socket of this.#connections) socket.destroy();
  }
}

async function listen(folder: string, name: string): Promise<Server> {
  const server = createServer();
  await withShortPath(folder, name, (path) => {
    return new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path, exclusive: true }, () => resolve());
    });
  });
  return server.unref();
}

/** Asks once. Rejects with the system's own error when the folder cannot be opened. */
export async function probeBeacon(folder: string, name: string): Promise<BeaconState> {
  try {
    const outcome = await connect(folder, name);
    if (typeof outcome === 'string') return outcome;
    outcome.destroy();
    return 'alive';
  } catch (error) {
    if (isSystemError(error) && error.syscall === 'connect') return 'alive';
    throw error;
  }
}

/** Resolves when the beacon is not, or no longer, alive. Rejects with `signal.reason`, or with the system's own error. */
export async function waitForBeaconEnd(folder: string, name: string, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  const socket = await connect(folder, name);
  if (typeof socket === 'string') return;
  try {
    const closed = new Promise<void>((resolve) => {
      if (socket.closed) resolve();
      else socket.once('close', () => resolve()).resume();
    });
    await raceAbort(closed, signal);
  } finally {
    socket.destroy();
  }
}

/** Removes what killed processes left of beacons that they were about to light. To be called under the folder's lock. */
export async function removeDeadClaims(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.startsWith(CLAIM_PREFIX) || (await probeBeacon(folder, name)) !== 'dead') continue;
    await rm(join(folder, name), { force: true });
  }
}

async function connect(folder: string, name: string): Promise<Socket | Exclude<BeaconState, 'alive'>> {
  return withShortPath(folder, name, async (path) => {
    const socket = createConnection(path);
    try {
      await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
      return socket.on('error', () => {});
    } catch (error) {
      socket.destroy();
      if (isSystemError(error, 'ENOENT')) return 'absent';
      if (isSystemError(error, 'ECONNREFUSED', 'ECONNRESET')) return 'dead'; // Reset: it went while we waited in its queue.
      throw error;
    }
  });
}

/** A socket's path holds 107 bytes at most; through a descriptor of its folder it is always short enough. */
async function withShortPath<Value>(
  folder: string,
  name: string,
  body: (path: string) => Promise<Value>,
): Promise<Value> {
  await using handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  return await body(`/proc/self/fd/${handle.fd}/${name}`);
}
