/** execa, loaded when the first program is to be run: that takes a fifth of a command's start, and most commands run none. */

export async function loadExeca() {
  return (await import('execa')).execa;
}
