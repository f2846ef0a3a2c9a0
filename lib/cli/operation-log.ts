/** Shows every operation that the kernel asks of a disk, on standard error. */
import { createLoggingDevice, type Device, type LoggedOperation, type LoggingDevice } from '../index.js';
import { toJson } from './output.js';

const INTERVAL_MS = 100;

/** Between two looks at most; what is beyond is counted and not shown. */
const CAPACITY = 100_000;

/** "write 4096+8192 durable: errno 28". */
function operationText({ operation, offset, length, durable, errno }: LoggedOperation): string {
  const range = operation === 'flush' ? '' : ` ${offset}+${length}`;
  return `${operation}${range}${durable ? ' durable' : ''}${errno === 0 ? '' : `: errno ${errno}`}`;
}

/** Takes its lines from a logging device, which is served by threads that never wait for it. */
export class OperationLog implements AsyncDisposable {
  #device: LoggingDevice | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly json: boolean) {}

  /** The device to use in place of the disk. Once. */
  watch(disk: Device): Device {
    this.#device = createLoggingDevice(disk, { logCapacity: CAPACITY });
    this.#timer = setInterval(() => this.#show(), INTERVAL_MS).unref();
    return this.#device;
  }

  /** Shows the rest; to be called when nothing uses the device any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#show();
    await this.#device?.close();
    this.#device = undefined;
  }

  #show(): void {
    const { operations = [], missed = 0 } = this.#device?.takeLog() ?? {};
    const lines = operations.map((operation) =>
      this.json ? toJson({ operation }) : operationText(operation),
    );
    if (missed > 0)
      lines.unshift(this.json ? toJson({ missed }) : `${missed} operations were too many to show`);
    if (lines.length > 0) process.stderr.write(`${lines.join('\n')}\n`);
  }
}
