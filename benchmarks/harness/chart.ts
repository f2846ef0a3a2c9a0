/** A bar chart of a benchmark: one group of bars a point, one colour a peer, whiskers from the least to the most. */
import { parse, View } from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import type { PointResult, Unit } from './point.js';

/** Points of one unit share an axis. Where figures are more than this many times apart, it is logarithmic. */
const LINEAR_RANGE = 50;

function chartSpec(title: string, unit: Unit, points: readonly PointResult[]): TopLevelSpec {
  const values = points.flatMap(({ name, peers }) =>
    peers.map(({ peer, median, least, most }) => ({ point: name, peer, median, least, most })),
  );
  const medians = values.map(({ median }) => median);
  const isWide = Math.max(...medians) > LINEAR_RANGE * Math.min(...medians) && Math.min(...medians) > 0;
  const scale = isWide ? { type: 'log' as const } : { zero: true };
  const peers = [...new Set(values.map(({ peer }) => peer))];
  const y = { field: 'peer', type: 'nominal' as const, sort: peers, title: null };
  return {
    title,
    data: { values },
    facet: {
      row: {
        field: 'point',
        type: 'nominal',
        sort: null,
        title: null,
        header: { labelAngle: 0, labelAlign: 'left' },
      },
    },
    spec: {
      width: 520,
      layer: [
        {
          // A logarithmic axis has no zero for a bar to stand on.
          mark: isWide ? { type: 'point' as const, filled: true, size: 90 } : ('bar' as const),
          encoding: {
            y,
            x: { field: 'median', type: 'quantitative', title: unit, scale },
            color: { field: 'peer', type: 'nominal', sort: peers, legend: null },
          },
        },
        {
          mark: 'rule' as const,
          encoding: { y, x: { field: 'least', type: 'quantitative', scale }, x2: { field: 'most' } },
        },
      ],
    },
    config: { background: 'white' },
  };
}

/** The chart as SVG, one for each unit among the points. */
export async function drawCharts(title: string, points: readonly PointResult[]): Promise<Map<Unit, string>> {
  const charts = new Map<Unit, string>();
  for (const unit of new Set(points.map((point) => point.unit))) {
    const ofUnit = points.filter((point) => point.unit === unit);
    const view = new View(parse(compile(chartSpec(title, unit, ofUnit)).spec), { renderer: 'none' });
    charts.set(unit, `${await view.toSVG()}\n`);
    view.finalize();
  }
  return charts;
}
