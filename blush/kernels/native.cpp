// Scalar-tap, vector-arithmetic kernels for what torch does slowly on a CPU: trilinear slices, their
// insertion, sparse score blocks and weighted sums. Every function has a twin in plain torch (blush/fourier/project.py,
// backproject.py, many_maps.py, many_sums.py, blush/expectation/sparse.py); tests hold them together.
//
// Layouts, all float32:
//   volume  (d, d, h) complex, interleaved; d = 2 r + 1, h = r + 1; z and y centred at r, x >= 0
//   grid    (d, d, h, 4): real, imaginary, weight, unused (so that two neighbours along x are 32 bytes)
//   slices  (rows, 2, n): all real parts of a row, then all imaginary parts ("planar")
// One thread; sums run in a fixed order, so the same input gives the same bytes.

#include <cstdint>
#include <cstring>
#include <cmath>
#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

typedef float v4 __attribute__((vector_size(16)));
typedef float v8 __attribute__((vector_size(32)));
typedef float v16 __attribute__((vector_size(64)));

static inline v4 load4(const float* p) { v4 v; std::memcpy(&v, p, 16); return v; }
static inline v8 load8(const float* p) { v8 v; std::memcpy(&v, p, 32); return v; }
static inline void store8(float* p, v8 v) { std::memcpy(p, &v, 32); }
static inline v16 load16(const float* p) { v16 v; std::memcpy(&v, p, 64); return v; }
static inline void store16(float* p, v16 v) { std::memcpy(p, &v, 64); }
static inline float sum16(v16 v) {
  float s[16];
  std::memcpy(s, &v, 64);
  for (int w = 8; w; w /= 2)
    for (int i = 0; i < w; ++i) s[i] += s[i + w];
  return s[0];
}

// Where a point of the padded transform falls: corner index, fractions, and whether it was reflected.
struct Taps {
  static constexpr int chunk = 256;
  int32_t corner[chunk];
  float fx[chunk], fy[chunk], fz[chunk], sign[chunk];

  void locate(const float* a, const float* kx, const float* ky, int n, int r, float pad) {
    const int d = 2 * r + 1, h = r + 1;
    const float xx = pad * a[0], xy = pad * a[3], yx = pad * a[1], yy = pad * a[4], zx = pad * a[2], zy = pad * a[5];
    for (int i = 0; i < n; ++i) {
      float x = xx * kx[i] + xy * ky[i], y = yx * kx[i] + yy * ky[i], z = zx * kx[i] + zy * ky[i];
      const float s = x < 0.f ? -1.f : 1.f;
      x *= s; y *= s; z *= s;
      const float x0 = std::floor(x), y0 = std::floor(y), z0 = std::floor(z);
      fx[i] = x - x0; fy[i] = y - y0; fz[i] = z - z0; sign[i] = s;
      corner[i] = (((int)z0 + r) * d + (int)y0 + r) * h + (int)x0;
    }
  }
};

// 4 x 4 dot products of rows of length m (both contiguous, row strides given).
static inline void dots4x4(const float* y, int64_t ys, const float* s, int64_t ss, int64_t m, float* out, int64_t os) {
  v16 acc[4][4] = {};
  int64_t k = 0;
  for (; k + 16 <= m; k += 16) {
    const v16 s0 = load16(s + k), s1 = load16(s + ss + k), s2 = load16(s + 2 * ss + k), s3 = load16(s + 3 * ss + k);
    for (int j = 0; j < 4; ++j) {
      const v16 v = load16(y + j * ys + k);
      acc[j][0] += v * s0; acc[j][1] += v * s1; acc[j][2] += v * s2; acc[j][3] += v * s3;
    }
  }
  for (int j = 0; j < 4; ++j)
    for (int c = 0; c < 4; ++c) {
      float total = sum16(acc[j][c]);
      for (int64_t q = k; q < m; ++q) total += y[j * ys + q] * s[c * ss + q];
      out[j * os + c] = total;
    }
}

// sum_k w |slice|^2 of a planar row.
static inline float weighted_power(const float* slice, const float* w, int64_t n) {
  const float *re = slice, *im = slice + n;
  v16 acc = {};
  int64_t k = 0;
  for (; k + 16 <= n; k += 16) {
    const v16 x = load16(re + k), y = load16(im + k);
    acc += load16(w + k) * (x * x + y * y);
  }
  float total = sum16(acc);
  for (; k < n; ++k) total += w[k] * (re[k] * re[k] + im[k] * im[k]);
  return total;
}

