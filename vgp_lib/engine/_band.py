"""The band of `predict_profile`: how far a single net of finite width strays from the mean over nets.

A layer of n units multiplies ‖δ‖² by a random factor of relative variance (3κ - 1)/n, κ = E[φ'⁴]/E[φ'²]², so ln‖δ‖² is
normal, its mean lowered by half its variance (Hanin & Nica 2019, theorem 1, for ReLU: 5/n). To first order in 1/n we
add what the forward pass does: ‖h‖² strays, too, and shares its masks with δ. (That it moves q, and so E[φ'²], changes
the width of the band by about a tenth; it is left out.) And since the RMS over samples is what is measured, we average
over pairs of samples, whose z have correlation c: E[f(z) g(z')] = Σ_k f_k g_k c^k with Hermite coefficients. For few
units the variance of δ is larger than first order says (ten ReLU units: .87, not .5); one sample's law corrects it.

Names: layer l adds η_l to ln‖h‖² and ζ_l to ln‖δ‖²; hh = Var η, hd = Cov(η, ζ), dd = Var ζ; s = d ln E[φ²]/d ln q;
strays[l, j] = ∂ln‖h^l‖²/∂η_j; rho2 is the squared correlation of dL/dh of two samples. In a residual block φ has the
share `share` in ‖h + φ‖² and its gradient `branch` in ‖dL/dh‖²; the products with what skips it add cross_h, cross_d.
"""

import numpy as np
import scipy

_QUANTILE_90 = scipy.special.ndtri(0.9)
_PAIRED_SAMPLES, _HERMITE_TERMS = 64, 48


def finite_width(phi, widths, variances, x, batch_normalization, residual, orthogonal):
    """Return the 10 % and 90 % quantiles of ln(‖δ^l‖²/‖δ^L‖²), and of the same for kernel gradients, about mean field.

    Arguments are those of `predict_profile`, resolved; results have shape (2, layers).
    """
    x = x[np.linspace(0, len(x) - 1, min(len(x), _PAIRED_SAMPLES)).astype(int)]
    gram, mean, layers, forward = x @ x.T / widths[0], 0.0, len(widths) - 1, []
    strays = np.zeros((layers + 1, layers))  # the input does not stray
    for layer in range(layers):
        if batch_normalization:
            gram = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
        before, keep = np.diag(gram).mean(), float(residual and layer > 0)
        q = 1.0 if batch_normalization else widths[layer] * variances[layer] * before
        forward.append(pair := _Pairs(phi, np.array([q]), _correlation(gram), batch_normalization))
        gram = keep * (gram + 2 * mean * pair.phi_mean) + pair.value
        mean, after = keep * mean + pair.phi_mean, np.diag(gram).mean()
        pair.share = np.diag(pair.value).mean() / after
        pair.cross_h = 4 * keep * (before / after) * (pair.phi_variance / after)
        strays[layer + 1] = (1 - pair.share + pair.share * pair.s) * strays[layer] + np.eye(layers)[layer]
    hh, hd, dd, cross_d = np.zeros((4, layers))
    branch, backward = np.ones(layers), np.ones_like(gram)
    for layer in reversed(range(layers)):
        pair, n, rho2 = forward[layer], widths[layer + 1], _correlation(backward) ** 2
        kept, kept_backward = (
            orthogonal * 2 * (pair.s * pair.c) ** 2,
            orthogonal * 2 * rho2,
        )  # it keeps the norm
        hh[layer] = (pair.share**2 * (pair.values - 1 - kept).mean() + pair.cross_h) / n
        hd[layer] = pair.share * (pair.both - 1).mean() / n
        dd[layer] = (pair.slopes * (1 + 2 * rho2) - 1 - kept_backward).mean() / n * pair.beyond_first_order(n)
        through = backward * pair.slope * widths[layer] * variances[layer]
        if residual and layer > 0:
            branch[layer] = np.diag(through).mean() / np.diag(backward + through).mean()
            cross_d[layer] = 4 * branch[layer] * (1 - branch[layer]) * rho2.mean() / n
            through = backward + through
        backward = through / np.diag(through).mean()
    # ln(‖δ^l‖²/‖δ^L‖²) takes the share branch[j] of the blocks j > l, its own slopes φ', and not those of layer L.
    above = np.triu(np.ones((layers, layers)), 1)
    steps = above * branch + np.eye(layers)
    steps[:, -1] -= 1
    none = np.zeros_like(steps)

    def variance(a, b):
        return a**2 @ hh + 2 * (a * b) @ hd + b**2 @ dd + b.any() * (above @ cross_d)

    bands = []
    for top, bottom in ((none, none), (strays[:-1], strays[-2])):
        centre = (variance(bottom, none) - variance(top, steps)) / 2  # mean field is the mean of either log-normal
        half_width = _QUANTILE_90 * np.sqrt(np.maximum(variance(top - bottom, steps), 0))
        bands.append(centre - centre[-1] + half_width * np.array([[-1.0], [1.0]]))
    return np.array(bands)


