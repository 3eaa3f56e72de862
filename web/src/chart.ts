// A history chart in the look of the page. Only the parts of ECharts that it uses are loaded.
import { LineChart, ScatterChart } from "echarts/charts";
import { DataZoomComponent, GridComponent, MarkAreaComponent, TooltipComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

import { ask } from "./base";
import { font, still, token } from "./theme";

echarts.use([LineChart, ScatterChart, GridComponent, TooltipComponent, MarkAreaComponent, DataZoomComponent,
  CanvasRenderer]);

type Sample = [at: number, value: number | null, low: number | null, high: number | null, suspect: boolean];

interface Series {
  label: string;
  share: boolean;
  begin: number;
  end: number;
  bucket: number;
  foretold: boolean;
  samples: Sample[];
  alerts: [from: number, to: number | null, severity: string, title: string][];
}

export interface LiveChart {
  add(at: number, value: number | null, suspect: boolean): void;
  close(): void;
}

/** Put a live chart over the drawn one, which stays when the series cannot be had. */
export async function liveChart(figure: HTMLElement): Promise<LiveChart | null> {
  const place = figure.querySelector<HTMLElement>(".chart-live");
  if (!place) throw new Error("no place for the chart");
  const answer = await ask(figure.dataset["chart"] ?? "");
  if (!answer) return null;
  const series = (await answer.json()) as Series;
  place.hidden = false;
  const chart = echarts.init(place, null, { renderer: "canvas" });
  const draw = (): void => chart.setOption(options(series, figure), { notMerge: true });
  draw();
  figure.querySelector("svg")?.setAttribute("aria-hidden", "true");
  const resize = new ResizeObserver(() => chart.resize());
  resize.observe(place);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", draw);
  return {
    add(at, value, suspect) {
      if (series.bucket || at <= (series.samples.at(-1)?.[0] ?? 0)) return;
      series.samples.push([at, value, value, value, suspect]);
      series.end = Math.max(series.end, at);
      draw();
    },
    close() {
      resize.disconnect();
      dark.removeEventListener("change", draw);
      chart.dispose();
    },
  };
}

function options(series: Series, figure: HTMLElement): echarts.EChartsCoreOption {
  const lang = document.documentElement.lang;
  const number = new Intl.NumberFormat(lang, { maximumFractionDigits: series.share ? 0 : 2,
    ...(series.share ? { style: "percent" as const } : {}) });
  const moment = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" });
  const text = { fontFamily: font(), color: token("brick"), fontSize: 12 };
  const indigo = token("indigo");
  const suspects = series.samples.filter(([, value, , , suspect]) => suspect && value !== null);
  return {
    useUTC: true, // times are the city's wall clock
    animation: !still, animationDuration: 150, textStyle: text,
    grid: { left: 8, right: 16, top: 16, bottom: 8, containLabel: true },
    xAxis: { type: "time", min: series.begin, max: series.end, axisLabel: { ...text, hideOverlap: true, formatter: times(lang) },
      axisLine: { lineStyle: { color: token("line") } }, splitLine: { show: false } },
    yAxis: { type: "value", scale: true, axisLabel: { ...text, formatter: (value: number) => number.format(value) },
      splitLine: { lineStyle: { color: token("line") } } },
    dataZoom: [{ type: "inside", zoomOnMouseWheel: "ctrl", filterMode: "none" }],
    tooltip: {
      trigger: "axis", renderMode: "richText", backgroundColor: token("surface"), borderColor: token("line"),
      textStyle: { ...text, color: token("ink"), fontSize: 13 }, axisPointer: { lineStyle: { color: token("brick") } },
      formatter: (shown: { data: unknown }[]) => tip(shown, series, figure, number, moment),
    },
    series: [
      ...(series.bucket || series.foretold ? band(series, indigo) : []),
      { type: "line", name: series.label, data: series.samples.map(([at, value]) => [at, value]), showSymbol: false,
        lineStyle: { color: indigo, width: 2, type: series.foretold ? "dashed" : "solid" }, itemStyle: { color: indigo }, connectNulls: false,
        markArea: { silent: true, data: [...gaps(series), ...alerts(series, text)] } },
      { type: "scatter", name: figure.dataset["suspect"], data: suspects.map(([at, value]) => [at, value]),
        symbolSize: 8, itemStyle: { color: token("surface"), borderColor: token("violet"), borderWidth: 2,
          borderType: "dotted" } },
    ],
  };
}

/** Where nothing came: hatched, as missing values are everywhere. */
function gaps(series: Series): object[][] {
  const found: object[][] = [];
  series.samples.forEach(([, value], n) => {
    const before = series.samples[n - 1];
    const after = series.samples[n + 1];
    if (value === null && before && after) {
      found.push([{ xAxis: before[0], itemStyle: { color: { image: hatch(), repeat: "repeat" } } }, { xAxis: after[0] }]);
    }
  });
  return found;
}

function alerts(series: Series, text: object): object[][] {
  const late = series.begin + 0.8 * (series.end - series.begin); // there the name would not fit to the right
  return series.alerts.filter(([, to]) => (to ?? series.end) > series.begin).map(([from, to, , title]) => [{
    xAxis: Math.max(from, series.begin), name: title, itemStyle: { color: token("vermilion"), opacity: 0.1 },
    label: { ...text, color: token("vermilion"), position: from > late ? "insideTopRight" : "insideTopLeft" },
  }, { xAxis: to ?? series.end }]);
}

function hatch(): HTMLCanvasElement {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const pen = tile.getContext("2d");
  if (pen) {
    pen.strokeStyle = token("brick");
    pen.globalAlpha = 0.45;
    for (const shift of [-8, 0, 8]) {
      pen.moveTo(shift, 8);
      pen.lineTo(shift + 8, 0);
    }
    pen.stroke();
  }
  return tile;
}

function times(lang: string): object {
  const [day, month] = lang.startsWith("zh") ? ["{M}月{d}日", "{yyyy}年{M}月"] : ["{d} {MMM}", "{MMM} {yyyy}"];
  return { year: "{yyyy}", month, day, hour: "{HH}:{mm}", minute: "{HH}:{mm}" };
}

/** Lowest to highest, as an invisible line with an area stacked on it. */
function band(series: Series, indigo: string): object[] {
  const common = { type: "line", stack: "band", symbol: "none", silent: true, lineStyle: { opacity: 0 } };
  return [
    { ...common, data: series.samples.map(([at, , low]) => [at, low]) },
    { ...common, data: series.samples.map(([at, , low, high]) => [at, low === null ? null : (high ?? low) - low]),
      areaStyle: { color: indigo, opacity: 0.16 } },
  ];
}

function tip(shown: { data: unknown }[], series: Series, figure: HTMLElement, number: Intl.NumberFormat,
  moment: Intl.DateTimeFormat): string {
  const at = (shown[0]?.data as [number])[0];
  const sample = series.samples.find(([when]) => when === at);
  if (!sample || sample[1] === null) return "";
  const [, value, low, high, suspect] = sample;
  const lines = [moment.format(at), `${series.bucket ? figure.dataset["mean"] : series.label}  ${number.format(value)}`];
  if ((series.bucket || series.foretold) && low !== null && high !== null) {
    lines.push(`${figure.dataset["range"]}  ${number.format(low)} – ${number.format(high)}`);
  }
  if (suspect) lines.push(figure.dataset["suspect"] ?? "");
  return lines.join("\n");
}
