/** Ownership of one native object: running calls are counted, and close waits for them. */
import { RootloomError } from '../errors.js';
import type { NativeCall } from './addon.js';
import { runNative } from './call.js';

/**
 * Holds a native handle until `close`.
 *
 * `close` is idempotent: it refuses new calls at once (they reject with CLOSED), waits for those that run, and then
 * releases the handle. Every call of `close` resolves when the release is done, or rejects with its error.
 */
export class OwnedHandle<Handle> {
  #handle: Handle | undefined;
  #running = 0;
  #idle: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    handle: Handle,
    private readonly what: string,
    private readonly release: (handle: Handle) => void | Promise<void>,
  ) {
    this.#handle = handle;
  }

  /** True from the first call of `close` on. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** The handle, for a call that answers at once. */
  get value(): Handle {
    if (this.#handle === undefined || this.closed) {
      throw new RootloomError('CLOSED', `Cannot use the ${this.what}: it is closed, open it again`);
    }
    return this.#handle;
  }

  /** Runs a native call on the handle, counted so that close waits for it. */
  async run<Value>(
    start: (handle: Handle) => NativeCall<Value>,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<Value> {
    return this.use((handle) => runNative(() => start(handle), options));
  }

  /**
   * The same, for a call that may be stuck in its device for long: an abort is answered all the same, and what is left of
   * the call counts as running until it has ended, and `discard` gets the value that nobody will receive, to release it.
   */
  async runLong<Value>(
    start: (handle: Handle) => NativeCall<Value>,
    options: { signal?: AbortSignal | undefined } = {},
    discard: (value: Value) => void | Promise<void> = () => {},
  ): Promise<Value> {
    const adopt = (rest: Promise<Value>) => {
      void this.use(() => rest.then(discard)).catch(() => {});
    };
    return this.use((handle) => runNative(() => start(handle), options, adopt));
  }

  /** Keeps the handle open while an asynchronous function uses it. */
  async use<Value>(body: (handle: Handle) => Promise<Value>): Promise<Value> {
    const handle = this.value;
    this.#running += 1;
    try {
      return await body(handle);
    } finally {
      this.#running -= 1;
      if (this.#running === 0) this.#idle?.();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#running > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    const handle = this.#handle as Handle;
    this.#handle = undefined;
    await this.release(handle);
  }
}