extern "C" {

int blush_native_version() { return 1; }

// slices[i] = conj-aware trilinear samples of `volume` at pad * A_i^T (kx, ky, 0).
// With `weight` (rows / rows_per_weight, n): also dots[i] = sum_k weight |slice_i|^2, each weight row serving the
// next `rows_per_weight` slices.
void blush_project(const float* volume, int64_t r, float pad, const float* matrices, int64_t rows, const float* kx,
                   const float* ky, int64_t n, float* slices, const float* weight, int64_t rows_per_weight,
                   float* dots) {
  const int64_t d = 2 * r + 1, h = r + 1;
  const int64_t sy = 2 * h, sz = 2 * h * d;
  Taps t;
  for (int64_t row = 0; row < rows; ++row) {
    float* re = slices + row * 2 * n;
    float* im = re + n;
    for (int64_t begin = 0; begin < n; begin += Taps::chunk) {
      const int m = (int)std::min<int64_t>(Taps::chunk, n - begin);
      t.locate(matrices + 9 * row, kx + begin, ky + begin, m, r, pad);
      for (int i = 0; i < m; ++i) {
        const float* p = volume + 2 * (int64_t)t.corner[i];
        const float fy = t.fy[i], fz = t.fz[i], gy = 1.f - fy, gz = 1.f - fz;
        const v4 c = (load4(p) * gy + load4(p + sy) * fy) * gz + (load4(p + sz) * gy + load4(p + sz + sy) * fy) * fz;
        const float fx = t.fx[i], gx = 1.f - fx;
        re[begin + i] = c[0] * gx + c[2] * fx;
        im[begin + i] = (c[1] * gx + c[3] * fx) * t.sign[i];
      }
    }
    if (weight) dots[row] = weighted_power(re, weight + (row / rows_per_weight) * n, n);
  }
}

// The adjoint: data (rows, 2, n) and weight (rows, n) are added to grid with the same trilinear taps.
void blush_insert(float* grid, int64_t r, float pad, const float* matrices, int64_t rows, const float* kx, const float* ky,
                  int64_t n, const float* data, const float* weight) {
  const int64_t d = 2 * r + 1, h = r + 1;
  const int64_t sy = 4 * h, sz = 4 * h * d;
  Taps t;
  for (int64_t row = 0; row < rows; ++row) {
    const float* re = data + row * 2 * n;
    const float* im = re + n;
    const float* w = weight + row * n;
    if (std::all_of(w, w + n, [](float v) { return v == 0.f; })) continue;  // no image chose this orientation
    for (int64_t begin = 0; begin < n; begin += Taps::chunk) {
      const int m = (int)std::min<int64_t>(Taps::chunk, n - begin);
      t.locate(matrices + 9 * row, kx + begin, ky + begin, m, r, pad);
      for (int i = 0; i < m; ++i) {
        float* p = grid + 4 * (int64_t)t.corner[i];
        const float fx = t.fx[i], fy = t.fy[i], fz = t.fz[i], gx = 1.f - fx, gy = 1.f - fy, gz = 1.f - fz;
        const float a = re[begin + i], b = im[begin + i] * t.sign[i], c = w[begin + i];
        const v8 v = {a * gx, b * gx, c * gx, 0.f, a * fx, b * fx, c * fx, 0.f};
        store8(p, load8(p) + v * (gy * gz));
        store8(p + sy, load8(p + sy) + v * (fy * gz));
        store8(p + sz, load8(p + sz) + v * (gy * fz));
        store8(p + sz + sy, load8(p + sz + sy) + v * (fy * fz));
      }
    }
  }
}

// out += rotated copy of grid: for every cell k of out (|k| <= radius), trilinear sample of `grid` at A k.
void blush_rotate_add(const float* grid, float* out, int64_t r, float radius, const float* a) {
  const int64_t d = 2 * r + 1, h = r + 1;
  const int64_t sy = 4 * h, sz = 4 * h * d;
  for (int kz = -(int)r; kz <= r; ++kz)
    for (int ky = -(int)r; ky <= r; ++ky) {
      float* row = out + 4 * ((kz + r) * d + ky + r) * h;
      for (int kx = 0; kx <= r; ++kx) {
        if ((float)(kx * kx + ky * ky + kz * kz) > radius * radius) continue;
        float x = a[0] * kx + a[1] * ky + a[2] * kz, y = a[3] * kx + a[4] * ky + a[5] * kz,
              z = a[6] * kx + a[7] * ky + a[8] * kz;
        const float s = x < 0.f ? -1.f : 1.f;
        x *= s; y *= s; z *= s;
        const float x0 = std::floor(x), y0 = std::floor(y), z0 = std::floor(z);
        const float fx = x - x0, fy = y - y0, fz = z - z0;
        const float* p = grid + 4 * ((((int)z0 + r) * d + (int)y0 + r) * h + (int)x0);
        const v8 c = (load8(p) * (1.f - fy) + load8(p + sy) * fy) * (1.f - fz) +
                     (load8(p + sz) * (1.f - fy) + load8(p + sz + sy) * fy) * fz;
        float* q = row + 4 * kx;
        q[0] += c[0] * (1.f - fx) + c[4] * fx;
        q[1] += s * (c[1] * (1.f - fx) + c[5] * fx);
        q[2] += c[2] * (1.f - fx) + c[6] * fx;
      }
    }
}

// Log posteriors of fine samples, for pairs (image i, coarse shift t, coarse orientation u) sorted by (i, u, t).
//   image (b, 2, n); power (b, n); phases (T, 4, 2, n); slices (U, children, 2, n); prior (pairs); out (pairs, 4, children)
//   out = Re< image shifted by each of 4 children of t, child slice > - sum_k power |child slice|^2 + prior
// or, with `correlate`, the first term over the square root of twice the second.
void blush_score_pairs(const float* image, const float* power, const float* phases, const float* slices, int64_t shifts,
                       int64_t n, int64_t children, const int32_t* pair_i, const int32_t* pair_t, const int32_t* pair_u,
                       const float* prior, int64_t pairs, int64_t correlate, float* out) {
  const int64_t m = 2 * n;
  // `shifts` of one image: where images have shifts of their own, those of each are consecutive and at most so many.
  std::vector<float> shifted(shifts * 4 * m), dots(children);
  std::vector<char> ready(shifts, 0);
  int32_t last_i = -1, last_u = -1;
  for (int64_t p = 0; p < pairs; ++p) {
    const int32_t i = pair_i[p], t = pair_t[p], u = pair_u[p];
    if (i != last_i) std::fill(ready.begin(), ready.end(), 0);
    const float* s = slices + u * children * m;
    if (i != last_i || u != last_u) {
      const float* w = power + i * n;
      for (int64_t c = 0; c < children; ++c) dots[c] = weighted_power(s + c * m, w, n);
    }
    last_i = i; last_u = u;
    const int64_t place = t % shifts;
    float* y = shifted.data() + place * 4 * m;
    if (!ready[place]) {
      const float* x = image + i * m;
      for (int j = 0; j < 4; ++j) {
        const float* f = phases + (t * 4 + j) * m;
        float* o = y + j * m;
        for (int64_t k = 0; k < n; ++k) {
          o[k] = x[k] * f[k] - x[n + k] * f[n + k];
          o[n + k] = x[k] * f[n + k] + x[n + k] * f[k];
        }
      }
      ready[place] = 1;
    }
    float* o = out + p * 4 * children;
    for (int64_t c = 0; c < children; c += 4) dots4x4(y, m, s + c * m, m, m, o + c, children);
    for (int j = 0; j < 4; ++j)
      for (int64_t c = 0; c < children; ++c) {
        float& v = o[j * children + c];
        v = correlate ? v / std::sqrt(std::max(2 * dots[c], 1e-37f)) : v - dots[c] + prior[p];
      }
  }
}

// For every owner of samples: the largest log weight, ln of the sum of all weights, and the log weight at which the
// heaviest samples together first exceed `fraction` of it. Sample s belongs to owner[s / run].
void blush_posterior_cut(const float* log_weight, const int32_t* owner, int64_t runs, int64_t run, int64_t owners,
                         float fraction, float* top, double* log_sum, float* cut) {
  constexpr int per_unit = 32, bins = 30 * per_unit;
  std::fill(top, top + owners, -INFINITY);
  for (int64_t r = 0; r < runs; ++r) {
    const float* x = log_weight + r * run;
    float best = x[0];
    for (int64_t k = 0; k < run; ++k) best = x[k] > best ? x[k] : best;
    if (best > top[owner[r]]) top[owner[r]] = best;
  }
  std::vector<double> sums(owners * bins, 0.0);
  for (int64_t r = 0; r < runs; ++r) {
    const float* x = log_weight + r * run;
    const float best = top[owner[r]];
    double* h = sums.data() + (int64_t)owner[r] * bins;
    for (int64_t k = 0; k < run; ++k) {
      const float gap = best - x[k];
      if (gap < 30.f) h[std::min((int)(gap * per_unit), bins - 1)] += std::exp(-(double)gap);
    }
  }
  std::vector<int> crossing(owners);
  std::vector<double> below(owners), wanted(owners);
  for (int64_t o = 0; o < owners; ++o) {
    const double* h = sums.data() + o * bins;
    double total = 0;
    for (int b = 0; b < bins; ++b) total += h[b];
    log_sum[o] = top[o] + std::log(total);
    wanted[o] = fraction * total;
    double running = 0;
    int b = 0;
    while (b < bins - 1 && running + h[b] <= wanted[o]) running += h[b++];
    crossing[o] = b;
    below[o] = running;
  }
  std::vector<std::vector<float>> edge(owners);
  for (int64_t r = 0; r < runs; ++r) {
    const float* x = log_weight + r * run;
    const int32_t o = owner[r];
    for (int64_t k = 0; k < run; ++k) {
      const float gap = top[o] - x[k];
      if (gap < 30.f && std::min((int)(gap * per_unit), bins - 1) == crossing[o]) edge[o].push_back(gap);
    }
  }
  for (int64_t o = 0; o < owners; ++o) {
    std::sort(edge[o].begin(), edge[o].end());
    double running = below[o];
    float last = 0.f;
    for (float gap : edge[o]) {
      last = gap;
      running += std::exp(-(double)gap);
      if (running > wanted[o]) break;
    }
    cut[o] = last;  // as a gap below the top: samples with gap <= cut are kept
  }
}

// Weighted sums over kept samples; pairs as in blush_score_pairs, weight (pairs, 4, children) with 0 for what is not kept.
//   for every (i, u) and child c: F = sum_{t, j} w[t, j, c] phases[t, j];  row = u children + c
//   data[row] += F * z[i];  weight[row] += (sum w) c[i];  mean[i] += conj(F) * slices[row];  square[i] += (sum w) |slices[row]|^2
void blush_accumulate_pairs(const float* z, const float* c, const float* phases, const float* slices, int64_t n,
                            int64_t children, const int32_t* pair_i, const int32_t* pair_t, const int32_t* pair_u,
                            const float* pair_weight, int64_t pairs, float* data, float* weight, float* mean,
                            float* square) {
  const int64_t m = 2 * n;
  std::vector<float> filter(m);
  float *fr = filter.data(), *fi = fr + n;
  for (int64_t begin = 0, end; begin < pairs; begin = end) {
    const int64_t i = pair_i[begin], u = pair_u[begin];
    for (end = begin + 1; end < pairs && pair_i[end] == i && pair_u[end] == u; ++end) {}
    for (int64_t child = 0; child < children; ++child) {
      float total = 0.f;
      for (int64_t p = begin; p < end; ++p)
        for (int j = 0; j < 4; ++j) {
          const float w = pair_weight[(p * 4 + j) * children + child];
          if (w == 0.f) continue;
          const float* f = phases + (pair_t[p] * 4 + j) * m;
          if (total == 0.f)
            for (int64_t k = 0; k < m; ++k) fr[k] = w * f[k];
          else
            for (int64_t k = 0; k < m; ++k) fr[k] += w * f[k];
          total += w;
        }
      if (total == 0.f) continue;
      const int64_t row = u * children + child;
      const float *zr = z + i * m, *zi = zr + n, *ci = c + i * n, *pr = slices + row * m, *pi = pr + n;
      float *dr = data + row * m, *di = dr + n, *wt = weight + row * n;
      float *mr = mean + i * m, *mi = mr + n, *sq = square + i * n;
      for (int64_t k = 0; k < n; ++k) {
        dr[k] += fr[k] * zr[k] - fi[k] * zi[k];
        di[k] += fr[k] * zi[k] + fi[k] * zr[k];
        wt[k] += total * ci[k];
      }
      for (int64_t k = 0; k < n; ++k) {
        mr[k] += fr[k] * pr[k] + fi[k] * pi[k];
        mi[k] += fr[k] * pi[k] - fi[k] * pr[k];
        sq[k] += total * (pr[k] * pr[k] + pi[k] * pi[k]);
      }
    }
  }
}

}  // extern "C"

