"""The script and the style of the page that shows embeddings as points.

Rule 1: whatever comes from a document goes through `textContent`, or is a number; nothing is parsed as markup.
Rule 2: no request, no storage, no library; the page runs in a frame that may do nothing but run its script.
"""

from __future__ import annotations

from typing import Final

__all__ = ["SCRIPT", "STYLE"]

STYLE: Final = """
:root{color-scheme:light dark;--ground:#fff;--ink:#1c2127;--quiet:#5c6670;--line:#d5dae0;--panel:#f6f7f9;
--accent:#1a73c7}
@media (prefers-color-scheme:dark){:root{--ground:#15181c;--ink:#e6e9ed;--quiet:#9aa5b1;--line:#343b44;--panel:#1d2127;
--accent:#6cb2f5}}
*{box-sizing:border-box}
html,body{height:100%;margin:0}
body{display:flex;background:var(--ground);color:var(--ink);
font:13px/1.45 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
#stage{position:relative;flex:1;min-width:0;overflow:hidden}
canvas{position:absolute;inset:0;width:100%;height:100%;cursor:grab;touch-action:none;outline-offset:-2px}
aside{width:300px;display:flex;flex-direction:column;border-left:1px solid var(--line);background:var(--panel);
overflow:auto}
aside>*{padding:8px 12px;border-bottom:1px solid var(--line)}
h1{font-size:15px;margin:0;overflow-wrap:anywhere}
.quiet{color:var(--quiet);font-size:12px}
label{display:flex;gap:8px;align-items:center;margin:3px 0}
label span{width:62px;flex:none;color:var(--quiet)}
select,input[type=search]{flex:1;min-width:0;font:inherit;color:inherit;background:var(--ground);
border:1px solid var(--line);border-radius:4px;padding:3px 6px}
button{font:inherit;color:inherit;background:var(--ground);border:1px solid var(--line);border-radius:4px;
padding:2px 8px;cursor:pointer}
ul{list-style:none;margin:4px 0 0;padding:0}
li button{display:flex;gap:8px;width:100%;border:0;background:none;text-align:left;padding:2px 0}
li button:hover,li button:focus-visible{color:var(--accent)}
li b{flex:1;min-width:0;font-weight:400;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
dl{display:grid;grid-template-columns:auto 1fr;gap:2px 10px;margin:6px 0 0}
dt{color:var(--quiet);overflow-wrap:anywhere;max-width:110px}
dd{margin:0;overflow-wrap:anywhere}
#tip{position:absolute;display:none;pointer-events:none;max-width:280px;padding:6px 8px;background:var(--panel);
border:1px solid var(--line);border-radius:4px;box-shadow:0 2px 8px rgba(0,0,0,.18);overflow-wrap:anywhere;z-index:2}
#tip canvas,#thumb{position:static;display:block;width:96px;height:96px;margin:0 0 4px;cursor:default}
#legend{display:flex;flex-wrap:wrap;gap:2px 10px;margin-top:4px}
#legend i{display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:4px}
#ramp{height:8px;width:100%;border-radius:2px;background:linear-gradient(90deg,#443e8c,#26828e,#44b272,#d6cd32)}
#hint{position:absolute;left:10px;bottom:8px;color:var(--quiet);font-size:12px;pointer-events:none}
[hidden]{display:none!important}
@media (max-width:620px){body{flex-direction:column}
aside{width:auto;height:42%;border-left:0;border-top:1px solid var(--line)}}
"""

