/* The playground: a small network and its gradients, live, in one classic script without dependencies.
 *
 * Engine (numbers), jobs (in Workers), pictures, then the instrument. Settings have the names of `vgp_lib.build_mlp`;
 * what Python knows (data, thresholds, activations, initializers, optimizers) is handed over in VGP_CONSTANTS by
 * _page.py. Arrays are row-major, one row a sample, and Float32Array: so they overflow and underflow where Keras
 * does. Every number is compared with vgp_lib and Keras in tests/browser/test_playground.py.
 */
const VGP = (function factory(C) {
  "use strict";
  const { fround, exp } = Math, TINY = 2 ** -126; // the least normal number of float32

  // ---------------------------------------------------------------- random numbers: counted, so that Python can follow

  /** Scramble the bits of a 32-bit integer (the finalizer "lowbias32" of C. Wellons's hash prospector, 2018). */
  function mix(x) {
    x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
    x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
    return (x ^ (x >>> 16)) >>> 0;
  }

  /** Draw `count` numbers between 0 and 1; `seed` and `stream` (a layer, an epoch) tell which. */
  function uniforms(count, seed, stream) {
    const key = mix(Math.imul(seed + 1, 0x9e3779b9) + Math.imul(stream + 1, 0x85ebca6b)), out = new Float64Array(count);
    for (let i = 0; i < count; i++) out[i] = (mix(key + Math.imul(i + 1, 0x6d2b79f5)) + 0.5) / 4294967296;
    return out;
  }

  /** A function that Python has put into a Chebyshev series: Clenshaw's sum. */
  function series({ middle, half, terms }, x) {
    const y = (2 * (x - middle)) / half;
    let d = 0, dd = 0;
    for (let j = terms.length - 1; j > 0; j--) {
      const next = y * d - dd + terms[j];
      dd = d;
      d = next;
    }
    return terms[0] + (y * d) / 2 - dd;
  }

  /** The distribution function of the normal distribution, by a series for ln(erfc(x) exp(x²) / t), t = 2 / (2 + x). */
  function normalCdf(z) {
    const x = Math.abs(z) / Math.SQRT2, t = 2 / (2 + x);
    const half = (t * exp(series(C.series.erfc, t) - x * x)) / 2;
    return z > 0 ? 1 - half : half;
  }

  /** Its inverse: near the middle in proportion to p - 1/2, in the tails by the root of -2 ln p. */
  function quantile(p) {
    if (p > 0.97575) return -quantile(1 - p);
    if (p < 0.02425) return series(C.series.tail, Math.sqrt(-2 * Math.log(p)));
    return (p - 0.5) * series(C.series.centre, (p - 0.5) ** 2);
  }

  /** Draw a kernel as Keras's initializer `name` would; `scale` is a factor on the standard deviation. */
  function drawKernel(name, scale, rows, columns, seed, stream) {
    const kind = C.initializers[name], u = uniforms(rows * columns, seed, stream);
    const fan = { fan_in: rows, fan_out: columns, fan_avg: (rows + columns) / 2 }[kind.mode];
    const deviation = scale * (kind.mode ? Math.sqrt(kind.scale / fan) : kind.stddev ?? kind.gain);
    if (kind.distribution === "uniform") return Float32Array.from(u, (p) => deviation * Math.sqrt(3) * (2 * p - 1));
    if (kind.distribution === "truncated_normal") { // cut off at ±2 standard deviations, stretched to make up for it
      const tail = 0.022750131948179207;
      return Float32Array.from(u, (p) => (deviation / 0.8796256610342398) * quantile(tail + p * (1 - 2 * tail)));
    }
    const normal = u.map(quantile);
    if (kind.distribution === "normal") return Float32Array.from(normal, (value) => deviation * value);
    const long = Math.max(rows, columns), short = Math.min(rows, columns), flat = rows < columns;
    for (let j = 0; j < short; j++) { // orthogonal: Gram and Schmidt on the columns of long × short normal numbers
      for (let pass = 0; pass < 2; pass++) // twice is enough (Kahan, in Parlett 1980, section 6.9)
        for (let i = 0; i < j; i++) {
          let dot = 0;
          for (let k = 0; k < long; k++) dot += normal[k * short + i] * normal[k * short + j];
          for (let k = 0; k < long; k++) normal[k * short + j] -= dot * normal[k * short + i];
        }
      let norm = 0;
      for (let k = 0; k < long; k++) norm += normal[k * short + j] ** 2;
      for (let k = 0; k < long; k++) normal[k * short + j] /= Math.sqrt(norm);
    }
    return Float32Array.from(normal, (_, at) =>
      deviation * (flat ? normal[(at % columns) * short + Math.floor(at / columns)] : normal[at]));
  }

  // ------------------------------------------------------------------------------------------------------- activations

  /** φ(z), and φ'(z) from z and φ(z); rounded to float32 where Keras's slope is 0 as soon as φ rounds to 1. */
  const bell = (z) => exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  const KINDS = {
    sigmoid: () => [(z) => fround(1 / (1 + exp(-z))), (z, a) => a * fround(1 - a)],
    tanh: () => [(z) => fround(1 - 2 / (exp(2 * z) + 1)), (z, a) => 1 - a * a],
    gelu: () => [(z) => z * normalCdf(z), (z, a) => (z === 0 ? 0.5 : a / z) + z * bell(z)],
    elu: ({ alpha, scale }) => [
      (z) => scale * (z > 0 ? z : alpha * (exp(z) - 1)), (z) => scale * (z > 0 ? 1 : alpha * exp(z))],
    bent: ({ slope }) => [(z) => (z > 0 ? z : slope * z), (z) => (z > 0 ? 1 : slope)],
  };
  const PHI = Object.fromEntries(Object.entries(C.activations).map(([name, kind]) => [name, KINDS[kind.kind](kind)]));

  // ------------------------------------------------------------------------------------------------------- the network

  /** Build the net of a setting with the page's weights for a seed: layers with kernel, bias, or normalization. */
  function build(setting, seed) {
    const { hidden_layers: depth, units, kernel_initializer: name, scale, batch_normalization: normalized } = setting;
    const layers = Array.from({ length: depth + 1 }, (_, l) => {
      const rows = l === 0 ? 2 : units, columns = l === depth ? 1 : units, zeros = () => new Float32Array(columns);
      const layer = { rows, columns, kernel: drawKernel(name, scale, rows, columns, seed, l) };
      if (!normalized || l === depth) return { ...layer, bias: zeros() };
      return { ...layer, gamma: zeros().fill(1), beta: zeros(), mean: zeros(), variance: zeros().fill(1) };
    });
    return { layers, activation: setting.activation, residual: setting.residual };
  }

  const trained = (layer) => [layer.kernel, layer.bias, layer.gamma, layer.beta].filter(Boolean);

  /** Copy a net, weights included. */
  function copy(net) {
    const one = ([name, value]) => [name, value.slice ? value.slice() : value];
    const layers = net.layers.map((layer) => Object.fromEntries(Object.entries(layer).map(one)));
    return { ...net, layers };
  }

  const spaces = new Map();

  /** Memory for one pass of n samples, shared by nets of one shape: what is read from it is read before the next pass.
   *  The rows are rounded up to fours, as `multiply` takes them. */
  function space({ layers }, n) {
    const key = [n, layers.length, layers[0].columns, "gamma" in layers[0]].join();
    if (!spaces.has(key)) {
      const rows = 4 * Math.ceil(n / 4), make = (columns) => new Float32Array(rows * columns);
      const memory = layers.map(({ rows: inputs, columns, gamma }) => {
        const [z, a, s, out, delta, hat, y] = Array.from({ length: 7 }, () => make(columns));
        return { z, a, s, out, delta, hat, y: gamma ? y : z, back: make(inputs), deviation: new Float32Array(columns) };
      });
      if (spaces.size > 5) spaces.delete(spaces.keys().next().value); // the oldest
      spaces.set(key, { n, rows, input: make(2), layers: memory });
    }
    return spaces.get(key);
  }

  /** z = x W + b, four rows at a time, so that each weight is fetched once for four. */
  function multiply(x, kernel, bias, z, rows, inputs, columns) {
    for (let i = 0; i < rows; i += 4) {
      const a = i * inputs, b = a + inputs, c = b + inputs, d = c + inputs;
      for (let j = 0; j < columns; j++) {
        let p = bias ? bias[j] : 0, q = p, r = p, t = p;
        for (let k = 0, at = j; k < inputs; k++, at += columns) {
          const w = kernel[at];
          p += x[a + k] * w;
          q += x[b + k] * w;
          r += x[c + k] * w;
          t += x[d + k] * w;
        }
        const at = i * columns + j; // what is no normal number is 0, as in TensorFlow; and it would be slow
        z[at] = Math.abs(p) < TINY ? 0 : p;
        z[at + columns] = Math.abs(q) < TINY ? 0 : q;
        z[at + 2 * columns] = Math.abs(r) < TINY ? 0 : r;
        z[at + 3 * columns] = Math.abs(t) < TINY ? 0 : t;
      }
    }
  }

  const transpose = (kernel, rows, columns) =>
    kernel.map((_, at) => kernel[(at % rows) * columns + Math.floor(at / rows)]);

  /** Batch normalization of z into y; in training by the batch, whose statistics it keeps. */
  function normalize({ columns, gamma, beta, mean, variance }, memory, n, training) {
    const { z, y, hat, deviation } = memory, { epsilon, momentum } = C.normalization;
    if (training) memory.statistics = [new Float32Array(columns), new Float32Array(columns)];
    for (let j = 0; j < columns; j++) {
      let middle = mean[j], spread = variance[j];
      if (training) {
        middle = spread = 0;
        for (let i = 0, at = j; i < n; i++, at += columns) middle += z[at] / n;
        for (let i = 0, at = j; i < n; i++, at += columns) spread += (z[at] - middle) ** 2 / n;
        memory.statistics[0][j] = momentum * mean[j] + (1 - momentum) * middle;
        memory.statistics[1][j] = momentum * variance[j] + (1 - momentum) * spread;
      }
      deviation[j] = Math.sqrt(spread + epsilon);
      for (let i = 0, at = j; i < n; i++, at += columns) {
        hat[at] = (z[at] - middle) / deviation[j];
        y[at] = hat[at] * gamma[j] + beta[j];
      }
    }
  }

  /** From dL/dy in `delta` to dL/dz, through the batch's mean and variance (Ioffe & Szegedy 2015, section 3). */
  function normalizeBack({ columns, gamma }, memory, n) {
    const { hat, delta, deviation } = memory;
    memory.slopes = [new Float32Array(columns), new Float32Array(columns)]; // of the loss in gamma and beta
    for (let j = 0; j < columns; j++) {
      let along = 0, sum = 0;
      for (let i = 0, at = j; i < n; i++, at += columns) {
        along += delta[at] * hat[at];
        sum += delta[at];
      }
      [memory.slopes[0][j], memory.slopes[1][j]] = [along, sum];
      for (let i = 0, at = j; i < n; i++, at += columns)
        delta[at] = (gamma[j] / deviation[j]) * (delta[at] - sum / n - (hat[at] * along) / n);
    }
  }

  /** Run n samples forward; `training` tells whether batch normalization goes by the batch. The logits are returned. */
  function forward(net, x, n, training = true) {
    const memory = space(net, n), last = net.layers.length - 1, [phi, slope] = PHI[net.activation] ?? [];
    memory.input.set(x);
    let below = memory.input;
    net.layers.forEach((layer, l) => {
      const here = memory.layers[l], { y, a, s, out } = here, size = n * layer.columns;
      here.input = below;
      multiply(below, layer.kernel, layer.bias, here.z, memory.rows, layer.rows, layer.columns);
      if (layer.gamma) normalize(layer, here, n, training);
      if (l === last) return;
      here.skips = net.residual && l > 0;
      for (let i = 0; i < size; i++) {
        const value = phi(y[i]);
        a[i] = value;
        s[i] = slope(y[i], value);
        if (here.skips) out[i] = below[i] + a[i];
      }
      below = here.skips ? out : a;
    });
    return memory.layers[last].z;
  }

  /** The mean loss (binary cross-entropy, from logits) and accuracy of the last forward pass. */
  function score(z, y, n) {
    let loss = 0, accuracy = 0;
    for (let i = 0; i < n; i++) {
      loss += (Math.max(z[i], 0) - z[i] * y[i] + Math.log1p(exp(-Math.abs(z[i])))) / n;
      accuracy += (z[i] > 0) === (y[i] > 0.5) ? 1 / n : 0;
    }
    return { loss, accuracy };
  }

  /** Run the last forward pass of n samples backward: `delta` of every layer is dL/dz, as in `inspect_layers`. */
  function backward(net, y, n) {
    const memory = space(net, n), last = net.layers.length - 1, { z, delta: error } = memory.layers[last];
    for (let i = 0; i < n; i++) error[i] = fround(fround(1 / (1 + exp(-z[i]))) - y[i]) / n;
    for (let l = last; l >= 0; l--) {
      const layer = net.layers[l], { rows, columns, kernel } = layer, here = memory.layers[l];
      if (l < last) {
        const { delta, s } = here, above = memory.layers[l + 1], size = n * columns;
        here.upper = above.back; // dL/d(output of this layer): a block with a skip hands its own on
        if (above.skips) for (let i = 0; i < size; i++) here.upper[i] += above.upper[i];
        for (let i = 0; i < size; i++) delta[i] = here.upper[i] * s[i];
        if (layer.gamma) normalizeBack(layer, here, n);
      }
      if (l > 0) multiply(here.delta, transpose(kernel, rows, columns), null, here.back, memory.rows, columns, rows);
    }
    return memory;
  }

  /** The batch's gradients of every trained array of the last pass, in the order of `trained`: dL/dW = xᵀ dL/dz. */
  function gradients(net, { n, layers }) {
    return net.layers.flatMap(({ rows, columns, gamma }, l) => {
      const { delta, slopes, input } = layers[l], padded = 4 * Math.ceil(rows / 4), bias = new Float32Array(columns);
      const across = new Float32Array(padded * n), kernel = new Float32Array(padded * columns);
      for (let i = 0; i < n; i++) for (let k = 0; k < rows; k++) across[k * n + i] = input[i * rows + k];
      multiply(across, delta, null, kernel, padded, n, columns);
      for (let i = 0, d = 0; i < n; i++) for (let j = 0; j < columns; j++, d++) bias[j] += delta[d];
      return [kernel.subarray(0, rows * columns), ...(gamma ? slopes : [bias])];
    });
  }

  /** What `inspect_layers` measures, after a forward and backward pass: one entry a layer, the output layer last. */
  function report(net, { n, layers }) {
    const found = { delta_rms: [], kernel_gradient_rms: [], sample_spread: [], dead: [] };
    net.layers.forEach(({ rows, columns }, l) => {
      const { delta, a, input } = layers[l];
      let deltas = 0, kernels = 0, spread = 0, dead = 0;
      for (let i = 0; i < n; i++) {
        let d = 0, square = 0;
        for (let j = i * columns; j < (i + 1) * columns; j++) d += delta[j] * delta[j];
        for (let k = i * rows; k < (i + 1) * rows; k++) square += input[k] * input[k];
        deltas += d;
        kernels += d * square; // a sample's own dL/dW is the outer product of the two
      }
      for (let j = 0; j < columns; j++) {
        let mean = 0, zeros = 0;
        for (let i = 0, at = j; i < n; i++, at += columns) {
          mean += a[at] / n;
          zeros += a[at] === 0 ? 1 : 0;
        }
        for (let i = 0, at = j; i < n; i++, at += columns) spread += (a[at] - mean) ** 2 / n / columns;
        dead += zeros === n ? 1 : 0;
      }
      const values = [Math.sqrt(n * deltas), Math.sqrt(n * kernels), Math.sqrt(spread), dead / columns];
      Object.keys(found).forEach((name, i) => found[name].push(values[i]));
    });
    return found;
  }

  /** Measure an untrained or trained net on the data, in training mode. */
  function inspect(net, { x, y, n }) {
    forward(net, x, n);
    return report(net, backward(net, y, n));
  }

  // --------------------------------------------------------------------------------------------------------- training

  /** An optimizer, by Keras's formulas and defaults; `step` changes the arrays by their gradients. */
  function makeOptimizer(name, rate) {
    const { beta_1, beta_2, rho, epsilon } = C.optimizers[name], memory = [];
    let t = 0;
    return { step: (arrays, found) => {
      t += 1;
      const alpha = (rate * Math.sqrt(1 - beta_2 ** t)) / (1 - beta_1 ** t);
      arrays.forEach((array, index) => {
        const g = found[index], [m, v] = (memory[index] ??= [new Float32Array(g.length), new Float32Array(g.length)]);
        for (let i = 0; i < g.length; i++) {
          const square = fround(g[i] * g[i]); // infinite from 2e19 on, as in Keras
          if (name === "SGD") array[i] -= rate * g[i];
          else if (name === "RMSprop") {
            v[i] = rho * v[i] + (1 - rho) * square;
            array[i] -= (rate * g[i]) / Math.sqrt(v[i] + epsilon);
          } else {
            m[i] += (g[i] - m[i]) * (1 - beta_1);
            v[i] += (square - v[i]) * (1 - beta_2);
            array[i] -= (alpha * m[i]) / (Math.sqrt(v[i]) + epsilon);
          }
        }
      });
    } };
  }

  /** One training step on n samples; returns loss and accuracy before it. */
  function step(net, optimizer, x, y, n) {
    const found = score(forward(net, x, n), y, n), memory = backward(net, y, n);
    optimizer.step(net.layers.flatMap(trained), gradients(net, memory));
    net.layers.forEach((layer, l) => { if (layer.gamma) [layer.mean, layer.variance] = memory.layers[l].statistics; });
    return found;
  }

  /** Mean |ΔW| / mean |W| of every kernel in a first step on all n samples, right after `inspect`: `update_ratios`. */
  function updateRatios(net, { optimizer, learning_rate: rate }, { n }) {
    const after = copy(net), size = (values) => values.reduce((sum, value) => sum + Math.abs(value), 0);
    makeOptimizer(optimizer, rate).step(after.layers.flatMap(trained), gradients(net, space(net, n)));
    return net.layers.map(({ kernel }, l) => size(after.layers[l].kernel.map((w, i) => w - kernel[i])) / size(kernel));
  }

  /** Train a seed of a setting; a generator that pauses after every batch, and tells when an epoch is over. */
  function* training(setting, seed, { x, y, n }, epochs, net = build(setting, seed)) {
    const optimizer = makeOptimizer(setting.optimizer, setting.learning_rate);
    for (let epoch = 0; epoch < epochs; epoch++) {
      const u = uniforms(n, seed, 1000 + epoch), order = Uint16Array.from(u.keys()).sort((a, b) => u[a] - u[b]);
      let loss = 0, accuracy = 0;
      for (let from = 0; from < n; from += C.batch_size) {
        const rows = order.subarray(from, from + C.batch_size), labels = Float32Array.from(rows, (row) => y[row]);
        const points = Float32Array.from({ length: 2 * rows.length }, (_, i) => x[2 * rows[i >> 1] + (i & 1)]);
        const found = step(net, optimizer, points, labels, rows.length);
        loss += (found.loss * rows.length) / n; // as Keras's `fit` counts: over the batches, while the net changes
        accuracy += (found.accuracy * rows.length) / n;
        yield from + rows.length >= n ? { net, epoch, loss, accuracy } : null;
      }
    }
  }

  // ------------------------------------------------------------------------------------------------------- the verdict

  const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const hidden = (values) => values.slice(0, -1);
  const nameOf = ({ before }, l) => (l === before.dead.length - 1 ? "output" : `hidden_${l + 1}`);
  const reach = ({ delta_rms: rms }) => hidden(rms).map((value) => value / rms[rms.length - 1]);
  const finite = ({ delta_rms: rms }) => rms.every(Number.isFinite);

  /** Rehearse a training on the whole batch and tell what the gradient is: `diagnose`, for the nets of the page. */
  function* verdict(setting, seed, data, net = build(setting, seed)) {
    const { x, y, n } = data, before = inspect(net, data), losses = [], after = copy(net);
    const optimizer = makeOptimizer(setting.optimizer, setting.learning_rate);
    for (let index = 0; index < C.steps; index++) {
      losses.push(step(after, optimizer, x, y, n).loss);
      yield null;
    }
    const found = { setting, before, losses, after: null, shuffled: NaN };
    if (after.layers.flatMap(trained).every((array) => array.every(Number.isFinite))) {
      const z = forward(after, x, n), ones = average(y);
      found.shuffled = 0; // the mean over all ways to give the answers to other samples
      for (let i = 0; i < n; i++) {
        const logit = Float32Array.of(Math.max(-16.1, Math.min(16.1, z[i]))); // as Keras: p clipped at 1e-7
        found.shuffled += (ones * score(logit, [1], 1).loss + (1 - ones) * score(logit, [0], 1).loss) / n;
      }
      found.after = report(after, backward(after, y, n));
    }
    const [word, layer] = decide(found);
    yield { verdict: word, layer: layer === null ? null : nameOf(found, layer), ...explain(found, word, layer) };
  }

  const lastTenth = (losses) => average(losses.slice(-Math.floor(losses.length / 10))); // a single step may jump

  function hasLearned({ losses, shuffled }) {
    const last = lastTenth(losses), enough = (1 - C.learned) * Math.abs(shuffled);
    return shuffled - last > enough && last - losses[0] < enough;
  }

  /** The verdict and the index of the layer that it names, or null: `_decide` of engine/diagnosis.py. */
  function decide(found) {
    const place = (values, choose) => values.indexOf(choose(...values));
    const largest = place(found.before.delta_rms.map((rms) => (Number.isNaN(rms) ? Infinity : rms)), Math.max);
    if (!found.after || !found.losses.every(Number.isFinite)) return ["exploding", largest];
    if (hasLearned(found)) return ["healthy", null];
    for (const seen of [found.before, found.after]) { // what was there first is the cause
      if (!finite(seen)) return ["exploding", largest];
      const ratios = reach(seen), dead = hidden(seen.dead).indexOf(1);
      if (dead >= 0) return ["dead", dead];
      if (ratios.some(Number.isNaN)) return ["vanishing", ratios.length];
      if (Math.max(...ratios) > C.loud) return ["exploding", place(ratios, Math.max)];
      if (Math.min(...ratios) < C.faint) return ["vanishing", place(ratios, Math.min)];
    }
    return ["healthy", null];
  }

  /** Reason and next line, in the words of `diagnose`. */
  function explain(found, word, layer) {
    const { setting, before } = found, course = describeCourse(found);
    const { losses } = found, last = lastTenth(losses);
    if (word === "healthy" && hasLearned(found)) {
      const far = losses[0] - last > (1 - C.learned) * Math.abs(found.shuffled);
      const needed = far ? losses.findIndex((loss) => loss - last <= 0.1 * (losses[0] - last)) : 0;
      const falls = needed > C.late * losses.length, done = last < (1 - C.done) * found.shuffled;
      const long = needed ? `; train for ${falls ? "more than" : "at least"} ${needed} steps` : "";
      const because = `The net answers to its input: ${course}${falls && !done ? "; the loss still falls" : ""}.`;
      return { because, try_next: `nothing to change${long}` };
    }
    if (word === "healthy") {
      const because = "Not the gradient: every layer gets one, but the net learns no more than a constant would";
      const factor = last <= losses[0] ? 10 : 0.1;
      return { because: `${because}; ${course}.`, try_next: `optimizer = ${optimizerCode(setting, factor)}` };
    }
    const shown = { dead: hidden(before.dead).map((share) => share === 1) };
    shown.exploding = reach(before).map((ratio) => ratio > C.loud);
    shown.vanishing = reach(before).map((ratio) => ratio < C.faint);
    const because = `${describeCause(found, word, layer)}; ${course}.`;
    return { because, try_next: remedy(setting, word, layer === before.dead.length - 1, shown[word].includes(true)) };
  }

  function describeCause(found, word, layer) {
    const { before, after, losses } = found, at = nameOf(found, layer);
    const when = (isBefore) => (isBefore ? "Before training" : "After the rehearsal");
    if (word === "dead")
      return `${when(before.dead[layer] === 1)} all units of ${at} give 0 for all samples, no gradient passes it`;
    const largest = powerOfTen(before.delta_rms[layer]);
    if (!after || !losses.every(Number.isFinite) || !finite(before) || !finite(after))
      return `The steps run out of range; before them ${at} had the largest delta, ${largest}`;
    if (layer === before.dead.length - 1) return `Not even ${at} gets a gradient: its answers are saturated`;
    const shares = [reach(before)[layer], reach(after)[layer]];
    const share = (word === "exploding" ? Math.max : Math.min)(...shares);
    return `${when(share === shares[0])} the delta of ${at} is about ${powerOfTen(share)} times that of output`;
  }

  function describeCourse({ setting, losses, shuffled, after }) {
    const broken = losses.findIndex((loss) => !Number.isFinite(loss));
    const course = `in a rehearsal of ${losses.length} steps of ${optimizerCode(setting)} the loss `;
    if (broken >= 0) return `${course}becomes nan or infinite at step ${broken + 1}`;
    const way = `${course}goes from ${short(losses[0])} to ${short(losses[losses.length - 1])}`;
    return after ? `${way} (with its answers shuffled among the samples: ${short(shuffled)})` : way;
  }

  function remedy(setting, word, isOutput, sickBefore) {
    const { activation, units, batch_normalization: normalized, kernel_initializer: name, scale } = setting;
    const open = C.open.includes(activation) && !isOutput;
    if (!sickBefore) return `optimizer = ${optimizerCode(setting, 0.1, word === "exploding")}`;
    if (normalized && word !== "dead")
      return "h = keras.layers.Add()([h, block(h)])  # a skip connection around every block";
    if (name === "he_normal" && scale === 1 && open && word !== "dead" && units >= C.narrow)
      return "keras.layers.BatchNormalization()  # behind every hidden layer";
    const next = word === "dead" ? "leaky_relu" : open ? activation : "relu";
    const size = units < C.narrow ? C.wider : isOutput ? 1 : units;
    const where = setting.hidden_layers > 1 ? "  # in every hidden layer" : "";
    return normalized && !isOutput
      ? `keras.layers.Dense(${size}, kernel_initializer="he_normal"), keras.layers.Activation("${next}")${where}`
      : `keras.layers.Dense(${size}, activation="${next}", kernel_initializer="he_normal")${where}`;
  }

  /** A number as Python writes it: 1.0, 0.1, 1e-05. */
  function python(value) {
    if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential().replace(/e-(\d)$/, "e-0$1");
    return Number.isInteger(value) ? `${value}.0` : String(value);
  }

  /** A number in two digits, as Python's format ".2g" writes it. */
  function short(value, digits = 2) {
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    if (exponent >= -4 && exponent < digits) return String(Number(value.toPrecision(digits)));
    return `${Number(mantissa)}e${exponent.replace(/^([+-])(\d)$/, "$10$2")}`;
  }

  /** A number in one digit: 0.3, 20, 6e-7. */
  function oneDigit(value) {
    if (!(value > 0 && value < Infinity)) return short(value);
    const text = value.toExponential(0), size = Number(text);
    return size >= 1e-3 && size < 1e4 ? String(size) : text.replace("+", "");
  }

  const powerOfTen = (value) => (value > 0 && value < Infinity ? `1e${Math.round(Math.log10(value))}` : short(value));

  function optimizerCode({ optimizer, learning_rate: rate }, factor = 1, clip = false) {
    const size = python(Number((rate * factor).toPrecision(3)));
    return `keras.optimizers.${optimizer}(${size}${clip ? ", global_clipnorm=1.0" : ""})`;
  }

  // ------------------------------------------------------------------------------------------------- mean-field theory

  /** E[φ], E[φ²] and E[φ'²] for z ~ N(0, q), by Gauss's rule on panels that end where φ bends (engine/theory.py). */
  function integrate(activation, q) {
    const [phi, slope] = PHI[activation], root = Math.sqrt(q), ends = Array.from({ length: 25 }, (_, i) => i - 12);
    for (const z of [0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16]) if (z / root < 12) ends.push(z / root, -z / root);
    ends.sort((a, b) => a - b);
    const sums = [0, 0, 0];
    for (let panel = 0; panel + 1 < ends.length; panel++) {
      const half = (ends[panel + 1] - ends[panel]) / 2;
      for (const [node, weight] of C.nodes) {
        const u = ends[panel] + half * (1 + node), w = half * weight * bell(u);
        const a = phi(root * u), s = slope(root * u, a);
        sums[0] += w * a;
        sums[1] += w * a * a;
        sums[2] += w * s * s;
      }
    }
    return sums;
  }

  const tables = {}; // moments by activation and ln q, filled as they are asked for: for every sample and layer

  /** The same, between four points of a table in ln q (Lagrange; error about 1e-9). */
  function moments(activation, q) {
    const table = (tables[activation] ??= new Map()), at = Math.log(q) / 0.02, below = Math.floor(at), t = at - below;
    const weights = [(-t * (t - 1) * (t - 2)) / 6, ((t + 1) * (t - 1) * (t - 2)) / 2];
    weights.push((-(t + 1) * t * (t - 2)) / 2, ((t + 1) * t * (t - 1)) / 6);
    const found = [0, 0, 0];
    weights.forEach((weight, i) => {
      const key = below - 1 + i, root = exp(0.01 * key);
      if (!table.has(key)) {
        const [mean, second, slope] = integrate(activation, root * root);
        table.set(key, [mean / root, second / root / root, slope]); // bounded for small q and large
      }
      table.get(key).forEach((value, j) => { found[j] += weight * value; });
    });
    return [found[0] * Math.sqrt(q), found[1] * q, found[2]];
  }

  /** The variance of a kernel's weights: `kernel_variance` of engine/theory.py. */
  function variance({ kernel_initializer: initializer, scale }, rows, columns) {
    const kind = C.initializers[initializer], fans = { fan_in: rows, fan_out: columns, fan_avg: (rows + columns) / 2 };
    if (kind.mode) return (scale ** 2 * kind.scale) / fans[kind.mode];
    return kind.gain ? (scale * kind.gain) ** 2 / Math.max(rows, columns) : (scale * kind.stddev) ** 2;
  }

  /** delta_rms and kernel_gradient_rms of `predict_profile`: hidden layers, relative to the last one. */
  function predict(setting, { x, n }) {
    const { hidden_layers: depth, units, activation, batch_normalization: normalized, residual } = setting;
    const each = (make) => Float64Array.from({ length: n }, (_, i) => make(i));
    const widths = [2, ...Array(depth).fill(units), 1];
    const factors = hidden(widths).map((width, l) => width * variance(setting, width, widths[l + 1]));
    const inputs = [], slopes = [], [first, other] = [0, 1].map((axis) => each((i) => x[2 * i + axis]));
    let second = each((i) => (first[i] ** 2 + other[i] ** 2) / 2), mean = each(() => 0);
    const spreadOf = (values) => average(values.map((value) => value * value)) - average(values) ** 2;
    let spread = (spreadOf(first) + spreadOf(other)) / 2;
    for (let l = 0; l < depth; l++) {
      const keep = residual && l > 0 ? 1 : 0, before = second, middle = mean, factor = factors[l];
      const found = Array.from(second, (value) => moments(activation, normalized ? 1 : factor * value));
      inputs.push(before);
      const divisor = normalized ? factor * spread + C.normalization.epsilon : 1;
      slopes.push(found.map(([, , slope]) => Math.log(slope / divisor)));
      second = each((i) => keep * (before[i] + 2 * middle[i] * found[i][0]) + found[i][1]);
      mean = each((i) => keep * middle[i] + found[i][0]);
      spread = keep * spread + average(found.map(([own, square]) => square - own * own));
    }
    const profile = { delta_rms: [], kernel_gradient_rms: [] };
    const logMean = (logs, top = Math.max(...logs)) => top + Math.log(average(logs.map((log) => exp(log - top))));
    let gradient = each(() => Math.log(factors[depth])); // of dL/dh of the last hidden layer
    for (let l = depth - 1; l >= 0; l--) {
      const delta = gradient.map((value, i) => value + slopes[l][i]), width = widths[l];
      profile.delta_rms.unshift(logMean(delta));
      profile.kernel_gradient_rms.unshift(logMean(delta.map((value, i) => value + Math.log(width * inputs[l][i]))));
      const through = delta.map((value) => value + Math.log(factors[l])), past = gradient;
      const sum = (value, i) => Math.max(value, past[i]) + Math.log1p(exp(-Math.abs(value - past[i])));
      gradient = residual && l > 0 ? through.map(sum) : through;
    }
    for (const [name, logs] of Object.entries(profile)) profile[name] = logs.map((v) => exp((v - logs[depth - 1]) / 2));
    return profile;
  }

  // ------------------------------------------------------------------------------------------- jobs, in Workers if any

  const SEEDS = 32, EPOCHS = 100;
  const floats = (data) => ({ ...data, x: Float32Array.from(data.x), y: Float32Array.from(data.y) });
  const DATA = Object.fromEntries(Object.entries(C.data).map(([key, data]) => [key, floats(data)]));

  const JOBS = {
    *band({ setting, seeds, data }) {
      for (const seed of seeds) yield { ...inspect(build(setting, seed), data), seed };
    },
    verdict: ({ setting, data }) => verdict(setting, setting.seed, data),
    *train({ setting, seeds, data }) {
      for (const seed of seeds) {
        const epochs = [];
        for (const found of training(setting, seed, data, EPOCHS)) {
          if (found) epochs.push(found);
          yield null;
        }
        yield { seed, losses: epochs.map(({ loss }) => loss), accuracy: epochs[EPOCHS - 1].accuracy };
      }
    },
  };

  /** Do one job after the other as they come, in slices, so that the word to stop (a job without a kind) is heard. */
  function serve(scope) {
    const { port1, port2 } = new MessageChannel();
    let current = null;
    scope.onmessage = async ({ data: job }) => {
      current = job;
      let since = performance.now();
      for (const found of job.kind ? JOBS[job.kind](job) : []) {
        if (found !== null) scope.postMessage({ id: job.id, found });
        if (performance.now() - since < 10) continue;
        await new Promise((resume) => { port1.onmessage = resume; port2.postMessage(0); });
        if (job !== current) break;
        since = performance.now();
      }
      if (job.kind) scope.postMessage({ id: job.id, done: true });
    };
  }

  const crew = [], queue = [];
  let names = 0; // of jobs and of labels

  /** Start the Workers, one a core, at most four. Where a page may not have any, the jobs are done here, in slices. */
  function hire() {
    const text = `const C = ${JSON.stringify({ ...C, data: {}, style: "" })};(${factory})(C).serve(self);`;
    for (let i = 0; i < Math.min(4, navigator.hardwareConcurrency || 2); i++) {
      const member = { job: null }, hear = ({ data: { id, found, done } }) => {
        const { job } = member;
        if (job.id !== id) return;
        if (done) assign((member.job = null));
        if (!job.stopped) done ? job.finish?.() : job.tell(found);
      };
      try {
        member.worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
        member.worker.onmessage = hear;
      } catch {
        const scope = { postMessage: (data) => hear({ data }) };
        serve(scope);
        member.worker = { postMessage: (data) => scope.onmessage({ data }) };
      }
      crew.push(member);
    }
  }

  function assign() {
    for (const member of crew.filter(({ job }) => !job)) {
      member.job = queue.shift() ?? null;
      if (member.job) member.worker.postMessage({ ...member.job.task, id: member.job.id });
    }
  }

  /** Ask for a job; `tell` hears what it finds. Returns what `stop` takes. */
  function ask(task, tell, finish) {
    if (!crew.length) hire();
    const job = { id: ++names, task, tell, finish, stopped: false };
    queue.push(job);
    assign();
    return job;
  }

  function stop(job) {
    if (queue.includes(job)) queue.splice(queue.indexOf(job), 1);
    if (!job.stopped) crew.find((member) => member.job === job)?.worker.postMessage({ id: job.id });
    job.stopped = true;
  }

  // ---------------------------------------------------------------------------------------------------------- pictures

  const escape = (text) => String(text).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

  /** The p-quantile of finite numbers, between two of them in proportion, as NumPy has it. */
  function quantileOf(values, p) {
    const sorted = values.filter(Number.isFinite).sort((a, b) => a - b), at = p * (sorted.length - 1);
    const low = Math.floor(at);
    return low + 1 < sorted.length ? sorted[low] + (at - low) * (sorted[low + 1] - sorted[low]) : sorted[low] ?? NaN;
  }

  /** Ticks of an axis: at most so many, in steps of 1, 2, 5, 10 …; whole numbers if they must be. */
  function ticks(low, high, most, whole) {
    const steps = range(-3, 3).flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));
    const size = steps.find((one) => (!whole || one >= 1) && (high - low) / one <= most) ?? high - low;
    return range(Math.ceil(low / size - 1e-9), Math.floor(high / size + 1e-9)).map((i) => i * size);
  }

  const label = (x, y, text, more = "") => `<text x="${x}" y="${y}" ${more}>${escape(text)}</text>`;
  const svg = (width, height, parts) => {
    const size = `viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`;
    return `<svg ${size} aria-hidden="true">${parts.join("")}</svg>`;
  };
  const MIDDLE = 'text-anchor="middle"', END = 'text-anchor="end"';

  /** A chart: lines (measured with markers, predicted dashed), a band, and level lines; a log axis unless limited. */
  function chart({ width, title, xlabel, ylabel = "", x, lines, band, levels = [], limits, marks = true }) {
    const log = !limits, legend = [...lines, ...(band ? [{ ...band, kind: "b" }] : [])];
    const height = Math.round(Math.min(300, width * 0.62)), left = 60, right = width - 10, bottom = height - 36;
    const top = 26 + 15 * legend.length, parts = [label(left, 15, title, 'class="t"')];
    const place = (value) => (!log ? value : value > 0 && value < Infinity ? Math.log10(value) : NaN);
    const values = [...lines.map(({ y }) => y), levels.map(({ value }) => value), band?.low ?? [], band?.high ?? []];
    const seen = values.flatMap((values) => [...values].map(place)).filter(Number.isFinite);
    const [low, high] = limits ?? [Math.min(0, ...seen) - 0.4, Math.max(0, ...seen) + 0.4];
    const step = (right - left - 16) / (x[x.length - 1] - x[0] || 1), size = (bottom - top) / (high - low);
    const across = (value) => (left + 8 + step * (value - x[0])).toFixed(1);
    const up = (v) => (bottom - size * (Math.min(Math.max(v, low), high) - low)).toFixed(1);
    const dots = (y) => [...y].map((value, i) => [across(x[i]), place(value)]); // 0 and nan have no place: a gap
    const path = (y) => dots(y).map(([at, v], i, all) =>
      (Number.isFinite(v) ? `${Number.isFinite(all[i - 1]?.[1]) ? "L" : "M"}${at} ${up(v)}` : "")).join("");
    const rule = (kind, v, text, at, dy) =>
      parts.push(`<path class="${kind}" d="M${left} ${up(v)}H${right}"/>`, label(at, up(v), text, `${END} dy="${dy}"`));
    for (const tick of ticks(low, high, 6, log)) rule("g", tick, log ? `1e${tick}` : short(tick), left - 5, 4);
    for (const tick of ticks(x[0], x[x.length - 1], width < 400 ? 6 : 10, true))
      parts.push(label(across(tick), bottom + 15, tick, MIDDLE));
    parts.push(label((left + right) / 2, height - 5, xlabel, MIDDLE));
    parts.push(label(0, 0, ylabel, `${MIDDLE} transform="translate(11 ${(top + bottom) / 2}) rotate(-90)"`));
    if (band) {
      const edge = (values) => values.map((value, i) => `${across(x[i])} ${up(value === 0 ? low : place(value))}`);
      const around = [...edge(band.high), ...edge(band.low).reverse()].filter((point) => !point.includes("NaN"));
      if (around.length) parts.push(`<path class="b${band.stale ? " stale" : ""}" d="M${around.join("L")}Z"/>`);
    }
    for (const { y, kind } of lines) {
      const dot = ([at, v]) => (Number.isFinite(v) ? `<circle class="${kind}" cx="${at}" cy="${up(v)}" r="3"/>` : "");
      parts.push(`<path class="${kind}" d="${path(y)}"/>`, ...(marks && kind !== "predicted" ? dots(y).map(dot) : []));
    }
    for (const { value, label: text } of levels)
      if (place(value) >= low && place(value) <= high) rule("l", place(value), text, right, -4);
    legend.forEach(({ kind, label: text }, i) => {
      const y = 31 + 15 * i, box = `<rect class="b" x="${left}" y="${y - 9}" width="24" height="10"/>`;
      parts.push(kind === "b" ? box : `<path class="${kind}" d="M${left} ${y - 4}h24"/>`, label(left + 30, y, text));
    });
    return svg(width, height, parts);
  }

  /** The network, its layers coloured by delta relative to the output layer: dark is much, light is little. */
  function drawNetwork(part, width, { units, hidden_layers: depth }, delta) {
    const shown = Math.min(units, 10), gap = (width - 24) / (depth + 1), height = 188;
    const shape = [width, units, depth].join();
    const rows = (l) => range(1, l === 0 ? 2 : l > depth ? 1 : shown), r = Math.min(6, 0.42 * gap).toFixed(1);
    const at = (l, i) => [(12 + l * gap).toFixed(1), 85 + (i - (rows(l).length + 1) / 2) * 14];
    if (part.dataset.shape !== shape) { // as long as the layers stay the same, only their colours change
      const edges = (l) => rows(l).flatMap((i) => rows(l + 1).map((j) => `M${at(l, i)}L${at(l + 1, j)}`));
      const circle = ([x, y]) => `<circle cx="${x}" cy="${y}" r="${r}"/>`, every = Math.ceil(34 / gap);
      const circles = (l) => rows(l).map((i) => circle(at(l, i))).join("");
      const layer = (l) => `<g>${circles(l)}${label(at(l, 0)[0], height - 22, "", MIDDLE)}</g>`;
      const words = "delta of each layer, as a share of the output layer's";
      const some = units > shown ? `; ${shown} of ${units} units drawn` : "";
      const lines = depth <= 20 ? range(0, depth).flatMap(edges).join("") : ""; // more would be a grey field
      const parts = [`<path class="edge" d="${lines}"/>`, ...range(0, depth + 1).map(layer)];
      part.innerHTML = svg(width, height, [...parts, label(12, height - 4, words + some)]);
      Object.assign(part.dataset, { shape, every });
    }
    part.querySelectorAll("g").forEach((layer, l) => {
      const log = l > 0 ? Math.log10(delta[l - 1] / delta[depth]) : NaN;
      const told = l > 0 && (depth + 1 - l) % part.dataset.every === 0;
      const shade = Math.max(0, 8 + Math.round(Math.min(log, 0))) || 0, kind = log > 2 ? "loud" : `c${shade}`;
      const text = Number.isFinite(log) ? `1e${Math.round(log)}` : log < 0 ? "0" : "?";
      layer.setAttribute("class", l ? kind : "input");
      layer.lastChild.textContent = told ? text : "";
    });
  }

  /** The decision boundary and the points, on a canvas: circles for label 0, squares for label 1. */
  function drawBoundary(canvas, net, { x, y, n }) {
    const size = net.layers.length * net.layers[0].columns ** 2 > 2000 ? 12 : 6; // of a pixel: coarse for a large net
    const wide = 396 / size, high = 264 / size, paint = canvas.getContext("2d"), margin = 0.3;
    const [xs, ys] = [0, 1].map((axis) => [...x].filter((_, i) => i % 2 === axis));
    const [left, low] = [xs, ys].map((values) => Math.min(...values) - margin);
    const [right, top] = [xs, ys].map((values) => Math.max(...values) + margin);
    const grid = range(0, wide * high - 1).flatMap((i) => [
      left + ((right - left) * ((i % wide) + 0.5)) / wide, top - ((top - low) * (Math.floor(i / wide) + 0.5)) / high]);
    const z = forward(net, grid, wide * high, false), orange = (alpha) => `rgba(213,94,0,${alpha})`;
    const blue = (alpha) => `rgba(0,114,178,${alpha})`;
    [canvas.width, canvas.height] = [396, 264];
    for (let i = 0; i < wide * high; i++) {
      const p = 1 / (1 + exp(-z[i])), strength = Math.abs(p - 0.5) * 1.2 + 0.05;
      paint.fillStyle = Number.isNaN(p) ? "#888" : p > 0.5 ? orange(strength) : blue(strength);
      paint.fillRect((i % wide) * size, Math.floor(i / wide) * size, size, size);
    }
    paint.strokeStyle = "#fff";
    for (let i = 0; i < n; i++) {
      const at = [((xs[i] - left) / (right - left)) * 396, ((top - ys[i]) / (top - low)) * 264];
      paint.fillStyle = y[i] > 0.5 ? orange(1) : blue(1);
      paint.beginPath();
      if (y[i] > 0.5) paint.rect(at[0] - 3, at[1] - 3, 6, 6);
      else paint.arc(...at, 3.4, 0, 7);
      paint.fill();
      paint.stroke();
    }
  }

  // -------------------------------------------------------------------------------- sketches: three small live figures

  /** Delta at every time lag of a tanh net of 10 units, whose orthogonal recurrent kernel is multiplied by `gain`. */
  function recurrent(gain, seed, { x, y, steps, n }) {
    const units = 10, glorot = (rows, columns, stream) => drawKernel("glorot_uniform", 1, rows, columns, seed, stream);
    const w = glorot(1, units, 0), v = glorot(units, 1, 2), u = drawKernel("orthogonal", gain, units, units, seed, 1);
    const over = transpose(u, units, units), sums = new Float64Array(steps);
    const apply = (kernel, h, j) => h.reduce((sum, value, k) => sum + value * kernel[k * units + j], 0);
    for (let sample = 0; sample < n; sample++) {
      const states = [new Float64Array(units)];
      for (let t = 0; t < steps; t++) {
        const input = x[sample * steps + t];
        states.push(states[t].map((_, j) => Math.tanh(input * w[j] + apply(u, states[t], j))));
      }
      const logit = v.reduce((sum, value, j) => sum + value * states[steps][j], 0);
      let back = Float64Array.from(v, (value) => value * (1 / (1 + exp(-logit)) - y[sample]));
      for (let t = steps; t > 0; t--) {
        const delta = back.map((value, j) => value * (1 - states[t][j] ** 2));
        sums[steps - t] += delta.reduce((sum, value) => sum + value * value, 0) / n;
        back = back.map((_, k) => apply(over, delta, k));
      }
    }
    return Array.from(sums, Math.sqrt);
  }

  const SKETCHES = {
    product({ factor }) {
      const x = range(0, 40), f = short(factor, 3), y = x.map((i) => factor ** i);
      const words = `${f} multiplied 10 times by itself is ${short(y[10])}; 40 times, ${short(y[40])}.`;
      const title = "A gradient of 1, multiplied in every layer", xlabel = "layers passed", ylabel = "what is left";
      return { title, xlabel, ylabel, x, lines: [{ y, kind: "measured", label: `${f} per layer` }], words };
    },
    adam({ gradient, learning_rate: rate }) {
      const x = range(-9, 0), { beta_2, epsilon } = C.optimizers.Adam, size = powerOfTen(gradient);
      const line = (kind, text, f) => ({ kind, label: text, at: short(f(gradient)), y: x.map((i) => f(10 ** i)) });
      const first = line("measured", "Adam's first step", (g) => (rate * g) / (g + epsilon / Math.sqrt(1 - beta_2)));
      const late = line("other", "Adam, later, if the gradient stays", (g) => (rate * g) / (g + epsilon));
      const lines = [first, late, line("predicted", "SGD", (g) => rate * g)], [a, b, c] = lines.map(({ at }) => at);
      const words = `A gradient of ${size}: SGD steps by ${c}, Adam first by ${a}, later by ${b}.`;
      const title = `One step of one weight, learning rate ${python(rate)}`, xlabel = "gradient, as a power of ten";
      return { title, xlabel, ylabel: "step", x, lines, words, levels: [{ value: Number(a), label: `now: ${a}` }] };
    },
    lag({ recurrent_scale: s, seed }) {
      const delta = recurrent(s, seed, C.sequences), y = delta.map((value) => value / delta[0]), last = y.length - 1;
      const lines = [{ y, kind: "measured", label: `recurrent kernel: orthogonal times ${short(s, 3)}` }];
      const words = `With s = ${short(s, 3)}, delta at lag ${last} is ${powerOfTen(y[last])} of that at lag 0.`;
      const title = "Back through time, one net of ten tanh units", ylabel = "delta over delta at lag 0";
      return { title, xlabel: "time lag", ylabel, x: range(0, last), lines, words };
    },
  };

  // -------------------------------------------------------------------------------------------------------- instrument

  const SHORT = { hidden_layers: "layers", kernel_initializer: "initializer" }; // names in the address
  const HE = { activation: "relu", kernel_initializer: "he_normal" };
  const PRESETS = { sick: {}, ReLU: { activation: "relu" }, exploding: { ...HE, scale: 4 } };
  PRESETS["He, thirty layers"] = { ...HE, hidden_layers: 30, optimizer: "Adam", learning_rate: 0.003 };
  const VIEWS = ["network", "ladder", "spread", "updates", "training", "verdict"];
  const SHARED = Object.keys(C.controls).filter((key) => !C.sketched.includes(key));
  const FIRST = Object.fromEntries(Object.entries(C.controls).map(([key, { first }]) => [key, first]));
  const STEPS = ["optimizer", "learning_rate", "seed"]; // what the band of untrained nets does not depend on

  /** Read a setting from an address such as #layers=10&activation=relu; what it does not know it leaves out. */
  function fromAddress(hash) {
    const given = new URLSearchParams(hash.slice(1)), setting = {};
    for (const [key, { values }] of Object.entries(C.controls)) {
      const found = values.find((value) => String(value) === given.get(SHORT[key] ?? key));
      if (found !== undefined) setting[key] = found;
    }
    return setting;
  }

  const toAddress = (setting) => "#" + SHARED.map((key) => `${SHORT[key] ?? key}=${setting[key]}`).join("&");

  /** The Python that makes the same kind of net (with the weights that Keras draws) and asks the same questions. */
  function toPython(setting) {
    const { kernel_initializer: name, scale, seed, data } = setting, kind = C.initializers[name];
    const times = (value) => python(Number(value.toPrecision(6))), size = times((kind.stddev ?? kind.gain) * scale);
    const ways = `"${kind.mode}", "${kind.distribution}"`, squared = times((kind.scale ?? 1) * scale ** 2);
    const other = kind.gain ? `Orthogonal(${size})` : `RandomNormal(stddev=${size})`;
    const scaled = kind.mode ? `VarianceScaling(${squared}, ${ways})` : other;
    const write = (value) => ({ string: `"${value}"`, boolean: value ? "True" : "False" })[typeof value] ?? value;
    const values = { ...setting, kernel_initializer: scale === 1 ? write(name) : `keras.initializers.${scaled}` };
    for (const key of C.net) if (key !== "kernel_initializer") values[key] = write(setting[key]);
    return `import vgp_lib as vgp  # first: it keeps TensorFlow quiet

import keras


def build(seed=None):
    return vgp.build_mlp(
${C.net.map((key) => `        ${key}=${values[key]},`).join("\n")}
        seed=seed,
    )


data, optimizer = vgp.${data === "moons" ? "load_moons()" : "make_spirals(250)"}, ${optimizerCode(setting)}
model = build(seed=${seed})  # Keras draws other weights than the page, by the same rule
print(vgp.inspect_layers(model, data.x_train, data.y_train))
print(vgp.diagnose(model, data.x_train, data.y_train, optimizer=optimizer))
runs = vgp.train(build, data, optimizer, epochs=100, seeds=32)
print(runs)
`;
  }

  const button = (does, text = does) => `<button type="button" data-do="${does}">${text}</button>`;
  const img = (name) => `role="img" aria-label="A picture that follows" data-part="${name}"`;
  const figure = (name) => `<div class="figure" ${img(name)}></div>`;

  function control(key) {
    const { values, label: text } = C.controls[key], id = `vgp-${++names}`;
    const options = values.map((value) => `<option>${value}</option>`).join("");
    const input = typeof values[0] === "boolean" ? `<input id="${id}" type="checkbox" data-key="${key}">`
      : typeof values[0] === "string" ? `<select id="${id}" data-key="${key}">${options}</select>`
        : `<input id="${id}" type="range" max="${values.length - 1}" data-key="${key}"><output for="${id}"></output>`;
    return `<div class="row"><label for="${id}">${text}</label>${input}</div>`;
  }

  class Instrument {
    constructor(root, { setting = {}, controls, views, address = false } = {}) {
      Object.assign(this, { root, address, views: views ?? VIEWS, asked: {}, trained: [], losses: [], width: 360 });
      this.setting = { ...FIRST, ...setting, ...(address ? fromAddress(location.hash) : {}) };
      root.classList.add("vgp");
      root.innerHTML = this.markup(!controls && !views, controls ?? SHARED);
      root.addEventListener("submit", (event) => event.preventDefault());
      root.addEventListener("input", ({ target }) => this.hear(target));
      root.addEventListener("click", ({ target }) => target.dataset?.do && this.press(target.dataset.do));
      if (address) addEventListener("hashchange", () => this.set(fromAddress(location.hash)));
      new ResizeObserver(() => this.measure()).observe(root);
      this.measure();
      this.set({});
    }

    markup(whole, controls) {
      const show = `<div class="row"><label for="vgp-${++names}">show</label>
        <select id="vgp-${names}" data-part="shows"><option>delta<option>kernel gradient</select></div>`;
      const presets = `<p>${Object.keys(PRESETS).map((name) => button(name)).join("")}</p>`;
      const share = `<details><summary>Share</summary><p>${this.address ? button("copy link") : ""}
        ${button("copy as Python")}<span role="status" data-part="copied"></span></p>
        <pre data-part="code" tabindex="0" role="group" aria-label="Python of this setting"></pre></details>`;
      const training = `<div class="training"><p>${button("train", "train this seed")}${button("one epoch")}
        ${button("back to the start")}${button("train 32 seeds")}</p>
        <progress max="${SEEDS}" hidden aria-label="seeds trained"></progress>${figure("losses")}
        <canvas ${img("boundary")}></canvas><p role="status" data-part="trained"></p></div>`;
      const verdict = '<div class="verdict" role="status" data-part="verdict"></div>';
      const special = { ladder: `<div>${whole ? show : ""}${figure("ladder")}</div>`, training, verdict };
      const inputs = controls.map(control).join("");
      return `<form class="sliders">${whole ? presets + inputs + share : inputs}</form>
        <div class="views"><p role="status" class="words" data-part="words"></p>
        ${this.views.map((name) => special[name] ?? figure(name)).join("")}</div>`;
    }

    part(name) { return this.root.querySelector(`[data-part="${name}"]`); }

    /** Take another setting, from Python, a preset or the address, and show it. */
    set(values) {
      Object.assign(this.setting, values);
      this.change();
    }

    hear({ dataset: { key }, type, checked, value }) {
      const values = { checkbox: checked, range: C.controls[key]?.values[value] };
      if (key) this.setting[key] = values[type] ?? value;
      this.change();
    }

    press(does) {
      if (does in PRESETS) this.set({ ...FIRST, ...PRESETS[does] });
      if (does === "back to the start") this.restart();
      if (does === "train") this.playing = !this.playing;
      if (does === "train" || does === "one epoch") this.play(does === "one epoch");
      if (does === "train 32 seeds") this.trainSeeds();
      if (!does.startsWith("copy")) return;
      const link = () => location.href.split("#")[0] + toAddress(this.setting);
      const text = does === "copy link" ? link() : toPython(this.setting);
      const say = (words) => { this.part("copied").textContent = words; };
      navigator.clipboard.writeText(text).then(() => say("Copied."), () => say(`Copy it by hand: ${text}`));
    }

    measure() {
      const width = Math.min(900, Math.floor(this.root.querySelector(".figure")?.clientWidth || 360));
      if (width === this.width) return;
      this.width = width;
      this.later();
    }

    later() {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = null;
        this.paint();
      });
    }

    /** A setting has changed: what was computed for the old one is void. */
    change() {
      for (const input of this.root.querySelectorAll("[data-key]")) {
        const value = this.setting[input.dataset.key];
        input.checked = input.value = value;
        if (input.type !== "range") continue;
        input.value = C.controls[input.dataset.key].values.indexOf(value);
        input.nextElementSibling.textContent = value;
        input.setAttribute("aria-valuetext", value);
      }
      Object.values(this.asked).flat().forEach(stop);
      this.data = DATA[this.setting.data];
      this.fresh = false;
      this.changed?.({ ...this.setting });
      this.later();
      clearTimeout(this.resting);
      this.resting = setTimeout(() => this.rest(), 250);
    }

    paint() {
      const { setting, views, data, fresh } = this, small = views.find((view) => view in SKETCHES);
      this.fresh = true;
      if (small) {
        const sketch = { levels: [{ value: 1, label: "" }], marks: false, ...SKETCHES[small](setting) };
        this.show(small, sketch, (this.said = sketch.words));
      } else {
        if (!fresh) {
          this.net = build(setting, setting.seed);
          this.report = inspect(this.net, data);
          if (this.predicted?.key !== this.key()) this.predicted = { ...predict(setting, data), key: this.key() };
          if (views.includes("updates")) this.ratios = updateRatios(this.net, setting, data);
          if (views.includes("training")) this.restart();
          if (views.includes("ladder") || views.includes("spread")) this.askBand();
        }
        this.drawLadders();
        if (fresh && views.includes("training")) this.drawTraining();
      }
      if (!this.resting) this.part("words").textContent = this.said;
      this.root.dispatchEvent(new CustomEvent("vgp-painted", { detail: { band: this.band?.key === this.key() } }));
    }

    /** Put a picture, a chart or another, and what it says in words. */
    show(name, picture, words) {
      const part = this.part(name);
      if (!part) return;
      part.innerHTML = typeof picture === "string" ? picture : chart({ width: this.width, ...picture });
      part.setAttribute("aria-label", words);
    }

    key() { return SHARED.filter((key) => !STEPS.includes(key)).map((key) => this.setting[key]).join(); }

    /** The band of 32 seeds: asked of two Workers, one request at a time; the newest setting comes next. */
    askBand() {
      const key = this.key(), { setting, data } = this, rows = [];
      if (this.band?.key === key || this.bandAsked) return;
      this.bandAsked = true;
      let left = 2;
      const finish = () => {
        if (--left) return;
        this.bandAsked = false;
        this.band = { key, rows };
        if (this.key() === key) this.later();
        else this.askBand();
      };
      for (const half of [0, 1]) {
        const seeds = range(0, SEEDS - 1).filter((seed) => seed % 2 === half);
        ask({ kind: "band", setting: { ...setting }, seeds, data }, (found) => rows.push(found), finish);
      }
    }

    /** 10 % and 90 % quantile of a quantity over the seeds, of each relative to its last hidden layer if asked for. */
    bandOf(name, relative) {
      const depth = this.setting.hidden_layers, rows = this.band?.rows;
      if (rows?.[0].delta_rms.length !== depth + 1) return undefined;
      const of = (row, l) => row[name][l] / (relative ? row[name][depth - 1] : 1);
      const columns = range(0, depth - 1).map((l) => rows.map((row) => of(row, l)));
      const [low, high] = [0.1, 0.9].map((p) => columns.map((column) => quantileOf(column, p)));
      return { low, high, label: "80 % of 32 random starts", stale: this.band.key !== this.key() };
    }

    drawLadders() {
      const { setting, report: found, predicted, width, ratios } = this, depth = setting.hidden_layers;
      const shows = this.part("shows")?.value ?? "delta", key = shows === "delta" ? "delta_rms" : "kernel_gradient_rms";
      const values = hidden(found[key]).map((value) => value / found[key][depth - 1]), band = this.bandOf(key, true);
      const [first, theory] = [values[0], predicted[key][0]].map(powerOfTen), spread = hidden(found.sample_spread);
      const mine = (y) => ({ y, kind: "measured", label: "this seed" }), tell = (ends) => oneDigit(ends[0]);
      const seeds = band && !band.stale ? `; 80 % of 32 seeds between ${tell(band.low)} and ${tell(band.high)}` : "";
      const zeros = hidden(found[key]).filter((value) => value === 0).length;
      const kept = powerOfTen(spread[depth - 1] / spread[0]);
      this.said = `${shows}, first over last hidden layer: about ${first}; theory about ${theory}${seeds}.`;
      if (zeros) this.said = `${shows} is exactly 0 in ${zeros} of ${depth} hidden layers.`;
      else if (!values.every(Number.isFinite)) this.said = `Out of the range of float32: ${shows} is inf or nan.`;
      const network = this.part("network");
      if (network) drawNetwork(network, width, setting, found.delta_rms);
      network?.setAttribute("aria-label", `The network, its layers coloured by delta. ${this.said}`);
      const layers = { xlabel: "hidden layer, input side first", x: range(1, depth) };
      const predictedLine = { y: predicted[key], kind: "predicted", label: "theory for wide layers" };
      const title = `${shows} before training, seed ${setting.seed}`, lines = [mine(values), predictedLine];
      this.show("ladder", { ...layers, title, ylabel: "relative to the last", band, lines }, this.said);
      const forth = { ...layers, title: "Forward: do the points stay apart?", ylabel: "spread over the points" };
      Object.assign(forth, { lines: [mine(spread)], band: this.bandOf("sample_spread") });
      this.show("spread", forth, `Spread of the activations over the points, last over first layer: about ${kept}.`);
      if (!this.views.includes("updates")) return;
      const updates = { xlabel: "layer, the output layer last", x: range(1, depth + 1), lines: [mine(ratios)] };
      updates.title = `First step of ${setting.optimizer}(${setting.learning_rate})`;
      updates.ylabel = "update ratio |ΔW| / |W|";
      updates.levels = [{ value: 1e-3, label: "often good: about 1e-3" }];
      const [low, high] = [ratios[0], ratios[depth]].map(powerOfTen);
      this.show("updates", updates, `Update ratio: first layer ${low}, output layer ${high}.`);
    }

    /** The sliders have come to rest: say what the picture shows, work out the verdict, keep the address. */
    rest() {
      this.resting = null;
      const { setting, data } = this, box = this.part("verdict");
      this.later(); // for the words and the boundary, which wait for this
      if (this.address && location.hash !== toAddress(setting)) history.replaceState(null, "", toAddress(setting));
      if (this.part("code")) this.part("code").textContent = toPython(setting);
      if (!box) return;
      box.textContent = `Verdict: rehearsing ${C.steps} training steps …`;
      box.classList.remove("sick");
      const tell = ({ verdict: word, layer, because, try_next: next }) => {
        const said = `<b>${word.toUpperCase()}</b>${layer ? ` at ${layer}` : ""}<br>${escape(because)}`;
        box.innerHTML = `${said}<br>Try next: <code>${escape(next)}</code>`;
        box.classList.toggle("sick", word !== "healthy");
      };
      this.asked.verdict = [ask({ kind: "verdict", setting: { ...setting }, data }, tell)];
    }

    /** Back to the untrained net of this seed. */
    restart() {
      (this.asked.seeds ?? []).forEach(stop);
      Object.assign(this, { playing: false, trained: [], losses: [], now: build(this.setting, this.setting.seed) });
      this.course = training(this.setting, this.setting.seed, this.data, Infinity, this.now);
      this.part("trained").textContent = "";
      this.root.querySelector("progress").hidden = true;
      if (!this.resting) this.drawTraining(); // else once the sliders rest: the boundary costs more than all the rest
    }

    /** Train on, a few milliseconds a frame, until the button is pressed again or the next hundred epochs are over. */
    play(once) {
      const { course, losses } = this, hundreds = Math.floor(losses.length / EPOCHS);
      const goal = once ? losses.length + 1 : (hundreds + 1) * EPOCHS;
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches; // then only the end is drawn
      const frame = () => {
        if (course !== this.course || (!once && !this.playing)) return;
        const end = performance.now() + 10;
        while (performance.now() < end && losses.length < goal) {
          const { value: found } = course.next();
          if (found) this.accuracy = found.accuracy, losses.push(found.loss);
        }
        if (losses.length >= goal) this.playing = false;
        else requestAnimationFrame(frame);
        if (!calm || losses.length >= goal) this.drawTraining();
      };
      this.drawTraining();
      frame();
    }

    drawTraining() {
      const { losses, trained, data, setting, playing } = this, canvas = this.part("boundary");
      const levels = [{ value: Math.LN2, label: "ln 2: what guessing costs" }], done = losses.length;
      if (data.line) levels.push({ value: data.line, label: `a straight line: ${data.line}` });
      const after = `loss ${short(losses[done - 1] ?? NaN)}, accuracy ${Math.round(100 * this.accuracy)} %`;
      const words = done ? `Seed ${setting.seed} after ${done} epoch${done === 1 ? "" : "s"}: ${after}.` : "Not trained yet.";
      const x = range(1, Math.max(EPOCHS, done));
      const lines = [{ y: losses, kind: "measured", label: `seed ${setting.seed}` }];
      const picture = { title: "Loss while training", xlabel: "epoch", x, limits: [0, 1], marks: false, levels, lines };
      if (trained.length) {
        const at = (epoch, p) => quantileOf(trained.map((run) => run.losses[epoch - 1]), p);
        const [low, middle, high] = [0.1, 0.5, 0.9].map((p) => x.map((epoch) => at(epoch, p)));
        lines.push({ y: middle, kind: "other", label: `median of ${trained.length} seeds` });
        picture.band = { low, high, label: "80 % of them" };
      }
      this.show("losses", picture, words);
      this.root.querySelector('[data-do="train"]').textContent = playing ? "pause" : "train this seed";
      if (done && !playing) this.part("trained").textContent = words;
      drawBoundary(canvas, this.now, data);
      canvas.setAttribute("aria-label", `Decision boundary of this net. ${words}`);
    }

    trainSeeds() {
      const progress = this.root.querySelector("progress"), { data } = this, trained = (this.trained = []);
      (this.asked.seeds ?? []).forEach(stop);
      [progress.hidden, progress.value] = [false, 0];
      const hear = (found) => {
        progress.value = trained.push(found);
        if (trained.length < SEEDS) return;
        const ends = trained.map(({ losses }) => losses[EPOCHS - 1]).map((loss) => (loss < Infinity ? loss : Infinity));
        const broken = ends.filter((loss) => loss === Infinity).length;
        const median = short(ends.sort((a, b) => a - b)[SEEDS / 2]);
        const solved = trained.filter(({ accuracy }) => accuracy > C.solved).length;
        progress.hidden = true;
        this.drawTraining();
        this.part("trained").textContent = `Of ${SEEDS} seeds ${solved} have an accuracy above ${100 * C.solved} %,
          and ${broken} end in nan or infinity. Last loss, median: ${median}.`;
      };
      this.asked.seeds = range(0, 3).map((part) => {
        const seeds = range(0, SEEDS - 1).filter((seed) => seed % 4 === part);
        return ask({ kind: "train", setting: { ...this.setting }, data, seeds }, hear);
      });
    }
  }

  /** Make an element a live instrument; see widget.py for the options. */
  function mount(element, options) {
    const style = Object.assign(document.createElement("style"), { id: "vgp-style", textContent: C.style });
    if (!document.getElementById("vgp-style")) document.head.append(style);
    return new Instrument(element, options);
  }

  /** Mount into every element that asks for it, once. */
  function mountAll() {
    for (const element of document.querySelectorAll("[data-playground]:not(.vgp)"))
      mount(element, JSON.parse(element.dataset.playground));
  }

  /** In a notebook: what anywidget calls. */
  function render({ model, el }) {
    const instrument = mount(el, model.get("options")), controls = el.querySelectorAll("input, select, button, summary");
    controls.forEach((one) => { one.dataset.lmSuppressShortcuts = "true"; }); // else JupyterLab takes the arrow keys
    const differs = () => JSON.stringify(model.get("setting")) !== JSON.stringify(instrument.setting);
    if (differs()) instrument.set(model.get("setting"));
    instrument.changed = (setting) => { model.set("setting", setting); model.save_changes(); };
    model.on("change:setting", () => differs() && instrument.set(model.get("setting")));
  }

  if (typeof document !== "undefined") {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", mountAll);
    else mountAll();
  }

  const numbers = { data: DATA, build, copy, forward, backward, gradients, inspect, step, score, makeOptimizer };
  const engine = { ...numbers, updateRatios, training, verdict, predict, moments, recurrent, drawKernel, toPython };
  return { mount, mountAll, render, serve, engine: { ...engine, short, python } };
})(VGP_CONSTANTS);
