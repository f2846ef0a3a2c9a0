/** Where other programs are started: by execa, which takes a fifth of a command's start to load, and which most never need. */

export async function loadExeca() {
  return (await import('execa')).execa;
}