// Several maps at one orientation for every image (blush/fourier/many_maps.py and many_sums.py). Arrays of maps and
// sums are voxel-major, so that the eight indices and weights of a pixel serve all of them:
//   maps  (d, d, h, groups, 2, P) and sums (d, d, h, groups, channels, P): P = 1, 2, 4 or 8 maps in a group ("lanes");
//   channels are real, imaginary, weight and, unless P = 8, an unused one
// An image's cells lie far apart, so one image after the other would find none in the cache. Therefore pixels go in
// chunks, which are thin shells of the sphere; what all images have there is sorted by slab of z before it is used.
typedef float v2 __attribute__((vector_size(8)));

// Vectors of a group: both parts of all maps at a cell, of two neighbours along x, one part, and a cell of the sums.
template <int P> struct Lanes;
template <> struct Lanes<1> { typedef v2 cell; typedef v4 pair; typedef float part; typedef v4 sum; };
template <> struct Lanes<2> { typedef v4 cell; typedef v8 pair; typedef v2 part; typedef v8 sum; };
template <> struct Lanes<4> { typedef v8 cell; typedef v16 pair; typedef v4 part; typedef v16 sum; };
template <> struct Lanes<8> { typedef v16 cell; typedef v8 part; typedef v16 sum; };

template <typename V> static inline V load(const float* p) { V v; std::memcpy(&v, p, sizeof(V)); return v; }
template <typename V> static inline void store(float* p, V v) { std::memcpy(p, &v, sizeof(V)); }
static inline double widen(float x) { return x; }
template <typename V> static inline auto widen(V v) {
  typedef double wide __attribute__((vector_size(2 * sizeof(V))));
  return __builtin_convertvector(v, wide);
}
static inline float across(float x) { return x; }
template <typename V> static inline float across(V v) {  // sum of the lanes
  float s[sizeof(V) / 4];
  std::memcpy(s, &v, sizeof(V));
  for (int w = sizeof(V) / 8; w; w /= 2)
    for (int i = 0; i < w; ++i) s[i] += s[i + w];
  return s[0];
}

