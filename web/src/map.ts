// The live map: districts and things from this server alone; no tiles, no glyphs, nothing from outside.
import "maplibre-gl/dist/maplibre-gl.css";
import {
  type GeoJSONSource, type MapGeoJSONFeature, type MapMouseEvent, Map, NavigationControl, setWorkerUrl,
  type StyleSpecification,
} from "maplibre-gl";
import worker from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";

import { ask } from "./base";
import type { Change, State } from "./live";
import { point, ring } from "./marks";
import { STATES, font, onTheme, still, token } from "./theme";

setWorkerUrl(worker);

type Point = GeoJSON.Feature<GeoJSON.Point, { id: string; state: State; colour: string }>;

interface Placed {
  point: [number, number];
  state: State;
  colour: string;
}

export interface LiveMap {
  change(change: Change): void;
  choose(id: string, fly: boolean): void;
}

/** Put a live map over the drawn one, which stays when its things cannot be had. `chosen` is called with the id of a thing that was picked, or "". */
export async function liveMap(frame: HTMLElement, chosen: (id: string) => void): Promise<LiveMap | null> {
  const place = frame.querySelector<HTMLElement>(".map-live");
  if (!place) throw new Error("no place for the map");
  const lang = document.body.dataset["lang"] === "en" ? "en" : "zh";
  const outlines = await ask(frame.dataset["districts"] ?? "");
  if (!outlines) return null;
  const districts = (await outlines.json()) as GeoJSON.FeatureCollection;
  const things: Record<string, Placed> = {};

  const points = (): GeoJSON.FeatureCollection<GeoJSON.Point> => ({
    type: "FeatureCollection",
    features: Object.entries(things).map(([id, { point: coordinates, state, colour }]): Point => ({
      type: "Feature", geometry: { type: "Point", coordinates }, properties: { id, state, colour },
    })),
  });

  const placed = await ask(frame.dataset["map"] ?? "");
  if (!placed) return null;
  const answer = (await placed.json()) as { things: [id: string, lon: number, lat: number, state: State, colour: string][] };
  for (const [id, lon, lat, state, colour] of answer.things) things[id] = { point: [lon, lat], state, colour };

  place.hidden = false;
  const box = (frame.dataset["box"] ?? "").split(",").map(Number) as [number, number, number, number];
  const map = new Map({
    container: place, style: style(districts, points(), lang), bounds: box, fitBoundsOptions: { padding: 12 },
    attributionControl: false, localIdeographFontFamily: font(), dragRotate: false, pitchWithRotate: false, maxZoom: 17, fadeDuration: 0,
    locale: lang === "zh" ? {
      "NavigationControl.ZoomIn": "放大", "NavigationControl.ZoomOut": "缩小", "Map.Title": "可移动的地图",
    } : { "Map.Title": "Movable map" },
  });
  map.touchZoomRotate.disableRotation();
  map.addControl(new NavigationControl({ showCompass: false }), "top-right");
  map.setMissingStyleImageResolver((id) => {
    const [kind, ...rest] = id.split(" ");
    const mark = kind === "ring" ? ring(rest.map(Number)) : point(rest[0] as State, rest.includes("chosen"), rest.find((one) => one.startsWith("#")));
    map.addImage(id, mark.image, { pixelRatio: mark.ratio });
  });
  const source = (): GeoJSONSource | undefined => map.getSource<GeoJSONSource>("things");
  const pick = (id: string): void => {
    if (map.getLayer("chosen")) map.setFilter("chosen", ["==", ["get", "id"], id]);
    chosen(id);
  };

  map.on("click", (event: MapMouseEvent) => {
    const hit = map.queryRenderedFeatures(event.point, { layers: ["points", "rings"] })[0];
    if (!hit) return pick("");
    if (hit.layer.id === "points") return pick(String(hit.properties["id"]));
    void open(hit);
  });
  async function open(cluster: MapGeoJSONFeature): Promise<void> {
    const zoom = await source()?.getClusterExpansionZoom(Number(cluster.properties["cluster_id"]));
    const { coordinates } = cluster.geometry as GeoJSON.Point;
    map.easeTo({ center: coordinates as [number, number], zoom: zoom ?? map.getZoom() + 2, animate: !still,
      duration: 150 });
  }
  for (const layer of ["points", "rings"]) {
    map.on("mouseenter", layer, () => { map.getCanvas().style.cursor = "pointer"; });
    map.on("mouseleave", layer, () => { map.getCanvas().style.cursor = ""; });
  }
  onTheme(() => map.setStyle(style(districts, points(), lang)));
  await new Promise<void>((ready) => { map.once("load", () => ready()); });
  frame.querySelector<SVGElement>(".drawn-map")?.setAttribute("aria-hidden", "true");

  return {
    change(change) {
      let moved = false;
      for (const id of change.gone) {
        moved ||= id in things;
        delete things[id];
      }
      for (const { id, type, point, state, colour } of change.things) {
        const before = things[id];
        const same = before?.state === state && before.colour === colour && String(before.point) === String(point);
        if (!point || same || type !== frame.dataset["kind"]) continue;
        things[id] = { point, state, colour };
        moved = true;
      }
      if (moved) void source()?.setData(points());
    },
    choose(id, fly) {
      const at = things[id]?.point;
      pick(id);
      if (at && fly) map.easeTo({ center: at, zoom: Math.max(map.getZoom(), 12), animate: !still, duration: 150 });
    },
  };
}

