/**
 * Works through the items in their order, on so many at once. When one fails the others go on to their end. Rejects then with
 * its error, or with an AggregateError of all when it was not the only one.
 */
export async function inLanes<Item>(
  items: readonly Item[],
  lanes: number,
  body: (item: Item) => Promise<void>,
): Promise<void> {
  const errors: unknown[] = [];
  const waiting = items.values(); // All lanes take from it.
  const work = async () => {
    for (const item of waiting) await body(item).catch((error: unknown) => errors.push(error));
  };
  await Promise.all(Array.from({ length: lanes }, work));
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, `${errors.length} of ${items.length} have failed`);
}