struct Cells {
  int64_t sx, sy, sz;  // floats from a cell to its neighbours
  Cells(int64_t r, int64_t floats) : sx(floats), sy(floats * (r + 1)), sz(floats * (r + 1) * (2 * r + 1)) {}
};

// The lines of the cache of two cells along x, and of their neighbours.
template <int floats> static inline void fetch(const float* p, const Cells& c) {
  for (int k = 0; k < 2 * floats; k += 16) {
    __builtin_prefetch(p + k);
    __builtin_prefetch(p + k + c.sy);
    __builtin_prefetch(p + k + c.sz);
    __builtin_prefetch(p + k + c.sz + c.sy);
  }
}

// Trilinear sample of one group's maps; p is the corner.
template <int P>
static inline typename Lanes<P>::cell between(const float* p, const Cells& c, float fx, float fy, float fz) {
  typedef typename Lanes<P>::cell V;
  const float gx = 1.f - fx, gy = 1.f - fy, gz = 1.f - fz;
  if constexpr (P < 8) {
    typedef typename Lanes<P>::pair W;
    const W v = (load<W>(p) * gy + load<W>(p + c.sy) * fy) * gz +
                (load<W>(p + c.sz) * gy + load<W>(p + c.sz + c.sy) * fy) * fz;
    V x[2];
    std::memcpy(x, &v, sizeof(v));
    return x[0] * gx + x[1] * fx;
  } else {
    const float* q = p + c.sx;
    const V lower = (load<V>(p) * gy + load<V>(p + c.sy) * fy) * gz +
                    (load<V>(p + c.sz) * gy + load<V>(p + c.sz + c.sy) * fy) * fz;
    const V upper = (load<V>(q) * gy + load<V>(q + c.sy) * fy) * gz +
                    (load<V>(q + c.sz) * gy + load<V>(q + c.sz + c.sy) * fy) * fz;
    return lower * gx + upper * fx;
  }
}

