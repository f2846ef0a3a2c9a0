/** Which builds need which: whose disk or memory has data in whose. */
import { isRootloomError } from '../errors.js';
import type { Store } from '../storage/store.js';
import { type BuildCallOptions, openBuild } from './build.js';

/** What the builds of a store need, as of the last `update`. */
export class Dependencies {
  /** Each build with all those that its headers refer to. */
  readonly #needs = new Map<string, ReadonlySet<string>>();

  constructor(private readonly store: Store) {}

  /**
   * Brings it up to date: reads the headers of the builds that appeared since the last time, which are all of them the first time,
   * and forgets those that have gone. Builds never change, so nothing is read twice.
   *
   * Rejects with CORRUPT or UNSUPPORTED when a build cannot be read, for then nobody knows what it needs; IO; `signal.reason`.
   *
   * @param except A build that may be damaged: what it needs is not read.
   */
  async update({ except, signal }: BuildCallOptions & { except?: string | undefined } = {}): Promise<void> {
    const there = new Set(await this.store.listBuilds({ signal }));
    for (const id of this.#needs.keys()) if (!there.has(id)) this.#needs.delete(id);
    for (const id of there) {
      signal?.throwIfAborted();
      if (id === except || this.#needs.has(id)) continue;
      const needs = await readNeeds(this.store, id, signal);
      if (needs !== undefined) this.#needs.set(id, needs);
    }
  }

  /** The builds that a build needs. */
  of(id: string): ReadonlySet<string> {
    return this.#needs.get(id) ?? new Set();
  }

  /** The builds that need a build, sorted. */
  on(id: string): string[] {
    return [...this.#needs]
      .filter(([, needs]) => needs.has(id))
      .map(([other]) => other)
      .sort();
  }
}

/** Undefined for a build that has just been removed. */
async function readNeeds(
  store: Store,
  id: string,
  signal: AbortSignal | undefined,
): Promise<ReadonlySet<string> | undefined> {
  try {
    const build = await openBuild(store, id, { signal });
    const hasMemory = (await store.listObjects(id)).has('memfile.header');
    const memory = hasMemory ? await build.ancestors('memfile') : [];
    return new Set([...(await build.ancestors('rootfs')), ...memory]);
  } catch (error) {
    if (isRootloomError(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}
