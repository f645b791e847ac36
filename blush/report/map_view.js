// The map in 3D: surface at a contour level, drawn by 3Dmol.js, coloured by a second map. No network, no storage.
(() => {
  const place = document.getElementById("map3d");
  const scene = JSON.parse(document.getElementById("map3d-scene").textContent);
  const say = (text) => { document.getElementById("map3d-told").textContent = text; };
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  // A map of the scene as {side: [x, y, z], step_angst, values}; z runs slowest.
  const unpacked = (packed) => {
    const raw = bytes(packed.values);
    const whole = packed.bits === 16 ? new Uint16Array(raw.buffer) : raw;
    const values = Float32Array.from(whole, (one) => packed.low + (packed.high - packed.low) * one / packed.most);
    return { side: packed.side, step: packed.step_angst, values };
  };

  // Value between the voxels of a map; at the border that of the border.
  const at = (map, x, y, z) => {
    const [nx, ny, nz] = map.side;
    const floor = (v, n) => Math.min(Math.max(Math.floor(v), 0), n - 2);
    const i = floor(x, nx), j = floor(y, ny), k = floor(z, nz);
    const clip = (v) => Math.min(Math.max(v, 0), 1);
    const a = clip(x - i), b = clip(y - j), c = clip(z - k);
    const v = map.values, o = (k * ny + j) * nx + i, up = nx, far = nx * ny;
    const line = (p) => v[p] + a * (v[p + 1] - v[p]);
    const plane = (p) => { const low = line(p); return low + b * (line(p + up) - low); };
    const near = plane(o);
    return near + c * (plane(o + far) - near);
  };

  // Surface nets (Gibson 1998, doi:10.1007/BFb0056277): one vertex in each cell that the surface passes, at the mean
  // of its crossings with the cell's edges; four cells around an edge that it crosses make a face.
  const surface = (map, level) => {
    const [nx, ny, nz] = map.side, v = map.values, far = nx * ny;
    const corner = [0, 1, nx, nx + 1, far, far + 1, far + nx, far + nx + 1];
    const edges = [[0, 1], [2, 3], [4, 5], [6, 7], [0, 2], [1, 3], [4, 6], [5, 7], [0, 4], [1, 5], [2, 6], [3, 7]];
    const vertexOf = new Int32Array(v.length).fill(-1);
    const points = [], faces = [];
    for (let z = 0; z < nz - 1; z++) for (let y = 0; y < ny - 1; y++) for (let x = 0; x < nx - 1; x++) {
      const o = z * far + y * nx + x;
      let above = 0;
      for (let c = 0; c < 8; c++) if (v[o + corner[c]] > level) above |= 1 << c;
      if (above === 0 || above === 255) continue;
      let px = 0, py = 0, pz = 0, count = 0;
      for (const [p, q] of edges) {
        if (((above >> p) & 1) === ((above >> q) & 1)) continue;
        const low = v[o + corner[p]], t = (level - low) / (v[o + corner[q]] - low);
        px += (p & 1) + t * ((q & 1) - (p & 1));
        py += ((p >> 1) & 1) + t * (((q >> 1) & 1) - ((p >> 1) & 1));
        pz += (p >> 2) + t * ((q >> 2) - (p >> 2));
        count++;
      }
      vertexOf[o] = points.length;
      points.push([x + px / count, y + py / count, z + pz / count]);
      // Edges from corner 0 along x, y and z, with the cells before this one along the two other axes.
      const inside = above & 1;
      for (const [other, u, du, w, dw] of [[1, y, nx, z, far], [2, z, far, x, 1], [4, x, 1, y, nx]]) {
        if (u === 0 || w === 0 || ((above >> other) & 1) === inside) continue;
        const a = vertexOf[o], b = vertexOf[o - du], c = vertexOf[o - du - dw], d = vertexOf[o - dw];
        if (inside) faces.push(a, b, c, a, c, d); else faces.push(a, c, b, a, d, c);
      }
    }
    return { points, faces };
  };

  const map = unpacked(scene.map), colour = scene.colour && unpacked(scene.colour);
  const middle = map.side.map((n) => (n - 1) / 2);
  const position = (p) => ({
    x: (p[0] - middle[0]) * map.step, y: (p[1] - middle[1]) * map.step, z: (p[2] - middle[2]) * map.step,
  });
  const normal = ([x, y, z]) => {
    const g = [at(map, x - 1, y, z) - at(map, x + 1, y, z), at(map, x, y - 1, z) - at(map, x, y + 1, z),
      at(map, x, y, z - 1) - at(map, x, y, z + 1)];
    const length = Math.hypot(...g) || 1;
    return { x: g[0] / length, y: g[1] / length, z: g[2] / length };
  };
  // What 3Dmol asks of a second map and of a scale of colours.
  const second = colour && {
    getVal: (x, y, z) => at(colour, ...[x, y, z].map((one, i) => (one / map.step + middle[i]) * map.step / colour.step)),
  };
  const scale = colour && new $3Dmol.Gradient.CustomLinear(scene.colour.low, scene.colour.high, scene.colour.colours);

  let viewer = null, shape = null;
  const background = () => getComputedStyle(place).backgroundColor;
  const slider = document.getElementById("map3d-level");
  const draw = () => {
    const level = Number(slider.value), found = surface(map, level);
    if (shape) viewer.removeShape(shape);
    shape = null;
    if (found.faces.length) {
      shape = viewer.addCustom({
        vertexArr: found.points.map(position), normalArr: found.points.map(normal), faceArr: found.faces,
        color: scene.plain,
      });
      if (second) shape.updateStyle({ voldata: second, volscheme: scale });
      shape.boundingSphere.center.set(0, 0, 0);
      shape.boundingSphere.radius = 0.42 * Math.max(...map.side) * map.step;
    }
    viewer.render();
    let count = 0;
    for (const value of map.values) if (value > level) count++;
    const volume = count * map.step ** 3;
    const mass = volume / 1.21 / 1000;  // Å³ of protein per dalton: Harpaz, Gerstein & Chothia 1994
    say(`Contour ${level.toPrecision(3)}: encloses ${(volume / 1000).toFixed(0)} nm³, as ${Number(mass.toPrecision(2))} kDa `
      + "of protein would fill.");
    place.dataset.triangles = String(found.faces.length / 3);
    place.dataset.level = slider.value;
  };

  const look = {  // turns (x, y, z, w) that bring an axis towards the viewer
    z: [0, 0, 0, 1], y: [Math.SQRT1_2, 0, 0, Math.SQRT1_2], x: [0, -Math.SQRT1_2, 0, Math.SQRT1_2],
  };

  const canvas = document.createElement("canvas");
  if (!(canvas.getContext("webgl2") || canvas.getContext("webgl"))) {
    say("This browser has no WebGL, so that the map cannot be drawn here; open the file in ChimeraX.");
    return;
  }
  viewer = $3Dmol.createViewer(place, { backgroundColor: background(), orthographic: true, disableFog: true, upscale: false });
  draw();
  viewer.zoomTo();
  viewer.render();
  const far = viewer.getView()[3];
  const wait = { pending: false };
  slider.addEventListener("input", () => {
    if (wait.pending) return;
    wait.pending = true;
    requestAnimationFrame(() => { wait.pending = false; draw(); });
  });
  for (const axis of ["x", "y", "z"]) {
    document.getElementById(`map3d-${axis}`).addEventListener("click", () => {
      viewer.setView([0, 0, 0, far, ...look[axis]]);
    });
  }
  // The wheel moves the page until somebody has taken hold of the map.
  let held = false;
  place.addEventListener("pointerdown", () => { held = true; });
  place.addEventListener("pointerleave", () => { held = false; });
  place.addEventListener("wheel", (event) => { if (!held) event.stopPropagation(); }, true);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    viewer.setBackgroundColor(background());
    viewer.render();
  });
})();