function style(districts: GeoJSON.FeatureCollection, things: GeoJSON.FeatureCollection,
  lang: "zh" | "en"): StyleSpecification {
  const counts = Object.fromEntries(STATES.map((state): [string, unknown] =>
    [state, ["+", ["case", ["==", ["get", "state"], state], 1, 0]]]));
  const ringName = ["concat", "ring", ...STATES.flatMap((state) => [" ", ["to-string", ["get", state]]])];
  const order = ["match", ["get", "state"], ...STATES.flatMap((state, n) => [state, STATES.length - n]), 0];
  return {
    version: 8,
    sources: {
      districts: { type: "geojson", data: districts },
      names: { type: "geojson", data: labels(districts) },
      things: { type: "geojson", data: things, cluster: true, clusterRadius: 38, clusterMaxZoom: 13,
        clusterProperties: counts },
    },
    layers: [
      { id: "ground", type: "background", paint: { "background-color": token("paper") } },
      { id: "land", type: "fill", source: "districts", paint: { "fill-color": token("land") } },
      { id: "edge", type: "line", source: "districts", paint: { "line-color": token("land-line"), "line-width": 1 } },
      { id: "names", type: "symbol", source: "names", layout: { "text-field": ["get", lang], "text-size": 13,
        "text-font": ["sans-serif"], "text-variable-anchor": ["center", "top", "bottom", "left", "right"],
        "text-radial-offset": 1.4 }, paint: { "text-color": token("brick"), "text-halo-color": token("land"),
        "text-halo-width": 1.5 } },
      { id: "rings", type: "symbol", source: "things", filter: ["has", "point_count"],
        layout: { "icon-image": ringName as never, "icon-allow-overlap": true } },
      { id: "points", type: "symbol", source: "things", filter: ["!", ["has", "point_count"]],
        layout: { "icon-image": ["concat", "point ", ["get", "state"], " ", ["get", "colour"]], "icon-allow-overlap": true, "icon-ignore-placement": true,
          "symbol-sort-key": order as never } },
      { id: "chosen", type: "symbol", source: "things", filter: ["==", ["get", "id"], ""],
        layout: { "icon-image": ["concat", "point ", ["get", "state"], " ", ["get", "colour"], " chosen"], "icon-allow-overlap": true, "icon-ignore-placement": true } },
    ],
  } as StyleSpecification;
}

function labels(districts: GeoJSON.FeatureCollection): GeoJSON.FeatureCollection {
  return { type: "FeatureCollection", features: districts.features.map((feature) => ({
    type: "Feature", properties: feature.properties,
    geometry: { type: "Point", coordinates: feature.properties?.["label"] as [number, number] } })) };
}
