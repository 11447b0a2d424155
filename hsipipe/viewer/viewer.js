"use strict";
/* The viewer of hsipipe. It reads scenes from script elements of this page and loads nothing.
   Text of a scene reaches the page as textContent alone, never as markup. */
(() => {
  const SEQUENTIAL = ["#000004", "#1d1147", "#51127c", "#832681", "#b73779", "#e75263", "#fc8961", "#fec488", "#fcfdbf"];
  const DIVERGING = ["#7f2f00", "#d55e00", "#f2b27c", "#f7f7f7", "#7fb8dc", "#0072b2", "#003f66"];
  const MISSING = [128, 128, 128];

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") element.className = value;
      else if (value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };
  let fields = 0;
  const field = (label, control, kind = "") => {
    control.id = `viewer-field-${fields++}`;
    return make("div", { class: `field ${kind}` }, make("label", { for: control.id }, label), control);
  };
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const show = (value, digits = 3) => (Number.isFinite(value) ? String(Number(value.toPrecision(digits))) : "n/a");

  /* The inverse of hsipipe/viewer/packing.py. */
  async function unpack(text, count, height, width) {
    const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
    const data = new Uint8Array(await new Response(stream).arrayBuffer());
    const size = height * width;
    const planes = [];
    let place = 2 * count;
    for (let k = 0; k < count; k++) {
      const [code, deep] = [data[2 * k], data[2 * k + 1]];
      const values = new Int32Array(size);
      for (let byte = 0; byte < deep; byte++)
        for (let i = 0; i < size; i++) values[i] |= data[place++] << (8 * byte);
      for (let i = 0; i < size; i++) values[i] = (values[i] >>> 1) ^ -(values[i] & 1);
      if (code > 0) for (let i = 0; i < size; i++) if (i % width) values[i] += values[i - 1];
      if (code > 1) for (let i = width; i < size; i++) values[i] += values[i - width];
      planes.push(values);
    }
    return planes;
  }

  class Cube {
    constructor(tree) {
      Object.assign(this, tree);
      this.mean = floats(tree.mean);
      this.basis = floats(tree.basis);
      this.bad = new Set(tree.bad);
    }
    async load() {
      this.codes = await unpack(this.planes, this.count, this.height, this.width);
      this.good = this.valid ? (await unpack(this.valid, 1, this.height, this.width))[0] : null;
    }
    at(i, band) {
      if (this.good && !this.good[i]) return NaN;
      let sum = 0;
      for (let k = 0; k < this.count; k++) sum += this.codes[k][i] * this.basis[k * this.bands + band];
      return this.mean[band] + this.step * sum;
    }
    band(band) {
      const values = new Float32Array(this.height * this.width).fill(this.mean[band]);
      for (let k = 0; k < this.count; k++) {
        const [weight, codes] = [this.step * this.basis[k * this.bands + band], this.codes[k]];
        for (let i = 0; i < values.length; i++) values[i] += weight * codes[i];
      }
      if (this.good) for (let i = 0; i < values.length; i++) if (!this.good[i]) values[i] = NaN;
      return values;
    }
    nearest(nm) {
      let best = -1;
      for (let b = 0; b < this.bands; b++) {
        if (this.bad.has(b) || this.wavelength[b] === null) continue;
        if (best < 0 || Math.abs(this.wavelength[b] - nm) < Math.abs(this.wavelength[best] - nm)) best = b;
      }
      return best;
    }
    place(row, column, scene) {
      return Math.floor((row * this.height) / scene.height) * this.width + Math.floor((column * this.width) / scene.width);
    }
    spectrum(row, column, scene) {
      const i = this.place(row, column, scene);
      return Array.from({ length: this.bands }, (_, band) => (this.bad.has(band) ? NaN : this.at(i, band)));
    }
  }

  const rgb = (text) => [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16));
  const table = (stops) => {
    const colours = stops.map(rgb);
    return Array.from({ length: 256 }, (_, step) => {
      const place = (step / 255) * (stops.length - 1);
      const [low, part] = [Math.min(Math.floor(place), stops.length - 2), place - Math.min(Math.floor(place), stops.length - 2)];
      return colours[low].map((value, c) => Math.round(value + part * (colours[low + 1][c] - value)));
    });
  };
  const TABLES = { sequential: table(SEQUENTIAL), diverging: table(DIVERGING) };

  function percentiles(values) {
    const known = Float32Array.from(values.filter(Number.isFinite)).sort();
    if (!known.length) return [0, 1];
    const at = (part) => known[Math.round(part * (known.length - 1))];
    return at(0.99) > at(0.01) ? [at(0.01), at(0.99)] : [at(0.01), at(0.01) + 1];
  }

  class Viewer {
    constructor(root, scene) {
      this.root = root;
      this.scene = scene;
      this.cubes = scene.layers.map((tree) => new Cube(tree));
      this.main = scene.truth ?? 0;
      const first = this.cubes[this.main];
      this.bands = Array.from({ length: first.bands }, (_, b) => b).filter((b) => !first.bad.has(b));
      if (first.wavelength && first.wavelength.every((nm) => nm !== null))
        this.bands.sort((a, b) => first.wavelength[a] - first.wavelength[b]);
      this.way = 0;
      this.band = this.bands[Math.floor(this.bands.length / 2)];
      this.sides = [`cube ${scene.left}`, `cube ${scene.right}`];
      this.seam = 0.5;
      this.pixel = [Math.floor(0.4 * scene.height), Math.floor(0.7 * scene.width)];
    }

    async load() {
      await Promise.all(this.cubes.map((cube) => cube.load()));
      this.maps = {};
      for (const tree of this.scene.maps) {
        const codes = (await unpack(tree.planes, 1, tree.height, tree.width))[0];
        this.maps[`${tree.kind} ${tree.of}`] = { ...tree, table: "sequential", low: 0, high: tree.top,
          values: Float32Array.from(codes, (code) => (code < 0 ? NaN : code * tree.step)) };
      }
      const base = this.maps[`error ${this.scene.baseline}`];
      if (base) this.addGains(base);
    }

    /* Where a cube is nearer to the truth than the baseline: the difference of their errors. */
    addGains(base) {
      const gains = [];
      for (const map of Object.values(this.maps)) {
        if (map.kind !== "error" || map.of === this.scene.baseline) continue;
        const values = map.values.map((value, i) => base.values[i] - value);
        gains.push({ ...map, kind: "gain", values, table: "diverging",
          title: `error of ${this.cubes[this.scene.baseline].name} less that of this: blue is better, orange worse` });
      }
      if (!gains.length) return;
      const sizes = Float32Array.from(gains.flatMap((map) => Array.from(map.values, Math.abs).filter(Number.isFinite))).sort();
      const top = sizes[Math.floor(0.99 * (sizes.length - 1))] || 1;
      for (const map of gains) this.maps[`gain ${map.of}`] = { ...map, low: -top, high: top };
    }

    /* ---- what is on the page ---- */

    build() {
      const { scene, root } = this;
      const name = `Pictures of ${scene.name}`;
      this.selects = ["Left", "Right"].map((label, side) => {
        const select = make("select");
        this.addChoices(select);
        select.value = this.sides[side];
        select.addEventListener("change", () => { this.sides[side] = select.value; this.draw(); });
        return [label, select];
      });
      this.colours = make("select");
      scene.colours.forEach((way, number) => this.colours.append(make("option", { value: number }, way.title)));
      this.colours.append(make("option", { value: "band" }, "one band, grey"));
      this.colours.addEventListener("change", () => { this.way = this.colours.value; this.draw(); });
      this.slider = make("input", { type: "range", min: 0, max: this.bands.length - 1, step: 1 });
      this.slider.value = this.bands.indexOf(this.band);
      this.bandLabel = make("span");
      this.slider.addEventListener("input", () => {
        this.band = this.bands[Number(this.slider.value)];
        this.way = this.colours.value = "band";
        this.draw();
      });
      this.swipe = make("input", { type: "range", min: 0, max: 100, step: 1, value: 50 });
      this.swipe.addEventListener("input", () => { this.seam = this.swipe.value / 100; this.drawSeam(); });
      const controls = make("div", { class: "controls" },
        ...this.selects.map(([label, select]) => field(label, select)),
        field("Colours", this.colours, "long"),
        field(this.bandLabel, this.slider, "wide"),
        field("Divider between left and right", this.swipe, "wide"));

      this.canvases = [0, 1].map(() => make("canvas", { "aria-hidden": "true" }));
      this.seamLine = make("div", { class: "seam" });
      this.mark = make("div", { class: "mark" });
      this.tags = ["left", "right"].map((side) => make("div", { class: `tag ${side}` }));
      this.stage = make("div", { class: "stage", tabindex: 0, role: "application", "aria-label":
        `${name}: the left one and the right one. Arrow keys move the chosen pixel, Shift makes ten steps; [ and ] move the divider.` },
        this.canvases[1], this.canvases[0], this.seamLine, this.mark, ...this.tags);
      this.stage.style.aspectRatio = `${scene.width} / ${scene.height}`;
      if (scene.height > scene.width) this.stage.style.maxWidth = `${Math.round((560 * scene.width) / scene.height)}px`;
      this.scales = make("div", { class: "scales" });
      this.listen();

      this.plot = make("div", { class: "plot", role: "img" });
      this.caption = make("caption", { "aria-live": "polite" });
      this.head = make("tr");
      this.body = make("tbody");
      const values = make("table", { class: "values" }, this.caption, make("thead", {}, this.head), this.body);
      root.replaceChildren(controls, make("div", {}, this.stage, this.scales), make("div", {}, this.plot, make("div", { class: "scroll" }, values)),
        make("div", { class: "notes" }, ...scene.notes.map((note) => make("p", {}, note))));
      new ResizeObserver(() => this.drawPlot()).observe(this.plot);
      this.draw();
    }

    addChoices(select) {
      const groups = [["cube", "Images"], ["sam", "Spectral angle to the truth"], ["error", "Error"],
        ["gain", "Better or worse than the baseline"], ["width", "Width of the 90 % interval"]];
      for (const [kind, title] of groups) {
        const group = make("optgroup", { label: title });
        this.cubes.forEach((cube, number) => {
          if (kind === "cube" || this.maps[`${kind} ${number}`])
            group.append(make("option", { value: `${kind} ${number}` }, kind === "cube" ? cube.name : `${title}: ${cube.name}`));
        });
        if (group.children.length) select.append(group);
      }
    }

    listen() {
      const { stage, scene } = this;
      let drag = null;
      const place = (event) => {
        const box = stage.getBoundingClientRect();
        return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, box.width];
      };
      const move = (event) => {
        const [x, y] = place(event);
        if (drag === "seam") this.moveSeam(x);
        else this.choose(Math.floor(y * scene.height), Math.floor(x * scene.width));
      };
      stage.addEventListener("pointerdown", (event) => {
        if (event.button > 0) return;
        const [x, , width] = place(event);
        drag = Math.abs(x - this.seam) * width < 14 ? "seam" : "pixel";
        stage.setPointerCapture(event.pointerId);
        move(event);
      });
      stage.addEventListener("pointermove", (event) => { if (drag) move(event); });
      for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { drag = null; });
      stage.addEventListener("keydown", (event) => {
        const far = event.shiftKey ? 10 : 1;
        const steps = { ArrowUp: [-far, 0], ArrowDown: [far, 0], ArrowLeft: [0, -far], ArrowRight: [0, far] }[event.key];
        if (steps) this.choose(this.pixel[0] + steps[0], this.pixel[1] + steps[1]);
        else if (event.key === "[" || event.key === "]") this.moveSeam(this.seam + (event.key === "[" ? -0.05 : 0.05));
        else return;
        event.preventDefault();
      });
    }

    moveSeam(part) {
      this.seam = clamp(part, 0, 1);
      this.swipe.value = Math.round(100 * this.seam);
      this.drawSeam();
    }

    choose(row, column) {
      this.pixel = [clamp(row, 0, this.scene.height - 1), clamp(column, 0, this.scene.width - 1)];
      this.drawPixel();
    }

    /* ---- pictures ---- */

    draw() {
      const first = this.cubes[this.main];
      const nm = first.wavelength ? first.wavelength[this.band] : null;
      this.bandText = `band ${this.band + 1} of ${first.bands}` + (nm === null ? "" : `, ${show(nm, 4)} nm`);
      this.bandLabel.textContent = `Band: ${this.bandText}`;
      this.slider.setAttribute("aria-valuetext", this.bandText);
      this.sides.forEach((choice, side) => {
        this.tags[side].textContent = this.title(choice);
        this.paint(this.canvases[side], choice);
      });
      this.drawSeam();
      this.drawScales();
      this.drawPixel();
    }

    title(choice) {
      const map = this.maps[choice];
      const names = { sam: "spectral angle", error: "error", gain: "better or worse", width: "interval width" };
      const name = this.cubes[Number(choice.split(" ")[1])].name;
      return map ? `${names[map.kind]}: ${name}` : name;
    }

    bandFor(number) {
      const [cube, first] = [this.cubes[number], this.cubes[this.main]];
      if (cube.wavelength && first.wavelength && first.wavelength[this.band] !== null) return cube.nearest(first.wavelength[this.band]);
      return Math.min(this.band, cube.bands - 1);
    }

    paint(canvas, choice) {
      const map = this.maps[choice];
      const number = Number(choice.split(" ")[1]);
      const source = map ?? this.cubes[number];
      canvas.width = source.width;
      canvas.height = source.height;
      const context = canvas.getContext("2d");
      const image = context.createImageData(source.width, source.height);
      const pixels = image.data;
      const set = (i, colour) => { pixels.set(colour, 4 * i); pixels[4 * i + 3] = 255; };
      if (map) {
        map.values.forEach((value, i) => set(i, Number.isFinite(value) ? this.colour(map, value) : MISSING));
      } else {
        const way = this.way === "band" ? this.greys(number) : this.scene.colours[Number(this.way)];
        const bands = way.bands[number];
        const planes = bands.map((band) => source.band(band));
        const light = planes.map((values, c) => {
          const [low, high] = way.stretch[c];
          return values.map((value) => 255 * clamp((value - low) / (high - low), 0, 1) ** (1 / 2.2));
        });
        for (let i = 0; i < source.height * source.width; i++)
          set(i, Number.isFinite(planes[0][i]) ? [light[0][i], light[1][i], light[2][i]].map(Math.round) : MISSING);
      }
      context.putImageData(image, 0, 0);
    }

    greys(number) {
      if (!this.stretches) this.stretches = new Map();
      if (!this.stretches.has(this.band)) this.stretches.set(this.band, percentiles(this.cubes[this.main].band(this.band)));
      const band = this.bandFor(number);
      const bands = [];
      bands[number] = [band, band, band];
      return { bands, stretch: Array(3).fill(this.stretches.get(this.band)) };
    }

    colour(map, value) {
      return TABLES[map.table][Math.round(255 * clamp((value - map.low) / (map.high - map.low), 0, 1))];
    }

    drawSeam() {
      this.canvases[0].style.clipPath = `inset(0 ${100 * (1 - this.seam)}% 0 0)`;
      this.seamLine.style.left = `${100 * this.seam}%`;
      this.swipe.setAttribute("aria-valuetext", `${Math.round(100 * this.seam)} % shows the left picture`);
    }

    drawScales() {
      this.scales.replaceChildren();
      const shown = [...new Map(this.sides.map((choice) => this.maps[choice]).filter(Boolean).map((map) => [map.kind, map])).values()];
      for (const map of shown) {
        const bar = make("canvas", { width: 256, height: 1, "aria-hidden": "true" });
        const context = bar.getContext("2d");
        const image = context.createImageData(256, 1);
        TABLES[map.table].forEach((colour, i) => { image.data.set([...colour, 255], 4 * i); });
        context.putImageData(image, 0, 0);
        const end = (value) => `${value > 0 && map.low < 0 ? "+" : ""}${show(value, 2)}${map.unit}`;
        this.scales.append(make("div", {}, bar, make("div", { class: "ends" }, make("span", {}, end(map.low)), make("span", {}, end(map.high))), map.title));
      }
    }

    /* ---- the chosen pixel ---- */

    /* Row and column in the whole scene. */
    position() {
      const [row, column] = this.pixel.map((place, axis) => this.scene.origin[axis] + place * this.scene.every);
      return `row ${row}, column ${column}`;
    }

    drawPixel() {
      const [row, column] = this.pixel;
      const { scene } = this;
      this.mark.style.left = `${(100 * (column + 0.5)) / scene.width}%`;
      this.mark.style.top = `${(100 * (row + 0.5)) / scene.height}%`;
      this.spectra = this.cubes.map((cube) => cube.spectrum(row, column, scene));
      this.caption.textContent = `Pixel in ${this.position()}; value in ${this.bandText}`;
      const columns = [["sam", "SAM °"], ["error", "mean |error|"], ["gain", "better by"], ["width", "90 % width"]]
        .filter(([kind]) => Object.keys(this.maps).some((key) => key.startsWith(`${kind} `)));
      this.head.replaceChildren(...["cube", "value", ...columns.map(([, title]) => title)].map((text) => make("th", { scope: "col" }, text)));
      this.body.replaceChildren(...this.cubes.map((cube, number) => {
        const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
        if (cube.tint) swatch.style.background = cube.tint;
        const band = this.bandFor(number);
        const cells = [band < 0 ? NaN : this.spectra[number][band], ...columns.map(([kind]) => {
          const map = this.maps[`${kind} ${number}`];
          return map ? map.values[cube.place.call(map, row, column, scene)] : null;
        })];
        return make("tr", {}, make("th", { scope: "row" }, swatch, cube.name),
          ...cells.map((value) => make("td", {}, value === null ? "" : show(value))));
      }));
      this.drawPlot();
    }

    drawPlot() {
      const [width, height] = [this.plot.clientWidth, this.plot.clientHeight];
      if (!width || !this.spectra) return;
      const first = this.cubes[this.main];
      const known = this.cubes.every((cube) => cube.wavelength && cube.wavelength.some((nm) => nm !== null));
      const position = (cube, band) => (known ? cube.wavelength[band] : band + 1);
      const [all, places] = [[], []];
      this.spectra.forEach((spectrum, number) => spectrum.forEach((value, band) => {
        if (!Number.isFinite(value)) return;
        all.push(value);
        places.push(position(this.cubes[number], band));
      }));
      const lows = all.length ? [Math.min(0, ...all), Math.max(...all)] : [0, 1];
      const range = lows[1] > lows[0] ? lows : [lows[0], lows[0] + 1];
      const span = places.length ? [Math.min(...places), Math.max(...places)] : [0, 1];
      if (span[0] === span[1]) span[1] += 1;
      const box = { left: 52, right: width - 10, top: 10, bottom: height - 38 };
      const x = (place) => box.left + ((place - span[0]) / (span[1] - span[0])) * (box.right - box.left);
      const y = (value) => box.bottom - ((value - range[0]) / (range[1] - range[0])) * (box.bottom - box.top);
      this.plot.innerHTML = "<svg></svg>";
      const svg = this.plot.firstChild;
      const draw = (tag, attributes, text) => {
        const element = document.createElementNS(svg.namespaceURI, tag);
        for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
        if (text !== undefined) element.textContent = text;
        svg.append(element);
      };
      for (const tick of ticks(range[0], range[1], 5)) {
        draw("line", { class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick) });
        draw("text", { x: box.left - 6, y: y(tick) + 4, "text-anchor": "end" }, show(tick));
      }
      for (const tick of ticks(span[0], span[1], width < 420 ? 4 : 7))
        draw("text", { x: x(tick), y: box.bottom + 16, "text-anchor": "middle" }, show(tick, 5));
      draw("text", { x: (box.left + box.right) / 2, y: height - 4, "text-anchor": "middle" }, known ? "wavelength (nm)" : "band");
      if (Number.isFinite(position(first, this.band)))
        draw("line", { class: "cursor", x1: x(position(first, this.band)), x2: x(position(first, this.band)), y1: box.top, y2: box.bottom });
      const order = this.cubes.map((_, number) => number).sort((a, b) => (b === this.scene.truth) - (a === this.scene.truth));
      for (const number of order) {
        const cube = this.cubes[number];
        const line = path(this.spectra[number], cube, (band) => x(position(cube, band)), y, known);
        draw("path", { d: line, class: number === this.scene.truth ? "truth" : "cube", ...(cube.tint ? { stroke: cube.tint } : {}) });
      }
      this.plot.setAttribute("aria-label", `Spectra of ${this.cubes.length} cubes in ${this.position()}, ` +
        `from ${show(span[0], 5)} to ${show(span[1], 5)}${known ? " nm" : ""}; the table below has the values.`);
    }
  }

  /* A line with gaps where there is no value; bands in the order of their wavelengths. */
  function path(spectrum, cube, x, y, known) {
    const bands = spectrum.map((_, band) => band).filter((band) => !known || cube.wavelength[band] !== null);
    if (known) bands.sort((a, b) => cube.wavelength[a] - cube.wavelength[b]);
    let [line, pen] = ["", false];
    for (const band of bands) {
      const there = Number.isFinite(spectrum[band]);
      if (there) line += `${pen ? "L" : "M"}${x(band).toFixed(1)} ${y(spectrum[band]).toFixed(1)}${pen ? "" : "h0.01"}`;
      pen = there;
    }
    return line;
  }

  function ticks(low, high, count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const found = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6; tick += step) found.push(Math.abs(tick) < step / 1e6 ? 0 : tick);
    return found;
  }

  async function start(root) {
    try {
      const viewer = new Viewer(root, JSON.parse(document.getElementById(root.dataset.scene).textContent));
      await viewer.load();
      viewer.build();
      root.dataset.state = "ready";
      const fallback = document.getElementById(root.dataset.fallback ?? "");
      if (fallback) fallback.open = false;
    } catch (error) {
      root.dataset.state = "failed";
      root.replaceChildren(make("p", { class: "failed" }, `The viewer cannot run in this browser (${error.message}).`));
    }
  }

  /* Scenes are unpacked when they come near: a report holds many. */
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      start(entry.target);
    }
  }, { rootMargin: "600px" });
  for (const root of document.querySelectorAll(".viewer[data-scene]")) seen.observe(root);
})();