static bool any(const float* share, int64_t count) {
  return std::any_of(share, share + count, [](float s) { return s != 0.f; });
}

struct Sample {
  int32_t cell, row;
  float fx, fy, fz, x, y, q;  // x, y and q: what belongs to the pixel; y changes sign where the point was reflected
};

struct Source {  // x, y and q of every pixel, with a step from image to image
  const float *x, *y, *q;
  int64_t step, step_q;
};

struct Views {  // orientations of images, and the pixels at which they are sampled
  int64_t r;
  float pad;
  const float* matrices;
  int64_t rows;
  const float *kx, *ky;
  int64_t n;
  static constexpr int slab = 4, rows_at_once = 4096, chunk = Taps::chunk, ahead = 8;

  Source of(const float* image, const float* power) const { return {image, image + n, power, 2 * n, n}; }

  // work(sample, one some places ahead) for all samples of the chosen images, and done(images, pixels) after a chunk.
  template <typename Chosen, typename Work, typename Done>
  void each(Chosen chosen, const Source& source, Work work, Done done) const {
    const int64_t block = std::min<int64_t>(rows, rows_at_once), slabs = (2 * r + 1) / slab + 2;
    std::unique_ptr<Sample[]> samples(new Sample[block * chunk + ahead]());
    std::vector<int64_t> place(slabs + 1);
    for (int64_t first = 0; first < rows; first += block) {
      std::vector<int64_t> some;
      for (int64_t row = first; row < std::min(first + block, rows); ++row)
        if (chosen(row)) some.push_back(row);
      for (int64_t begin = 0; begin < n; begin += chunk) {
        const int m = (int)std::min<int64_t>(chunk, n - begin);
        sort(some, begin, m, source, samples.get(), place);
        const Sample* s = samples.get();
        for (const Sample* end = s + some.size() * m; s < end; ++s) work(*s, s[ahead]);
        done(some, begin, m);
      }
    }
  }

