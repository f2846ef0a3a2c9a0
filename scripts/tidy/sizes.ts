/** Files and functions that grew past the size at which a second noun, or a second verb, should move out. */
import ts from 'typescript';
import type { Finding, SourceFile } from './source-files.js';

const FILE_LIMITS: readonly { pattern: RegExp; lines: number }[] = [
  { pattern: /^(lib|scripts|benchmarks)\/.*\.ts$/, lines: 250 },
  { pattern: /^native\/.*\.(cc|c)$/, lines: 400 },
  { pattern: /^native\/.*\.h$/, lines: 200 },
];
const FUNCTION_LINES = 70;

interface Extent {
  /** Counted from 1. */
  firstLine: number;
  lines: number;
}

function functionsInTypeScript({ name, text }: SourceFile): Extent[] {
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest);
  const found: Extent[] = [];
  const lineOf = (position: number) => source.getLineAndCharacterOfPosition(position).line;
  function visit(node: ts.Node): void {
    if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
      const first = lineOf(node.getStart(source));
      found.push({ firstLine: first + 1, lines: lineOf(node.end) - first + 1 });
    }
    ts.forEachChild(node, visit);
  }
  visit(source);
  return found;
}

/** clang-format leaves a function's first line and its closing brace unindented, and nothing between them. */
function functionsInCpp({ text }: SourceFile): Extent[] {
  const found: Extent[] = [];
  let first = -1;
  text.split('\n').forEach((line, index) => {
    if (line === '}') {
      if (first >= 0) found.push({ firstLine: first + 1, lines: index - first + 1 });
      first = -1;
    } else if (/^[A-Za-z_]/.test(line)) {
      first = /^(namespace|class|struct|enum|union|extern|using)\b/.test(line) ? -1 : index;
    }
  });
  return found;
}

function functionsOf(file: SourceFile): Extent[] {
  if (/^(lib|scripts|benchmarks)\/.*\.ts$/.test(file.name)) return functionsInTypeScript(file);
  if (/^native\/.*\.(cc|c|h)$/.test(file.name)) return functionsInCpp(file);
  return [];
}

export function checkSizes(files: readonly SourceFile[]): Finding[] {
  return files.flatMap((file) => {
    const findings: Finding[] = functionsOf(file)
      .filter(({ lines }) => lines > FUNCTION_LINES)
      .map(({ firstLine, lines }) => ({
        file: `${file.name}:${firstLine}`,
        problem: `a function of ${lines} lines, ${FUNCTION_LINES} are the limit`,
      }));
    const limit = FILE_LIMITS.find(({ pattern }) => pattern.test(file.name))?.lines;
    const lines = file.text.split('\n').length - 1;
    if (limit !== undefined && lines > limit) {
      const problem = `${lines} lines, ${limit} are the limit: move a noun into a file of its own`;
      findings.push({ file: file.name, problem });
    }
    return findings;
  });
}