SCRIPT: Final = r"""
(function () {
  "use strict";
  function bytes(text) { return Uint8Array.from(atob(text), function (c) { return c.charCodeAt(0); }); }
  var data = JSON.parse(new TextDecoder().decode(bytes(document.getElementById("data").textContent)));
  var whole = new Int16Array(bytes(data.points).buffer), n = whole.length / 3;
  var near = data.neighbours ? new Uint32Array(bytes(data.neighbours).buffer) : null;
  var far = data.distances ? new Float32Array(bytes(data.distances).buffer) : null;
  function make(tag, parent, text, id) {
    var node = document.createElement(tag);
    if (text) { node.textContent = text; }
    if (id) { node.id = id; }
    if (parent) { parent.appendChild(node); }
    return node;
  }
  function row(parent, name) { var l = make("label", parent); make("span", l, name); return l; }
  function option(select, value, text) { var o = make("option", select, text); o.value = value; }

  /* ------------------------------------------------------------------ the frame */
  var stage = make("div", document.body, "", "stage"), canvas = make("canvas", stage), pen = canvas.getContext("2d");
  var tip = make("div", stage, "", "tip"), hint = make("div", stage, "", "hint"), side = make("aside", document.body);
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", "Points. Drag or arrow keys turn, plus and minus zoom, click picks a point.");
  var head = make("div", side);
  make("h1", head, data.title);
  make("div", head, data.words, "words").className = "quiet";
  var share = make("div", head, "", "shares");
  share.className = "quiet";
  var tools = make("div", side);
  var dims = make("select", row(tools, "View"), "", "dims");
  option(dims, "3", "3 components"); option(dims, "2", "2 components");
  var by = make("select", row(tools, "Colour"), "", "by");
  option(by, "", "by depth");
  data.columns.forEach(function (name, at) { option(by, String(at), name); });
  var label = make("select", row(tools, "Label"), "", "label");
  data.columns.forEach(function (name, at) { option(label, String(at), name); });
  var preferred = data.columns.indexOf("text");
  label.value = String(preferred < 0 ? 0 : preferred);
  var search = make("input", row(tools, "Search"), "", "search");
  search.type = "search";
  var pictures = null, sheet = null;
  if (data.sprites) {
    pictures = make("input", row(tools, "Images"), "", "images");
    pictures.type = "checkbox"; pictures.checked = true;
    pictures.addEventListener("change", ask);
    sheet = new Image();
    sheet.addEventListener("load", function () { ask(); });
    sheet.src = data.sprites;
  }
  var legend = make("div", tools, "", "legend");
  var hits = make("div", side, "", "hits"), about = make("div", side, "", "about");
  hits.hidden = true;
  make("div", about, "Click a point to see what it is" + (near ? " and what is nearest to it." : "."))
    .className = "quiet";

  /* ------------------------------------------------------------------ colours */
  var palette = ["#3574b2", "#e07b28", "#3f9a58", "#c8453f", "#8a66b5", "#8c6450", "#d17ab4", "#9a9a2f", "#2ca6b5",
    "#69707a"];
  var stops = [[68, 62, 140], [38, 130, 142], [68, 178, 114], [214, 205, 50]];
  var ramp = [];
  for (var s = 0; s < 32; s++) {
    var place = s / 31 * 3, low = Math.min(2, place | 0), part = place - low;
    ramp.push("rgb(" + [0, 1, 2].map(function (c) {
      return Math.round(stops[low][c] + (stops[low + 1][c] - stops[low][c]) * part);
    }).join(",") + ")");
  }
  var shade = new Uint8Array(n), table = ramp, coloured = false;
  function paint() {
    legend.textContent = "";
    coloured = by.value !== "";
    table = ramp;
    if (!coloured) { return ask(); }
    var values = data.values[+by.value], i;
    var known = values.filter(function (v) { return v !== ""; });
    var numeric = known.length && known.every(function (v) { return typeof v === "number"; });
    var counts = new Map();
    known.forEach(function (v) { counts.set(v, (counts.get(v) || 0) + 1); });
    if (numeric && counts.size > 10) {
      var least = Infinity, most = -Infinity;
      known.forEach(function (v) { least = Math.min(least, v); most = Math.max(most, v); });
      for (i = 0; i < n; i++) {
        shade[i] = values[i] === "" ? 255 : Math.round((values[i] - least) / (most - least || 1) * 31);
      }
      make("div", legend, "", "ramp");
      make("span", legend, String(+least.toPrecision(4)) + " to " + String(+most.toPrecision(4))).className = "quiet";
    } else {
      table = palette;
      var names = Array.from(counts.keys());
      if (counts.size > 10) { names.sort(function (a, b) { return counts.get(b) - counts.get(a); }); }
      else if (numeric) { names.sort(function (a, b) { return a - b; }); } else { names.sort(); }
      var top = names.slice(0, counts.size > 10 ? 9 : 10), number = new Map();
      top.forEach(function (v, at) { number.set(v, at); });
      for (i = 0; i < n; i++) {
        shade[i] = values[i] === "" ? 255 : number.has(values[i]) ? number.get(values[i]) : 9;
      }
      top.forEach(function (v, at) { entry(palette[at], String(v).slice(0, 40)); });
      if (counts.size > 10) { entry(palette[9], (counts.size - 9) + " others"); }
    }
    ask();
  }
  function entry(colour, text) {
    var item = make("span", legend);
    make("i", item).style.background = colour;
    make("span", item, text);
  }

  /* ------------------------------------------------------------------ drawing */
  var zoom = 1, down = 0.35, aside = -0.5, shiftX = 0, shiftY = 0, due = false, ratio = 1, hover = -1, picked = -1;
  var x = new Float32Array(n), y = new Float32Array(n), z = new Float32Array(n);
  var order = new Uint32Array(n), count = new Uint32Array(513), bucket = new Uint16Array(n);
  var found = null, frames = 0, edge = 0;
  var dot = new Map();
  function dotOf(colour, radius) {  /* circles are drawn once and stamped */
    var key = colour + radius;
    if (!dot.has(key)) {
      var one = document.createElement("canvas"), p = one.getContext("2d");
      one.width = one.height = Math.ceil(radius * 2 + 2);
      p.fillStyle = colour; p.beginPath(); p.arc(one.width / 2, one.width / 2, radius, 0, 7); p.fill();
      dot.set(key, one);
    }
    return dot.get(key);
  }
  function number(colour) {  /* of a style, as four bytes of a picture without the last */
    var parts = colour.charAt(0) === "#"
      ? [1, 3, 5].map(function (at) { return parseInt(colour.substr(at, 2), 16); })
      : colour.match(/\d+/g).map(Number);
    return parts[0] | parts[1] << 8 | parts[2] << 16;
  }
  var sheetOf = null, cells = null;
  function splat(radius, flat) {  /* many points: pixel by pixel, which is many times as fast as stamping */
    var wide = canvas.width, high = canvas.height;
    if (!sheetOf || sheetOf.width !== wide || sheetOf.height !== high) {
      sheetOf = pen.createImageData(wide, high); cells = new Uint32Array(sheetOf.data.buffer);
    } else { cells.fill(0); }
    var reach = Math.ceil(radius), disc = [], colours = (coloured ? table : ramp).map(number), none = number("#9aa0a6");
    for (var r = -reach; r <= reach; r++) {
      for (var c = -reach; c <= reach; c++) { if (r * r + c * c <= radius * radius + 0.3) { disc.push(r * wide + c); } }
    }
    for (var k = 0; k < n; k++) {
      var i = order[k], column = x[i] | 0, line = y[i] | 0;
      if (column < reach || line < reach || column >= wide - reach || line >= high - reach) { continue; }
      var colour = !coloured ? colours[Math.max(0, Math.min(31, (z[i] + 1) * 15.5 | 0))]
        : shade[i] === 255 ? none : colours[shade[i]];
      var solid = found && !found[i] ? 30 : flat ? 235 : 150 + 95 * Math.max(0, Math.min(1, (z[i] + 1) / 2)) | 0;
      var value = (colour | solid << 24) >>> 0, start = line * wide + column;
      for (var d = 0; d < disc.length; d++) { cells[start + disc[d]] = value; }
    }
    pen.putImageData(sheetOf, 0, 0);
  }
  function size() {
    ratio = Math.min(2, window.devicePixelRatio || 1);
    canvas.width = Math.max(1, stage.clientWidth * ratio); canvas.height = Math.max(1, stage.clientHeight * ratio);
    dot.clear(); ask();
  }
  function draw() {
    due = false;
    var flat = dims.value === "2", d = flat ? 0 : down, a = flat ? 0 : aside, i, k;
    var ca = Math.cos(a), sa = Math.sin(a), cd = Math.cos(d), sd = Math.sin(d);
    var scale = Math.min(canvas.width, canvas.height) * 0.44 * zoom / 32767;
    var cx = canvas.width / 2 + shiftX * ratio, cy = canvas.height / 2 + shiftY * ratio;
    count.fill(0);
    for (i = 0; i < n; i++) {
      var px = whole[3 * i], py = whole[3 * i + 1], pz = whole[3 * i + 2], t = pz * ca - px * sa;
      x[i] = cx + (px * ca + pz * sa) * scale;
      y[i] = cy - (py * cd - t * sd) * scale;
      z[i] = (py * sd + t * cd) / 32767;
      var b = Math.max(0, Math.min(511, (z[i] + 1.75) * 146 | 0));
      bucket[i] = b; count[b + 1]++;
    }
    for (k = 1; k < 513; k++) { count[k] += count[k - 1]; }
    for (i = 0; i < n; i++) { order[count[bucket[i]]++] = i; }
    pen.clearRect(0, 0, canvas.width, canvas.height);
    var base = (n > 20000 ? 1.4 : n > 4000 ? 1.9 : n > 800 ? 2.8 : 4) * ratio * Math.min(2, Math.sqrt(zoom));
    var shown = sheet && sheet.complete && pictures.checked, cell = data.side;
    var per = shown ? Math.round(sheet.naturalWidth / cell) : 0;
    var room = Math.min(canvas.width, canvas.height) / ratio * 1.1 / Math.sqrt(n);
    edge = shown ? Math.max(12, Math.min(34, cell, room)) * ratio * Math.min(2.5, Math.sqrt(zoom)) : 0;
    if (!shown && n > 3000) { splat(base, flat); }
    else {
    for (k = 0; k < n; k++) {
      i = order[k];
      if (x[i] < -40 || y[i] < -40 || x[i] > canvas.width + 40 || y[i] > canvas.height + 40) { continue; }
      var faded = found && !found[i];
      pen.globalAlpha = faded ? 0.12 : flat ? 0.9 : 0.62 + 0.35 * Math.max(0, Math.min(1, (z[i] + 1) / 2));
      if (shown && !faded) {
        pen.drawImage(sheet, i % per * cell, (i / per | 0) * cell, cell, cell, x[i] - edge / 2, y[i] - edge / 2, edge,
          edge);
        if (coloured) {
          pen.strokeStyle = shade[i] === 255 ? "#9aa0a6" : table[shade[i]]; pen.lineWidth = 2 * ratio;
          pen.strokeRect(x[i] - edge / 2, y[i] - edge / 2, edge, edge);
        }
      } else {
        var colour = !coloured ? ramp[Math.max(0, Math.min(31, (z[i] + 1) * 15.5 | 0))]
          : shade[i] === 255 ? "#9aa0a6" : table[shade[i]];
        var stamp = dotOf(colour, base);
        pen.drawImage(stamp, x[i] - stamp.width / 2, y[i] - stamp.height / 2);
      }
    }
    }
    pen.globalAlpha = 1;
    if (picked >= 0 && near) {
      for (k = 0; k < data.k; k++) { ring(near[picked * data.k + k], 1.2, "#e07b28"); }
    }
    if (picked >= 0) { ring(picked, 2.4, "#c8453f"); }
    if (hover >= 0) { ring(hover, 1.8, "#1a73c7"); }
    frames++;
    document.body.dataset.drawn = String(n);
    document.body.dataset.frames = String(frames);
  }
  function ring(i, wide, colour) {
    var shown = sheet && sheet.complete && pictures.checked;
    pen.strokeStyle = colour; pen.lineWidth = wide * ratio;
    pen.beginPath(); pen.arc(x[i], y[i], shown ? edge * 0.7 : 7 * ratio, 0, 7); pen.stroke();
  }
  function ask() { if (!due) { due = true; requestAnimationFrame(draw); } }

  /* ------------------------------------------------------------------ looking at one */
  function nameOf(i) {
    var text = String(data.values[+label.value][i]);
    return text || String(data.values[0][i]) || "point " + i;
  }
  function thumb(parent, i, id) {
    if (!sheet || !sheet.complete) { return; }
    var one = make("canvas", parent, "", id), cell = data.side, per = Math.round(sheet.naturalWidth / cell);
    one.width = one.height = cell;
    one.getContext("2d").drawImage(sheet, i % per * cell, (i / per | 0) * cell, cell, cell, 0, 0, cell, cell);
  }
  function at(e) {
    var box = canvas.getBoundingClientRect(), mx = (e.clientX - box.left) * ratio, my = (e.clientY - box.top) * ratio;
    var best = -1, least = Math.pow((sheet && pictures.checked ? 20 : 10) * ratio, 2);
    for (var k = 0; k < n; k++) {  /* of those as near the one in front */
      var i = order[k], dx = x[i] - mx, dy = y[i] - my, d = dx * dx + dy * dy;
      if (d <= least && !(found && !found[i])) { least = d; best = i; }
    }
    return best;
  }
  function point(i, e) {
    if (i !== hover) {
      hover = i;
      canvas.style.cursor = i < 0 ? "grab" : "pointer";
      tip.textContent = "";
      if (i >= 0) {
        thumb(tip, i, "");
        make("div", tip, nameOf(i));
        if (by.value !== "" && by.value !== label.value) {
          make("div", tip, data.columns[+by.value] + ": " + data.values[+by.value][i]).className = "quiet";
        }
      }
      ask();
    }
    tip.style.display = i < 0 ? "none" : "block";
    if (i >= 0) {
      var left = x[i] / ratio + 14, top = y[i] / ratio + 10;
      tip.style.left = Math.max(4, Math.min(left, stage.clientWidth - tip.offsetWidth - 6)) + "px";
      tip.style.top = Math.max(4, Math.min(top, stage.clientHeight - tip.offsetHeight - 6)) + "px";
    }
  }
  function item(list, i, note) {
    var button = make("button", make("li", list));
    make("b", button, nameOf(i));
    if (note) { make("span", button, note).className = "quiet"; }
    button.addEventListener("click", function () { pick(i); });
  }
  function pick(i) {
    picked = i; about.textContent = "";
    if (i >= 0) {
      thumb(about, i, "thumb");
      make("strong", about, nameOf(i));
      var all = make("dl", about);
      data.columns.forEach(function (name, c) {
        var value = data.values[c][i];
        if (value !== "") { make("dt", all, name); make("dd", all, String(value)); }
      });
      if (near) {
        make("div", about, "Nearest by cosine distance").className = "quiet";
        var list = make("ul", about, "", "nearest");
        for (var k = 0; k < data.k; k++) {
          item(list, near[i * data.k + k], far[i * data.k + k].toFixed(3));
        }
      }
    }
    ask();
  }
  search.addEventListener("input", function () {
    var word = search.value.trim().toLowerCase();
    hits.textContent = ""; hits.hidden = !word; found = null;
    if (word) {
      found = new Uint8Array(n);
      var total = 0, list = document.createElement("ul");
      for (var i = 0; i < n; i++) {
        for (var c = 0; c < data.values.length; c++) {
          if (String(data.values[c][i]).toLowerCase().indexOf(word) >= 0) { found[i] = 1; break; }
        }
        if (found[i]) { total++; if (total <= 20) { item(list, i, ""); } }
      }
      make("div", hits, total + " found" + (total > 20 ? ", the first 20" : "")).className = "quiet";
      hits.appendChild(list);
    }
    ask();
  });

  /* ------------------------------------------------------------------ turning */
  var drag = null, moved = 0;
  canvas.addEventListener("pointerdown", function (e) {
    drag = [e.clientX, e.clientY]; moved = 0; canvas.setPointerCapture(e.pointerId); });
  canvas.addEventListener("pointermove", function (e) {
    if (!drag) { return point(at(e), e); }
    var dx = e.clientX - drag[0], dy = e.clientY - drag[1];
    moved += Math.abs(dx) + Math.abs(dy); drag = [e.clientX, e.clientY];
    if (dims.value === "2" || e.shiftKey) { shiftX += dx; shiftY += dy; }
    else { aside += dx * 0.008; down = Math.max(-1.57, Math.min(1.57, down + dy * 0.008)); }
    point(-1, e); ask();
  });
  canvas.addEventListener("pointerup", function (e) { if (drag && moved < 4) { pick(at(e)); } drag = null; });
  canvas.addEventListener("pointercancel", function () { drag = null; });
  canvas.addEventListener("pointerleave", function (e) { if (!drag) { point(-1, e); } });
  canvas.addEventListener("wheel", function (e) {
    e.preventDefault();
    var before = zoom, box = canvas.getBoundingClientRect();
    zoom = Math.max(0.3, Math.min(60, zoom * Math.exp(-e.deltaY * 0.0012)));
    var mx = e.clientX - box.left - box.width / 2, my = e.clientY - box.top - box.height / 2, f = zoom / before;
    shiftX = mx - (mx - shiftX) * f; shiftY = my - (my - shiftY) * f;
    ask();
  }, { passive: false });
  canvas.addEventListener("keydown", function (e) {
    var step = { ArrowLeft: [-0.08, 0], ArrowRight: [0.08, 0], ArrowUp: [0, -0.08], ArrowDown: [0, 0.08] }[e.key];
    if (step) { aside += step[0]; down = Math.max(-1.57, Math.min(1.57, down + step[1])); }
    else if (e.key === "+" || e.key === "=") { zoom = Math.min(60, zoom * 1.2); }
    else if (e.key === "-") { zoom = Math.max(0.3, zoom / 1.2); }
    else if (e.key === "Escape") { pick(-1); }
    else if (e.key === "0") { zoom = 1; shiftX = shiftY = 0; down = 0.35; aside = -0.5; }
    else { return; }
    e.preventDefault(); ask();
  });
  function say() {
    var two = dims.value === "2";
    hint.textContent = two ? "drag to move, wheel to zoom, 0 to start over"
      : "drag to turn, shift and drag to move, wheel to zoom, 0 to start over";
    var kept = data.shares.slice(0, two ? 2 : 3);
    share.textContent = "principal components: " + kept.map(function (v) { return (100 * v).toFixed(1) + " %"; })
      .join(", ") + " of the variance";
    ask();
  }
  dims.addEventListener("change", say);
  by.addEventListener("change", paint);
  label.addEventListener("change", ask);
  window.addEventListener("resize", size);
  say(); size();
  window.projectorAt = function (i) { return [x[i] / ratio, y[i] / ratio, z[i]]; };
})();
"""