def _correlation(gram):
    norm = np.sqrt(np.diag(gram))
    return np.clip(np.nan_to_num(gram / np.outer(norm, norm)), -1, 1)


class _Pairs:
    """Moments between pairs of samples of correlation c, at one q: φφ, φ'φ', and relatively φ²φ², φ'²φ'², φ²φ'²."""

    def __init__(self, phi, q, c, fixed_q):
        u, w, value, slope = (array[0] for array in phi.on_nodes(q))
        functions = np.stack([value, slope, value**2 / (w @ value**2), slope**2 / (w @ slope**2)])
        hermite = np.polynomial.hermite_e.hermevander(u, _HERMITE_TERMS - 1)
        coefficients = functions * w @ (hermite / np.sqrt(scipy.special.factorial(np.arange(_HERMITE_TERMS))))

        def pairs(i, j):
            """Σ_k f_k g_k c^k; what the series leaves out goes to its last term, so that c = 1 is exact."""
            terms = coefficients[i] * coefficients[j]
            terms[-1] += w @ (functions[i] * functions[j]) - terms.sum()
            return np.polynomial.polynomial.polyval(c, terms)

        self.c, self.w, self.slope_law, self.phi_mean = c, w, functions[3], coefficients[0, 0]
        self.value, self.slope, self.values, self.slopes = (pairs(i, i) for i in range(4))
        self.both, self.phi_variance = pairs(2, 3), w @ value**2 - self.phi_mean**2
        low, high = (w @ f**2 for _, (w,), (f,), _ in (phi.on_nodes(q * ratio) for ratio in (0.999, 1.001)))
        self.s = 0.0 if fixed_q else np.log(high / low) / 0.002  # batch normalization makes q 1, come what may

    def beyond_first_order(self, n):
        """Compare Var ln S with (3κ - 1)/n, where S = Σ_i φ'(z_i)² g_i² over n units, g ~ N(0, 1).

        If T is exponential, P(T > t S) = E[exp(-t S)], so the Laplace transform of S is a distribution function:
        that of ln T - ln S, whose variance is π²/6 more than that of ln S.
        """
        y, step = np.linspace(-40, 40, 801, retstep=True)
        w, law = (array[self.w > 1e-18 * self.w.max()] for array in (self.w, self.slope_law))  # others do not count
        laplace = (1 / np.sqrt(1 + 2 * np.exp(y)[:, None] / n * law) @ w) ** n
        probability, middle = -np.diff(laplace), (y[1:] + y[:-1]) / 2
        probability /= probability.sum()  # leaves out the nets in which all n units are inactive
        variance = probability @ middle**2 - (probability @ middle) ** 2 - step**2 / 12 - np.pi**2 / 6  # Sheppard
        return variance * n / (3 * w @ law**2 - 1)