 private:
  // Not inlined: both passes of the sort must round alike.
  __attribute__((noinline)) void locate(int64_t row, int64_t begin, int m, Taps& t, int32_t* where) const {
    const float scale = 1.f / ((float)slab * (2 * r + 1) * (r + 1));
    t.locate(matrices + 9 * row, kx + begin, ky + begin, m, r, pad);
    for (int i = 0; i < m; ++i) where[i] = (int32_t)(t.corner[i] * scale);
  }

  // A counting sort: samples by slab, in a slab by image, then pixel.
  void sort(const std::vector<int64_t>& some, int64_t begin, int m, const Source& source, Sample* samples,
            std::vector<int64_t>& place) const {
    Taps t;
    int32_t where[chunk];
    std::fill(place.begin(), place.end(), 0);
    for (int64_t row : some) {
      locate(row, begin, m, t, where);
      for (int i = 0; i < m; ++i) ++place[where[i] + 1];
    }
    for (size_t k = 1; k < place.size(); ++k) place[k] += place[k - 1];
    for (int64_t row : some) {
      locate(row, begin, m, t, where);
      const float *x = source.x + row * source.step + begin, *y = source.y + row * source.step + begin;
      const float* q = source.q + row * source.step_q + begin;
      for (int i = 0; i < m; ++i)
        samples[place[where[i]]++] = {t.corner[i], (int32_t)row, t.fx[i],           t.fy[i],
                                      t.fz[i],     x[i],         y[i] * t.sign[i], q[i]};
    }
  }
};

template <int P> static void project_many(const float* maps, int64_t groups, const Views& v, int64_t k, float* slices) {
  const Cells c(v.r, 2 * P * groups);
  Taps t;
  float samples[Taps::chunk * 2 * P];
  for (int64_t begin = 0; begin < v.n; begin += Taps::chunk) {
    const int m = (int)std::min<int64_t>(Taps::chunk, v.n - begin);
    for (int64_t row = 0; row < v.rows; ++row) {
      t.locate(v.matrices + 9 * row, v.kx + begin, v.ky + begin, m, v.r, v.pad);
      for (int64_t g = 0; g < groups; ++g) {
        const float* group = maps + 2 * P * g;
        for (int i = 0; i < m; ++i) {
          if (i + Views::ahead < m) fetch<2 * P>(group + c.sx * t.corner[i + Views::ahead], c);
          store(samples + 2 * P * i, between<P>(group + c.sx * t.corner[i], c, t.fx[i], t.fy[i], t.fz[i]));
        }
        for (int64_t l = 0; l < P && P * g + l < k; ++l) {
          float* re = slices + (row * k + P * g + l) * 2 * v.n + begin;
          float* im = re + v.n;
          for (int i = 0; i < m; ++i) {
            re[i] = samples[2 * P * i + l];
            im[i] = samples[2 * P * i + P + l] * t.sign[i];
          }
        }
      }
    }
  }
}

