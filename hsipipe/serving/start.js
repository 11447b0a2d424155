"use strict";
(() => {
  const settings = JSON.parse(document.getElementById("settings").textContent);
  const at = (id) => document.getElementById(id);
  const fields = ["full_scale", "msi_full_scale"].map(at).filter(Boolean);
  const chosen = { lr: null, msi: null };
  let running = null, url = null;

  const MAGIC = [[0x93, 0x4e, 0x55, 0x4d], [0x43, 0x44, 0x46, 1], [0x43, 0x44, 0x46, 2],
    [0x49, 0x49, 42, 0], [0x4d, 0x4d, 0, 42], [0x49, 0x49, 43, 0], [0x4d, 0x4d, 0, 43]];
  const HDF5 = [0x89, 0x48, 0x44, 0x46];

  // Refuse what the server would refuse, before megabytes are sent.
  async function objection(file) {
    const head = new Uint8Array(await file.slice(0, 4).arrayBuffer());
    const begins = (magic) => magic.every((byte, place) => head[place] === byte);
    if (file.size > settings.bytes)
      return `${file.name} has ${file.size} bytes, expected at most ${settings.bytes}; ${settings.larger}.`;
    if (begins(HDF5)) return `${file.name} is NetCDF-4 or HDF5; convert it: nccopy -k nc6 IN.nc OUT.nc`;
    if (MAGIC.some(begins)) return "";
    return `${file.name} is no NumPy .npy, classic NetCDF or GeoTIFF. Convert it in Python: `
      + `hsipipe.save_cube(hsipipe.open_cube("IN"), "OUT.tif")`;
  }

  const bytes = (count) => count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`;
  const shape = (sizes) => `${sizes.at(-3)} bands of ${sizes.at(-2)} x ${sizes.at(-1)} pixels`;
  const quoted = (text) => /^[\w.\/:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
  // For curl, a leading dash is an option or a stream, and a form's file name without quotes ends at ; or a comma.
  const local = (name) => name.replace(/^-/, "./-");
  const part = (field, name) => quoted(`${field}=@"${local(name).replace(/["\\]/g, "\\$&")}"`);
  const resultName = (file) => file.name.replace(/(\.[^.]*)?$/, (suffix) => `_x${settings.scale}${suffix}`);

  function query() {
    const given = new URLSearchParams();
    for (const field of fields) if (field.value !== "" && Number(field.value) !== 1) given.set(field.id, field.value);
    return given.size ? `?${given}` : "";
  }

  function showCommand() {
    const lr = chosen.lr ? chosen.lr.name : "low.tif", msi = chosen.msi ? chosen.msi.name : "msi.tif";
    const body = settings.fuses ? `-F ${part("lr", lr)} -F ${part("msi", msi)}` : `--data-binary ${quoted(`@${local(lr)}`)}`;
    const target = quoted(local(resultName({ name: lr })));
    at("curl").textContent = `curl --fail-with-body ${body} -o ${target} ${quoted(new URL(`predict${query()}`, location).href)}`;
    at("copied").textContent = "";
  }

  function fail(text) {
    at("status").textContent = "";
    at("problem").textContent = text;
  }

  async function choose(part, file) {
    running?.abort();
    chosen[part] = file;
    at("problem").textContent = "";
    at("answer").hidden = true;
    const text = await objection(file);
    if (chosen[part] !== file) return; // another file was chosen meanwhile
    if (text) chosen[part] = null;
    showCommand();
    if (text) fail(text);
    else if (chosen.lr && (chosen.msi || !settings.fuses)) predict();
    else at("status").textContent = `Chosen: ${[chosen.lr, chosen.msi].filter(Boolean).map((one) => one.name).join(", ")}.`;
  }

  async function predict() {
    if (!chosen.lr || (settings.fuses && !chosen.msi))
      return fail(settings.fuses ? "Choose a cube and its HR-MSI first." : "Choose a cube first.");
    running?.abort();
    const mine = running = new AbortController();
    at("problem").textContent = "";
    at("answer").hidden = true;
    at("form").setAttribute("aria-busy", "true");
    at("status").textContent = `Predicting ${chosen.lr.name} ...`;
    // Blobs without a type: the server goes by the first bytes, and browsers guess types by the name.
    let body = new Blob([chosen.lr]);
    if (settings.fuses) {
      const lr = body;
      body = new FormData();
      body.append("lr", lr, "lr");
      body.append("msi", new Blob([chosen.msi]), "msi");
    }
    const file = chosen.lr, begun = performance.now();
    try {
      const answer = await fetch(`predict${query()}`,
        { method: "POST", body, headers: { Accept: "multipart/form-data" }, signal: mine.signal });
      if (!answer.ok) return fail((await answer.json()).error);
      show(await answer.formData(), file, (performance.now() - begun) / 1000);
    } catch (error) {
      if (!mine.signal.aborted) fail(`The server gave no answer (${error.message}); is it running?`);
    } finally {
      if (running === mine) at("form").removeAttribute("aria-busy");
    }
  }

  async function show(form, file, seconds) {
    const facts = JSON.parse(form.get("facts")), result = form.get("sr");
    at("size").textContent = `${shape(facts.shape)} from ${shape(facts.input_shape)}, ${bytes(result.size)}, `
      + `in ${seconds.toFixed(1)} s.`;
    at("colours").textContent = facts.colours;
    at("pictures").hidden = !form.has("result");
    for (const part of ["input", "result"]) {
      const image = at(`picture-${part}`), given = form.get(part), sizes = part === "input" ? facts.input_shape : facts.shape;
      if (image.src) URL.revokeObjectURL(image.src);
      image.removeAttribute("src");
      image.alt = "";
      if (!given) continue;
      image.alt = `${part === "input" ? "Input" : "Result"} of ${shape(sizes)}, ${facts.colours}`;
      image.src = URL.createObjectURL(given);
    }
    at("notes").replaceChildren(...facts.notes.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }));
    if (url) URL.revokeObjectURL(url);
    url = URL.createObjectURL(result);
    const link = at("download");
    link.href = url;
    link.download = resultName(file);
    link.textContent = `Download ${link.download} (${bytes(result.size)})`;
    at("status").textContent = `Done: ${link.download}.`;
    at("answer").hidden = false;
    at("answer-title").focus();
  }

  at("form").addEventListener("submit", (event) => { event.preventDefault(); predict(); });
  for (const field of fields) field.addEventListener("input", showCommand);
  for (const part of ["lr", "msi"])
    at(part)?.addEventListener("change", (event) => { if (event.target.files[0]) choose(part, event.target.files[0]); });

  // A file that is dropped beside the field must not replace the page.
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
  at("drop").addEventListener("dragover", () => at("drop").classList.add("over"));
  at("drop").addEventListener("dragleave", () => at("drop").classList.remove("over"));
  at("drop").addEventListener("drop", (event) => {
    at("drop").classList.remove("over");
    // Of a fusion: the first file, then the one still missing.
    for (const file of event.dataTransfer.files) choose(settings.fuses && chosen.lr && !chosen.msi ? "msi" : "lr", file);
  });

  at("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(at("curl").textContent);
      at("copied").textContent = "Copied.";
    } catch { // without TLS, browsers give the clipboard to pages of this machine alone
      getSelection().selectAllChildren(at("curl"));
      at("copied").textContent = "Selected; copy it with the keyboard.";
    }
  });
  showCommand();
})();
