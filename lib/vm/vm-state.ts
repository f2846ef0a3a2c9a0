/** Device state on its way between QEMU and a file: QEMU's migration stream, without the memory, over a unix socket. */
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { RootloomError } from '../errors.js';
import { raceAbort } from '../util/abort.js';
import { withSystemErrors } from '../util/system-error.js';
import { withDeadline } from './deadline.js';
import type { QmpClient, QmpEvent } from './qmp.js';
import { SocketListener } from './socket-listener.js';

const TRANSFER_TIMEOUT_MS = 60_000;

/** Memory in a file that others can see stays out of the stream, and ends of transfers are told as events. */
const CAPABILITIES = ['x-ignore-shared', 'events'];

/** To be called once on every new machine, before it is saved or loaded. */
export async function prepareTransfers(qmp: QmpClient, signal?: AbortSignal): Promise<void> {
  const capabilities = CAPABILITIES.map((capability) => ({ capability, state: true }));
  await qmp.execute('migrate-set-capabilities', { capabilities }, { signal });
}

/** Writes the state of a machine at rest to a new file. On failure or abort the machine is at rest as before; the file may exist. */
export async function saveState(
  qmp: QmpClient,
  stateFile: string,
  socketPath: string,
  signal?: AbortSignal,
): Promise<void> {
  const operation = 'save the state of the virtual machine';
  await transfer(qmp, operation, signal, async (deadline, completed) => {
    using listener = await SocketListener.open(socketPath);
    try {
      await qmp.execute('migrate', { uri: `unix:${socketPath}` }, { signal: deadline });
      const socket = await raceAbort(listener.connection, deadline, (late) => void late.destroy());
      const file = createWriteStream(stateFile, { flags: 'wx' });
      await withSystemErrors('write', stateFile, () => pipeline(socket, file, { signal: deadline }));
      await completed;
    } catch (error) {
      await qmp.execute('migrate_cancel').catch(() => {}); // No transfer under way, or no QEMU.
      throw error;
    }
  });
}

/** Loads a state into a machine that waits for one. On failure the machine has to be ended; QEMU does so by itself. */
export async function loadState(
  qmp: QmpClient,
  stateFile: string,
  socketPath: string,
  signal?: AbortSignal,
): Promise<void> {
  const operation = 'load the state of the virtual machine';
  await transfer(qmp, operation, signal, async (deadline, completed) => {
    const state = await withSystemErrors('read', stateFile, () => readFile(stateFile, { signal: deadline }));
    await qmp.execute('migrate-incoming', { uri: `unix:${socketPath}` }, { signal: deadline });
    // A QEMU that refuses the state hangs up on us; why is in the event, or in its last words.
    const socket = connect(socketPath).on('error', () => {});
    socket.end(state);
    try {
      await raceAbort(completed, deadline);
    } finally {
      socket.destroy();
    }
  });
}

/** Runs a transfer with its deadline. `completed` settles with QEMU's word on it. */
async function transfer(
  qmp: QmpClient,
  operation: string,
  signal: AbortSignal | undefined,
  body: (deadline: AbortSignal, completed: Promise<void>) => Promise<void>,
): Promise<void> {
  const timeoutMs = TRANSFER_TIMEOUT_MS;
  const message = `Cannot ${operation}: it has not ended in ${timeoutMs} ms`;
  const makeError = () => new RootloomError('VM_FAILED', message, { operation });
  let unfollow = () => {};
  const completed = new Promise<void>((resolve, reject) => {
    unfollow = qmp.onEvent(({ event, data }: QmpEvent) => {
      if (event !== 'MIGRATION') return;
      if (data.status === 'completed') resolve();
      if (data.status === 'failed') void describeFailure(qmp, operation).then(reject);
    });
    void qmp.ended.then(() => describeFailure(qmp, operation)).then(reject);
  });
  completed.catch(() => {}); // Also when the body has failed first.
  try {
    await withDeadline({ signal, timeoutMs }, makeError, (deadline) => body(deadline, completed));
  } finally {
    unfollow();
  }
}

async function describeFailure(qmp: QmpClient, operation: string): Promise<unknown> {
  try {
    const status = (await qmp.execute('query-migrate')) as { 'error-desc'?: string };
    const reason = status['error-desc'] ?? 'QEMU gave no reason';
    return new RootloomError('VM_FAILED', `Cannot ${operation}: ${reason}`, { operation });
  } catch (error) {
    return error;
  }
}