template <int P> static void score_many(const float* maps, int64_t groups, const Views& v, const float* image,
                                        const float* power, double* scores) {
  typedef typename Lanes<P>::part H;
  typedef decltype(widen(H())) D;
  const Cells c(v.r, 2 * P * groups);
  v.each([](int64_t) { return true; }, v.of(image, power), [&](const Sample& s, const Sample& next) {
    for (int64_t g = 0; g < groups; ++g) {
      const float* group = maps + 2 * P * g;
      fetch<2 * P>(group + c.sx * next.cell, c);
      const auto cell = between<P>(group + c.sx * s.cell, c, s.fx, s.fy, s.fz);
      H h[2];
      std::memcpy(h, &cell, sizeof(cell));
      D total;
      double* out = scores + (s.row * groups + g) * P;
      std::memcpy(&total, out, sizeof(D));
      total += widen(h[0] * s.x + h[1] * s.y - (h[0] * h[0] + h[1] * h[1]) * s.q);
      std::memcpy(out, &total, sizeof(D));
    }
  }, [](auto&&...) {});
}

template <int P> static void predict_many(const float* maps, int64_t groups, const Views& v, const float* share,
                                          float* mean, float* square) {
  typedef typename Lanes<P>::part H;
  const Cells c(v.r, 2 * P * groups);
  const int64_t lanes = P * groups;
  std::vector<float> pixel(3 * v.n, 1.f);  // x: place in the chunk; y: the sign of the reflection
  for (int64_t k = 0; k < v.n; ++k) pixel[k] = k % Views::chunk;
  std::vector<float> found(std::min<int64_t>(v.rows, Views::rows_at_once) * Views::chunk * 4);
  const auto place = [&](int64_t row, int64_t i) {
    return found.data() + 4 * (row % Views::rows_at_once * Views::chunk + i);
  };
  const auto work = [&](const Sample& s, const Sample& next) {
    v4 total = {};
    for (int64_t g = 0; g < groups; ++g) {
      const float* group = maps + 2 * P * g;
      fetch<2 * P>(group + c.sx * next.cell, c);
      const auto cell = between<P>(group + c.sx * s.cell, c, s.fx, s.fy, s.fz);
      H h[2], w;
      std::memcpy(h, &cell, sizeof(cell));
      std::memcpy(&w, share + s.row * lanes + P * g, sizeof(H));
      total += v4{across(w * h[0]), across(w * h[1]) * s.y, across(w * (h[0] * h[0] + h[1] * h[1])), 0.f};
    }
    store(place(s.row, (int64_t)s.x), total);
  };
  v.each([&](int64_t row) { return any(share + row * lanes, lanes); },
         {pixel.data(), pixel.data() + v.n, pixel.data() + 2 * v.n, 0, 0}, work,
         [&](const std::vector<int64_t>& some, int64_t begin, int m) {
    for (int64_t row : some) {
      float *re = mean + row * 2 * v.n + begin, *im = re + v.n, *sq = square + row * v.n + begin;
      const float* p = place(row, 0);
      for (int i = 0; i < m; ++i) {
        re[i] = p[4 * i];
        im[i] = p[4 * i + 1];
        sq[i] = p[4 * i + 2];
      }
    }
  });
}

template <int P> static inline typename Lanes<P>::sum spread(float x, float y, float q) {
  if constexpr (P == 1) return v4{x, y, q, 0.f};
  else if constexpr (P == 2) return v8{x, x, y, y, q, q, 0.f, 0.f};
  else if constexpr (P == 4) return v16{x, x, x, x, y, y, y, y, q, q, q, q, 0.f, 0.f, 0.f, 0.f};
  else return v16{x, x, x, x, x, x, x, x, y, y, y, y, y, y, y, y};  // the weights have a vector of their own
}

