"use strict";
// The site: pages are drawn from data/*.js by what comes after the # of the address:
// nothing, layer/NAME, map/NAME/NUMBER, images, image/KEY.

const atlas = {layers: new Map(), index: null, waiting: new Map()};

// Every data file is a script that calls this: pages opened from the disk may not fetch.
atlas.take = (name, content) => {
  if (name === "") {
    atlas.index = content;
    for (const key of Object.keys(content.pictures)) content.pictures[key].key = Number(key);
    show();
  } else {
    content.byNumber = new Map(content.maps.map((one) => [one.map, one]));
    atlas.layers.set(name, content);
  }
};

function load(layer) {
  if (!atlas.waiting.has(layer.name)) {
    atlas.waiting.set(layer.name, new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = layer.data;
      script.onload = () => done(atlas.layers.get(layer.name));
      script.onerror = () => failed(new Error(`${layer.data} is missing`));
      document.head.append(script);
    }));
  }
  return atlas.waiting.get(layer.name);
}

// === Elements ===

function make(tag, properties, ...children) {
  const svg = ["svg", "rect", "text", "line", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const paint = (entries) => {
  for (const {isIntersecting, target} of entries) {
    if (!isIntersecting) continue;
    eyes.unobserve(target);
    const picture = new Image();
    picture.onload = () => { target.style.backgroundImage = `url("${picture.src}")`; target.classList.add("shown"); };
    picture.onerror = () => target.classList.add("missing");
    picture.src = target.dataset.file;
  }
};
const eyes = new IntersectionObserver(paint, {rootMargin: "300px"});

// One picture of a sheet; loaded when it comes near the window.
function sprite(sheet, column, row, label) {
  const [height, width] = sheet.tile;
  const across = sheet.columns * sheet.cell[1] / width, down = sheet.rows * sheet.cell[0] / height;
  const at = (number, cell, tile, all) => all === 1 ? 0 : 100 * number * cell / tile / (all - 1);
  const element = make("span", {
    class: Math.max(height, width) <= 32 ? "sprite crisp" : "sprite", role: "img", "aria-label": label,
    title: label, "data-file": sheet.file,
  });
  element.style.aspectRatio = `${width} / ${height}`;
  element.style.backgroundSize = `${100 * across}% ${100 * down}%`;
  element.style.backgroundPosition =
    `${at(column, sheet.cell[1], width, across)}% ${at(row, sheet.cell[0], height, down)}%`;
  eyes.observe(element);
  return element;
}

const link = (to, ...children) => make("a", {href: to}, ...children);
const toLayer = (name) => `#layer/${encodeURIComponent(name)}`;
const toMap = (name, number) => `#map/${encodeURIComponent(name)}/${number}`;
const toImage = (key) => `#image/${key}`;
const times = (sizes) => sizes.join(" × ");
const short = (value) => value === null ? "–" : Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
const percent = (share) => share === null ? "–" : share > 0 && share < 0.01 ? "under 1 %" : `${Math.round(100 * share)} %`;
const counted = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

function pictureName(key) {
  const [file, label] = atlas.index.pictures[key];
  return file || (label ? `${label}, image ${key}` : `image ${key}`);
}

const pictureFile = (key) => `images/${String(key).padStart(7, "0")}.jpg`;
const classOf = (key) => atlas.index.pictures[key][1];

// === Order and choice of maps ===

const ORDERS = {
  number: ["by number", (a, b) => a.map - b.map],
  strongest: ["strongest first", (a, b) => b.maximum - a.maximum],
  deadest: ["deadest first", (a, b) => a.firing - b.firing || a.mean - b.mean],
  selective: ["most class-selective first", (a, b) => (b.selectivity ?? -1) - (a.selectivity ?? -1)],
};
const VIEWS = {both: [0, 1], projections: [1], patches: [0]};
const choice = {order: "number", find: "", view: "both"};

function chosen(maps) {
  const words = choice.find.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (one) => words.every((word) => /^\d+$/.test(word) ? String(one.map) === word : text(one).includes(word));
  return maps.filter(fits).sort((a, b) => ORDERS[choice.order][1](a, b) || a.map - b.map);
}

// What a search for words looks at: classes and the images' names.
function text(one) {
  one.text ??= [...one.classes.map(([name]) => name), ...one.units.map(([key]) => atlas.index.pictures[key].join(" "))].join(" ").toLowerCase();
  return one.text;
}

function select(label, options, value, changed) {
  const list = Object.entries(options).map(([name, [words]]) => make("option", {value: name, selected: name === value}, words));
  return make("label", null, `${label} `, make("select", {onchange: (event) => changed(event.target.value)}, ...list));
}

function search(hint, changed) {
  const input = make("input", {type: "search", id: "search", placeholder: hint, "aria-label": hint, value: choice.find});
  input.addEventListener("input", () => { choice.find = input.value; changed(); });
  return input;
}

// === Pages ===

function overview() {
  const {title, images, layers, k} = atlas.index;
  const cards = layers.map((layer) => make("section", {class: "card"},
    make("h2", null, link(toLayer(layer.name), layer.name)),
    make("div", {class: "small soft"}, layerFacts(layer)),
    make("div", {class: "strip"}, ...layer.preview.map(({map, mosaics, column}) => make("a", {href: toMap(layer.name, map)},
      sprite(mosaics, column, 1, `${layer.name}, map ${map}: projections`))))));
  return [
    make("h1", null, title),
    make("p", {class: "lead"}, `What its feature maps look for: of ${counted(images, "image", "images")}, the ${k} that excite each map most, and what in them does.`),
    make("div", {class: "layers"}, ...cards),
  ];
}

function layerFacts({maps, shown, dead, size, field, jump, why}) {
  const some = shown < maps ? `the ${shown} strongest of ` : "";
  const sees = field && size.length ? `each unit sees ${times(field)} pixels, ${Math.max(...jump) > 1 ? `every ${times(jump)}` : "one by one"}` : why ? `shown with whole images. ${why}` : "each unit sees the whole image";
  const silent = dead ? `; ${dead} never ${dead === 1 ? "fires" : "fire"}` : "";
  return `${some}${counted(maps, "map", "maps")}${size.length ? ` of ${times(size)} units` : ""}; ${sees}${silent}`;
}

async function layerPage(layer) {
  const data = await load(layer);
  const grid = make("div", {class: "grid"}), count = make("span", {class: "soft", role: "status"});
  const fill = () => {
    const maps = chosen(data.maps);
    grid.className = choice.view === "both" ? "grid pair" : "grid";
    grid.replaceChildren(...maps.map((one) => tile(layer, data, one)));
    count.textContent = counted(maps.length, "map", "maps");
  };
  const change = (name) => (value) => { choice[name] = value; fill(); };
  fill();
  return [
    make("h1", null, layer.name),
    make("p", {class: "small soft"}, layerFacts(layer)),
    make("div", {class: "controls"},
      search("Number, class or image name", fill),
      select("Sort", ORDERS, choice.order, change("order")),
      select("Show", {both: ["both"], projections: ["projections"], patches: ["patches"]}, choice.view, change("view")),
      count),
    grid,
  ];
}

function tile(layer, data, one) {
  const label = (row) => `${layer.name}, map ${one.map}: ${row ? "projections" : "patches"}`;
  const pictures = one.sheet ? VIEWS[choice.view].map((row) => sprite(data.mosaics[one.mosaic[0]], one.mosaic[1], row, label(row))) : [make("span", {class: "silent"}, "never fires")];
  return make("a", {class: "tile", href: toMap(layer.name, one.map)},
    make("span", {class: "pictures"}, ...pictures),
    make("span", {class: "caption"}, make("b", null, String(one.map)), make("span", {class: "soft"}, tileNumber(one))),
    one.classes.length ? make("span", {class: "more", title: one.classes[0][0]}, one.classes[0][0]) : null);
}

function tileNumber(one) {
  if (choice.order === "deadest") return percent(one.firing);
  if (choice.order === "selective") return short(one.selectivity);
  return short(one.maximum);
}

async function mapPage(layer, number) {
  const data = await load(layer), one = data.byNumber.get(number);
  if (!one) return missing(`${layer.name} has no map ${number} here.`);
  const light = (rank, on) => document.querySelectorAll(`[data-rank="${rank}"]`).forEach((element) => element.classList.toggle("lit", on));
  const lights = (rank) => ({"data-rank": rank, onmouseenter: () => light(rank, true), onmouseleave: () => light(rank, false), onfocus: () => light(rank, true), onblur: () => light(rank, false)});
  const nine = (row, words) => make("figure", null,
    make("div", {class: "nine", style: `grid-template-columns: repeat(${Math.ceil(Math.sqrt(atlas.index.k))}, 1fr)`},
      ...one.units.map(([key, value], rank) => make("a", {href: toImage(key), ...lights(rank)},
        sprite(one.sheet, rank, row, `${words} ${rank + 1}: activation ${short(value)}, ${pictureName(key)}`)))),
    make("figcaption", null, row ? "Projections: what made it fire" : "Patches: what it saw"));
  const rows = one.units.map(([key, value, down, across], rank) => make("tr", lights(rank),
    make("td", {class: "soft"}, String(rank + 1)), make("td", {class: "number"}, short(value)),
    make("td", {style: "padding-left: 1rem"}, link(toImage(key), pictureName(key))),
    make("td", null, classOf(key)), make("td", {class: "soft"}, `${down}, ${across}`)));
  return [
    make("h1", null, `${layer.name} `, make("small", null, `map ${number}`)),
    one.sheet ? make("div", {class: "stimuli"}, nine(0, "Patch"), nine(1, "Projection")) : make("p", null, "This map never fires on these images."),
    make("div", {class: "columns"},
      make("section", null, make("h3", null, "Strongest units"), make("div", {class: "wide"}, make("table", null,
        make("thead", null, make("tr", null, ...["", "activation", "image", "class", "row, column"].map((name, at) => make("th", {class: at === 1 ? "number" : null, style: at === 2 ? "padding-left: 1rem" : null}, name)))),
        make("tbody", null, ...rows)))),
      make("section", null, make("h3", null, "Over all images"), histogram(one), make("p", {class: "small soft"}, overall(one)))),
  ];
}

function overall(one) {
  const fires = `Fires in ${percent(one.firing)} of the images; mean of their strongest activations ${short(one.mean)}, highest ${short(one.maximum)}. `;
  if (!one.classes.length || one.selectivity === null) return fires;
  const classes = one.classes.map(([name, mean]) => `${name} (${short(mean)})`).join(", ");
  return `${fires}Excited most by ${classes}; class selectivity ${short(one.selectivity)} of 1.`;
}

// How many images have their strongest activation in each range; logarithmic upwards.
function histogram({histogram: {start, width, counts}}) {
  const wide = 420, high = 130, left = 42, low = 18, most = Math.max(...counts, 1);
  const height = (count) => count ? 4 + (high - 14) * Math.log1p(count) / Math.log1p(most) : 0;
  const step = (wide - left) / counts.length, end = start + width * counts.length;
  const label = (x, y, anchor, words) => make("text", {x, y, "text-anchor": anchor}, words);
  const bars = counts.map((count, bin) => make("rect", {x: left + bin * step, y: high - height(count), width: Math.max(step - 1, .5), height: height(count)},
    make("title", null, `${short(start + bin * width)} to ${short(start + (bin + 1) * width)}: ${counted(count, "image", "images")}`)));
  return make("svg", {class: "histogram", viewBox: `0 0 ${wide} ${high + low}`, role: "img", "aria-label": `Histogram of the activation over the images, ${short(start)} to ${short(end)}`},
    make("line", {x1: left, x2: wide, y1: high, y2: high}), ...bars,
    label(left, high + 12, "start", short(start)), label(wide, high + 12, "end", short(end)), label((left + wide) / 2, high + 12, "middle", "activation"),
    label(left - 4, high, "end", "0"), label(left - 4, (high + 9) / 2, "end", "images"), label(left - 4, high - height(most) + 7, "end", most.toLocaleString("en")));
}

function imagesPage() {
  const grid = make("div", {class: "grid"}), all = Object.values(atlas.index.pictures).sort((a, b) => a.key - b.key);
  const fill = () => {
    const words = choice.find.toLowerCase().split(/\s+/).filter(Boolean);
    const found = all.filter((one) => words.every((word) => one.join(" ").toLowerCase().includes(word) || String(one.key) === word));
    grid.replaceChildren(...found.map(({key}) => make("a", {class: "tile", href: toImage(key)},
      make("img", {src: pictureFile(key), loading: "lazy", alt: pictureName(key)}),
      make("span", {class: "more"}, pictureName(key)))));
  };
  fill();
  return [make("h1", null, "Images"), make("p", {class: "small soft"}, `The ${all.length.toLocaleString("en")} images that are among the strongest of some map.`),
    make("div", {class: "controls"}, search("Class or image name", fill)), grid];
}

async function imagePage(key) {
  const [height, width] = atlas.index.size;
  if (!atlas.index.pictures[key]) return missing(`No map's strongest units are in image ${key}.`);
  await Promise.all(atlas.index.layers.map(load));
  const boxes = make("svg", {viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"});
  const scene = make("div", {class: "scene plain"}, make("img", {src: pictureFile(key), alt: pictureName(key)}), boxes);
  const sections = atlas.index.layers.map((layer) => {
    const tiles = firing(layer, key).map(({one, rank, unit}) => firingTile(layer, one, rank, unit, boxes));
    return tiles.length ? make("section", null, make("h3", null, link(toLayer(layer.name), layer.name)), make("div", {class: "grid pair"}, ...tiles)) : null;
  });
  return [make("h1", null, pictureName(key)), make("p", {class: "small soft"}, [classOf(key), `Image ${key} of the data set. It is among the ${atlas.index.k} strongest of these maps; point at one to see where.`].filter(Boolean).join(". ")),
    make("div", {class: "beside"}, scene, make("div", null, ...sections.filter(Boolean)))];
}

// The maps among whose strongest units this image has one, the strongest rank first.
function firing(layer, key) {
  const found = atlas.layers.get(layer.name).maps.flatMap((one) => one.units.map((unit, rank) => ({one, unit, rank})).filter(({unit}) => unit[0] === key));
  return found.sort((a, b) => a.rank - b.rank || a.one.map - b.one.map);
}

function firingTile(layer, one, rank, unit, boxes) {
  const [, value, , , top, left, bottom, right] = unit;
  const box = make("rect", {x: left, y: top, width: right - left, height: bottom - top});
  boxes.append(box);
  const light = (on) => () => box.classList.toggle("lit", on);
  return make("a", {class: "tile", href: toMap(layer.name, one.map), onmouseenter: light(true), onmouseleave: light(false), onfocus: light(true), onblur: light(false)},
    make("span", {class: "pictures"}, sprite(one.sheet, rank, 0, `What map ${one.map} of ${layer.name} saw`), sprite(one.sheet, rank, 1, `What made map ${one.map} of ${layer.name} fire`)),
    make("span", {class: "caption"}, make("b", null, `map ${one.map}`), make("span", {class: "soft"}, `no. ${rank + 1}, ${short(value)}`)));
}

const missing = (words) => [make("h1", null, "Not in this atlas"), make("p", null, words)];

// === Going from page to page ===

const place = () => {
  const [kind, name, number] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const layer = atlas.index.layers.find((one) => one.name === name);
  return {kind, name, number: Number(kind === "image" ? name : number), layer};
};

// What the arrow keys lead to: the neighbours in the order chosen.
function neighbours({kind, layer, number}) {
  const {layers, pictures} = atlas.index;
  if (kind === "map" && layer && atlas.layers.has(layer.name)) {
    const maps = atlas.layers.get(layer.name).maps, some = chosen(maps);
    const numbers = (some.some((one) => one.map === number) ? some : [...maps].sort(ORDERS[choice.order][1])).map((one) => one.map);
    return around(numbers, number, (one) => toMap(layer.name, one));
  }
  if (kind === "layer" && layer) return around(layers.map((one) => one.name), layer.name, toLayer);
  if (kind === "image") return around(Object.keys(pictures).map(Number), number, toImage);
  return {};
}

function around(list, here, address) {
  const at = list.indexOf(here);
  return {before: at > 0 ? address(list[at - 1]) : null, after: at >= 0 && at + 1 < list.length ? address(list[at + 1]) : null};
}

function above({kind, layer}) {
  if (kind === "map" && layer) return toLayer(layer.name);
  return kind === "image" ? "#images" : "#";
}

function paths(here) {
  const {kind, layer} = here, {before, after} = neighbours(here);
  document.getElementById("path").replaceChildren(
    link("#", "Overview"),
    ...atlas.index.layers.filter((one) => one === layer || kind === "layer").map((one) =>
      make("a", {href: toLayer(one.name), "aria-current": one === layer && kind === "layer" ? "page" : null}, one.name)),
    link("#images", "Images"),
    make("span", {class: "push"}),
    ...(before ? [make("a", {href: before, rel: "prev"}, "← previous")] : []),
    ...(after ? [make("a", {href: after, rel: "next"}, "next →")] : []));
}

function contents({kind, name, number, layer}) {
  if (!kind) return overview();
  if (kind === "images") return imagesPage();
  if (kind === "image") return imagePage(number);
  if (!layer) return missing(`There is no layer ${name}.`);
  return kind === "map" ? mapPage(layer, number) : layerPage(layer);
}

async function show() {
  const here = place(), address = location.hash, page = document.getElementById("page");
  let drawn;
  try { drawn = await contents(here); } catch (error) { drawn = missing(error.message); }
  if (location.hash !== address) return;  // somebody was faster than the data
  page.replaceChildren(...drawn.filter(Boolean));
  paths(here);
  document.title = `${page.querySelector("h1").textContent}: atlas of ${atlas.index.title}`;
  document.body.dataset.page = here.kind || "overview";
  const before = atlas.scrolled?.get(address);
  window.scrollTo(0, before ?? 0);
}

const scrolls = atlas.scrolled = new Map();
let leaving = location.hash;
window.addEventListener("scroll", () => scrolls.set(leaving, window.scrollY), {passive: true});
window.addEventListener("hashchange", () => {
  if (location.hash.startsWith("#images")) choice.find = "";
  leaving = location.hash;
  if (atlas.index) show();
});

window.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !atlas.index) return;
  const field = document.activeElement;
  if (["INPUT", "SELECT"].includes(field.tagName)) { if (event.key === "Escape") field.blur(); return; }
  const here = place(), {before, after} = neighbours(here);
  const keys = {ArrowLeft: () => before && (location.hash = before), ArrowRight: () => after && (location.hash = after),
    u: () => (location.hash = above(here)), o: () => (location.hash = "#"), "/": () => document.getElementById("search")?.focus(), v: turn};
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
});

// The next of the three ways to show a layer.
function turn() {
  const views = Object.keys(VIEWS);
  choice.view = views[(views.indexOf(choice.view) + 1) % views.length];
  if (document.body.dataset.page === "layer") show();
}