template <int P> static void insert_many(float* sums, int64_t groups, const Views& v, const float* image,
                                         const float* power, const float* share) {
  typedef typename Lanes<P>::sum V;
  constexpr int channels = P == 8 ? 3 : 4, width = sizeof(V) / 4;
  const Cells c(v.r, channels * P * groups);
  const int64_t lanes = P * groups;
  std::vector<float> repeated(v.rows * groups * width);  // once for every channel
  for (int64_t k = 0; k < v.rows * groups; ++k)
    for (int j = 0; j < width; ++j) repeated[k * width + j] = share[k * P + j % P];
  v.each([&](int64_t row) { return any(share + row * lanes, lanes); }, v.of(image, power),
         [&](const Sample& s, const Sample& next) {
    const float fx = s.fx, fy = s.fy, fz = s.fz, gx = 1.f - fx, gy = 1.f - fy, gz = 1.f - fz;
    for (int64_t g = 0; g < groups; ++g) {
      const float* shares = repeated.data() + (s.row * groups + g) * width;
      if (groups > 1 && !any(shares, P)) continue;
      float* group = sums + channels * P * g;
      fetch<channels * P>(group + c.sx * next.cell, c);
      const V value = load<V>(shares) * spread<P>(s.x, s.y, s.q);
      v8 weight = {};
      if constexpr (P == 8) weight = load8(shares) * s.q;
      auto add = [&](float* p, float tap) {
        store<V>(p, load<V>(p) + value * tap);
        if constexpr (P == 8) store8(p + 16, load8(p + 16) + weight * tap);
      };
      auto pair = [&](float* p, float tap) { add(p, gx * tap); add(p + c.sx, fx * tap); };
      float* p = group + c.sx * s.cell;
      pair(p, gy * gz);
      pair(p + c.sy, fy * gz);
      pair(p + c.sz, gy * fz);
      pair(p + c.sz + c.sy, fy * fz);
    }
  }, [](auto&&...) {});
}

template <typename Call> static void for_lanes(int64_t lanes, Call call) {
  switch (lanes) {
    case 1: return call(std::integral_constant<int, 1>());
    case 2: return call(std::integral_constant<int, 2>());
    case 4: return call(std::integral_constant<int, 4>());
    default: return call(std::integral_constant<int, 8>());
  }
}

extern "C" {

// Every function: maps or sums, lanes of a group, groups, then the views. Shares are (rows, groups lanes).

// slices (rows, k, 2, n) of the first k lanes.
void blush_project_many(const float* maps, int64_t lanes, int64_t groups, int64_t r, float pad, const float* matrices,
                        int64_t rows, const float* kx, const float* ky, int64_t n, int64_t k, float* slices) {
  const Views v{r, pad, matrices, rows, kx, ky, n};
  for_lanes(lanes, [&](auto p) { project_many<decltype(p)::value>(maps, groups, v, k, slices); });
}

// scores (rows, groups lanes) += Re< image, slice > - sum_k power |slice|^2
void blush_score_many(const float* maps, int64_t lanes, int64_t groups, int64_t r, float pad, const float* matrices,
                      int64_t rows, const float* kx, const float* ky, int64_t n, const float* image, const float* power,
                      double* scores) {
  const Views v{r, pad, matrices, rows, kx, ky, n};
  for_lanes(lanes, [&](auto p) { score_many<decltype(p)::value>(maps, groups, v, image, power, scores); });
}

// mean (rows, 2, n) = sum of share slice and square (rows, n) = sum of share |slice|^2, of images that have a share.
void blush_predict_many(const float* maps, int64_t lanes, int64_t groups, int64_t r, float pad, const float* matrices,
                        int64_t rows, const float* kx, const float* ky, int64_t n, const float* share, float* mean,
                        float* square) {
  const Views v{r, pad, matrices, rows, kx, ky, n};
  for_lanes(lanes, [&](auto p) { predict_many<decltype(p)::value>(maps, groups, v, share, mean, square); });
}

// The adjoint: share image (rows, 2, n) and share power (rows, n) are added to sums.
void blush_insert_many(float* sums, int64_t lanes, int64_t groups, int64_t r, float pad, const float* matrices,
                       int64_t rows, const float* kx, const float* ky, int64_t n, const float* image,
                       const float* power, const float* share) {
  const Views v{r, pad, matrices, rows, kx, ky, n};
  for_lanes(lanes, [&](auto p) { insert_many<decltype(p)::value>(sums, groups, v, image, power, share); });
}

}  // extern "C"
